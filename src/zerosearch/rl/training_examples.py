"""Groups with rewards → advantages → training examples. KL in the reward, GAE and whitening happen here, over the policy's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from zerosearch.core.types import Group, Trajectory
from zerosearch.rl.advantages import explained_variance, gae, whitened
from zerosearch.rl.algorithms import Algorithm, compare
from zerosearch.rl.batch import TrainingExample, teaches, trained_token_count
from zerosearch.rl.losses import KL_ESTIMATORS
from zerosearch.rl.settings import RLConfig


@dataclass(frozen=True, slots=True)
class TokenEstimates:
    """What the models say of a rollout before anything is learned from it, a number for each of its trained tokens.

    `logprobs` under the policy as the trainer computes them, `reference` under the reference, `values` by the critic; () if not asked for.
    """

    logprobs: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    values: tuple[float, ...] = ()


def can_be_estimated(trajectory: Trajectory) -> bool:
    return trajectory.reward is not None and trajectory.policy_token_count > 0


def sampled_values(trajectory: Trajectory) -> tuple[float, ...]:
    """The values that the sampler gave with the tokens the policy wrote; () where any of them came without."""
    values = tuple(v for span in trajectory.spans for v in span.values)
    return values if len(values) == trajectory.policy_token_count else ()


def make_examples(
    groups: Sequence[Sequence[tuple[Trajectory, TokenEstimates]]], rl: RLConfig, algorithm: Algorithm
) -> tuple[list[Group], list[TrainingExample], dict[str, float]]:
    """The groups with their advantages, the examples in them, and figures for the metrics; each rollout comes with its estimates.

    A rollout that failed has no reward and gives none. With a critic the advantage of a rollout is the mean of its tokens' (before
    whitening), which is what is stored; each token is trained with its own.
    """
    pairs = [pair for group in groups for pair in group]
    kls = [_kls(a, rl) for _, a in pairs]
    figures = {"equal_groups": float(sum(_is_equal([t.reward for t, _ in group]) for group in groups))}
    if rl.kl_in == "reward" and (tokens := [kl for rollout in kls for kl in rollout]):
        figures["kl"] = fmean(tokens)
    if algorithm.needs_critic:
        taught, examples = _with_critic(pairs, kls, rl)
        flat = [(r, v) for one in examples for r, v in zip(one.returns, one.values, strict=True)]
        figures["explained_variance"] = explained_variance([r for r, _ in flat], [v for _, v in flat])
        figures["value"] = fmean(v for _, v in flat) if flat else 0.0
    else:
        taught, examples = _without_critic(groups, kls, rl, algorithm)
    remaining = iter(taught)
    return [Group(group[0][0].question, tuple(next(remaining) for _ in group)) for group in groups if group], examples, figures


def example_of(trajectory: Trajectory, advantages: Sequence[float], estimates: TokenEstimates, rl: RLConfig) -> TrainingExample:
    """With `rl.importance_cap` c: π_old is the trainer's, and each token counts min(π_trainer / π_sampler, c).

    Truncated importance sampling against a sampler that computes a little otherwise than the trainer (Yao et al., 2025, "Your efficient RL
    framework secretly brings you off-policy RL training").
    """
    if not rl.importance_cap:
        return TrainingExample(trajectory, tuple(advantages))
    sampled = _sampled_logprobs(trajectory, estimates, rl)
    ratio_M = (torch.tensor(estimates.logprobs) - torch.tensor(sampled)).exp().clamp(max=rl.importance_cap)
    return TrainingExample(trajectory, tuple(advantages), estimates.logprobs, tuple(ratio_M.tolist()))


def _without_critic(
    groups: Sequence[Sequence[tuple[Trajectory, TokenEstimates]]], kls: Sequence[tuple[float, ...]], rl: RLConfig, algorithm: Algorithm
) -> tuple[list[Trajectory], list[TrainingExample]]:
    """One advantage per rollout. KL in the reward: r - β Σ_t kl_t (arXiv 2402.14740, equation 1), before rollouts are compared."""
    costs = iter(kls)
    charged = [[(t.reward, rl.kl_coefficient * sum(next(costs))) for t, _ in group] for group in groups]
    rewards = [[None if r is None else r - cost for r, cost in row] for row in charged]
    advantages = [a for row in compare(algorithm, rewards) for a in row]
    pairs = [pair for group in groups for pair in group]
    taught = [replace(t, advantage=a) for (t, _), a in zip(pairs, advantages, strict=True)]
    examples = [
        example_of(t, [t.advantage or 0.0] * trained_token_count(t, rl.mask_observations), estimates, rl)
        for t, (_, estimates) in zip(taught, pairs, strict=True)
        if teaches(t)
    ]
    return taught, examples


def _with_critic(
    pairs: Sequence[tuple[Trajectory, TokenEstimates]], kls: Sequence[tuple[float, ...]], rl: RLConfig
) -> tuple[list[Trajectory], list[TrainingExample]]:
    """GAE over the trained tokens: r_t = -β kl_t, and the reward on top at the last one; then whitened over all of the step's."""
    taught, examples = list[Trajectory](), list[TrainingExample]()
    for (t, estimates), kl in zip(pairs, kls, strict=True):
        if not can_be_estimated(t):
            taught.append(replace(t, advantage=None))
            continue
        rewards = [-rl.kl_coefficient * k for k in kl] or [0.0] * len(estimates.values)
        rewards[-1] += t.reward or 0.0
        advantages, returns = gae(rewards, estimates.values, rl.discount, rl.gae_lambda)
        taught.append(replace(t, advantage=fmean(advantages)))
        examples.append(replace(example_of(taught[-1], advantages, estimates, rl), values=estimates.values, returns=tuple(returns)))
    white = iter(whitened([a for one in examples for a in one.advantages]))
    examples = [replace(one, advantages=tuple(next(white) for _ in one.advantages)) for one in examples]
    each = iter(examples)
    # what is stored of a rollout, for whoever reads it later; an example has its own
    return [t if t.advantage is None else replace(t, token_advantages=next(each).advantages) for t in taught], examples


def _kls(estimates: TokenEstimates, rl: RLConfig) -> tuple[float, ...]:
    if rl.kl_in != "reward" or not estimates.reference:
        return ()
    return tuple(KL_ESTIMATORS[rl.kl_estimator](torch.tensor(estimates.logprobs), torch.tensor(estimates.reference)).tolist())


def _sampled_logprobs(trajectory: Trajectory, estimates: TokenEstimates, rl: RLConfig) -> list[float]:
    """The sampler's log-prob of each trained token; a document's token (masking off) was sampled by nobody: its ratio is 1."""
    trained = [s for s in trajectory.spans if trained_token_count(replace(trajectory, spans=(s,)), rl.mask_observations)]
    sampled, position = list[float](), 0
    for span in trained:
        end = position + len(span.token_ids)
        sampled += span.logprobs or estimates.logprobs[position:end]
        position = end
    return sampled


def _is_equal(rewards: Sequence[float | None]) -> bool:
    """True for a group of rewards without a difference: nothing to learn from by comparison."""
    known = [r for r in rewards if r is not None]
    return len(known) > 1 and max(known) - min(known) < 1e-9
