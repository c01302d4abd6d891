"""Advantages: how much better a rollout was than what it is compared with. Plain numbers in, plain numbers out.

Rewards come as one list of G samples per question. A failed rollout has the reward None: it is left out of every comparison and stays
None, and so does whatever has nothing to be compared with.
"""

from collections.abc import Callable, Sequence
from statistics import fmean, pstdev, stdev

Rewards = Sequence[float | None]
Advantages = list[float | None]


def group_relative(rewards_G: Rewards) -> Advantages:
    """(r - mean(r)) / (std(r) + 1e-4) over the G samples of one question. GRPO, DeepSeekMath (arXiv 2402.03300), section 4.1.

    `std` is the sample standard deviation. A group with fewer than two rollouts left stays None.
    """
    known = [r for r in rewards_G if r is not None]
    if len(known) < 2:
        return [None] * len(rewards_G)
    mean, scale = fmean(known), stdev(known) + 1e-4
    return [None if r is None else (r - mean) / scale for r in rewards_G]


def group_centred(rewards_G: Rewards) -> Advantages:
    """r - mean(r) over the G samples of one question: without the division. Dr. GRPO (arXiv 2503.20783), section 3.2.

    Dividing by the deviation weighs questions that are nearly always or nearly never answered more than the others.
    """
    known = [r for r in rewards_G if r is not None]
    if len(known) < 2:
        return [None] * len(rewards_G)
    mean = fmean(known)
    return [None if r is None else r - mean for r in rewards_G]


def leave_one_out(rewards_G: Rewards) -> Advantages:
    """r_i - mean of the other G - 1 rewards of the question. RLOO (arXiv 2402.14740), section 2.2, after Kool et al., 2019.

    The baseline does not contain r_i itself, so the estimate is unbiased; it equals G / (G - 1) · (r_i - mean).
    """
    known = [r for r in rewards_G if r is not None]
    if len(known) < 2:
        return [None] * len(rewards_G)
    total, others = sum(known), len(known) - 1
    return [None if r is None else r - (total - r) / others for r in rewards_G]


def in_groups(advantages: Callable[[Rewards], Advantages]) -> Callable[[Sequence[Rewards]], list[Advantages]]:
    """The rule for one question's samples, for all questions of a step."""
    return lambda groups: [advantages(rewards_G) for rewards_G in groups]


def batch_centred(groups: Sequence[Rewards]) -> list[Advantages]:
    """r - mean over all rollouts of the step. REINFORCE with a reinforcement baseline, Williams (1992), section 4.

    A baseline that does not depend on the action leaves the expected gradient as it is. Ours is the batch mean: rewards lie in [0, 1],
    and without one every rollout, good or bad, is pushed up. (The mean contains r itself, a bias of 1/N towards zero.)
    """
    known = [r for rewards_G in groups for r in rewards_G if r is not None]
    if len(known) < 2:
        return [[None] * len(rewards_G) for rewards_G in groups]
    mean = fmean(known)
    return [[None if r is None else r - mean for r in rewards_G] for rewards_G in groups]


def batch_normalised(groups: Sequence[Rewards]) -> list[Advantages]:
    """(r - mean) / (std + 1e-8) over all rollouts of the step. REINFORCE++ (arXiv 2501.03262), its global advantage normalisation.

    `std` is the population's. The paper's KL belongs to the reward: `rl.kl_in=reward rl.kl_estimator=k1`.
    """
    known = [r for rewards_G in groups for r in rewards_G if r is not None]
    if len(known) < 2:
        return [[None] * len(rewards_G) for rewards_G in groups]
    mean, scale = fmean(known), pstdev(known) + 1e-8
    if scale < 1e-6:  # equal rewards: what float noise leaves of them is not worth learning from
        return [[None if r is None else 0.0 for r in rewards_G] for rewards_G in groups]
    return [[None if r is None else (r - mean) / scale for r in rewards_G] for rewards_G in groups]


def gae(rewards_T: Sequence[float], values_T: Sequence[float], discount: float, trace: float) -> tuple[list[float], list[float]]:
    """Advantages and returns (critic targets) of one rollout: A_t = δ_t + γλ A_{t+1} with δ_t = r_t + γ V_{t+1} - V_t, and R_t = A_t + V_t.

    Generalised advantage estimation (arXiv 1506.02438), equations 11-16; γ is `discount`, λ is `trace`. T counts the tokens the policy
    wrote, all turns in a row: an observation is not a step, so the action before it is bootstrapped from the value after it.
    After the last token nothing follows: V = 0. Differs from the paper's code, where documents are steps.
    """
    advantages, following, value_after = list[float](), 0.0, 0.0
    for reward, value in zip(reversed(rewards_T), reversed(values_T), strict=True):
        following = reward + discount * value_after - value + discount * trace * following
        value_after = value
        advantages.append(following)
    advantages.reverse()
    return advantages, [a + v for a, v in zip(advantages, values_T, strict=True)]


def whitened(advantages: Sequence[float]) -> list[float]:
    """(A - mean) / (std + 1e-8) over the tokens the policy wrote in a step. PPO's usual companion (arXiv 2005.12729, section 3).

    `std` is the sample standard deviation, as in TRL and verl. Equal advantages, and a single one, become zeros.
    """
    if len(advantages) < 2:
        return [0.0] * len(advantages)
    mean, scale = fmean(advantages), stdev(advantages)
    return [(a - mean) / (scale + 1e-8) if scale > 1e-6 else 0.0 for a in advantages]


def explained_variance(returns: Sequence[float], values: Sequence[float]) -> float:
    """1 - Var(R - V) / Var(R): 1 is a perfect critic, 0 one that says a constant, below 0 one that misleads. 0 where returns are equal."""
    if not returns or (spread := pstdev(returns) ** 2) < 1e-12:
        return 0.0
    return 1 - pstdev([r - v for r, v in zip(returns, values, strict=True)]) ** 2 / spread
