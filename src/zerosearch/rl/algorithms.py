"""The algorithms, by name. An algorithm is a way to get advantages from rewards and a loss from advantages: add one as an entry here."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zerosearch.core.errors import BadConfig, called, one_line, one_of
from zerosearch.rl.advantages import (
    Advantages,
    Rewards,
    batch_centred,
    batch_normalised,
    group_centred,
    group_relative,
    in_groups,
    leave_one_out,
)

# An aggregation: trained tokens of each rollout of a minibatch, and the budget of one → a weight for each rollout's tokens, and what
# the weighted sum is divided by.
Aggregation = Callable[[Sequence[int], int], tuple[list[float], float]]


def token_mean(lengths_B: Sequence[int], budget: int) -> tuple[list[float], float]:
    """Every token counts the same: Σ loss / Σ lengths. DAPO (arXiv 2503.14476), equation 8."""
    return [1.0] * len(lengths_B), sum(lengths_B)


def sequence_mean(lengths_B: Sequence[int], budget: int) -> tuple[list[float], float]:
    """Every rollout counts the same: the mean over rollouts of the mean over tokens. DeepSeekMath (arXiv 2402.03300), equation 3."""
    return [1 / max(length, 1) for length in lengths_B], len(lengths_B)


def fixed_length(lengths_B: Sequence[int], budget: int) -> tuple[list[float], float]:
    """Σ loss / (rollouts × the budget of one): no rollout's length changes its weight. Dr. GRPO (arXiv 2503.20783), appendix G."""
    return [1.0] * len(lengths_B), len(lengths_B) * budget


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`advantages` maps the rewards of a step, group by group, to advantages; `loss` is a function as
    those of `rl.losses`, or the name of one of them: one value per token.

    `needs_critic`: values are learned beside the policy, and advantages are GAE's, a token each, instead of `advantages`.
    `smallest_group`: what `advantages` needs to compare. `reusable`: the loss corrects for a policy that has moved since the rollouts.
    `clip`, `clip_high`: ε below and above (None: the same), where the recipe names none.
    """

    advantages: Callable[[Sequence[Rewards]], list[Advantages]]
    loss: str | Callable[..., Any] = "clipped_policy_loss"
    aggregation: Aggregation = token_mean
    needs_critic: bool = False
    smallest_group: int = 1
    reusable: bool = True
    clip: float = 0.2
    clip_high: float | None = None


def compare(algorithm: Algorithm, rewards: Sequence[Rewards]) -> list[Advantages]:
    """The algorithm's advantages of a step's rewards: finite, one for each, group by group, None for the None of a rollout that failed.

    Raises BadConfig, one line, for anything else: an advantage out of place would train the wrong rollout.
    """

    def numbers() -> list[Advantages]:
        return [[None if a is None else float(a) for a in row] for row in algorithm.advantages(rewards)]

    given = called("algorithm's advantages function", numbers)
    came, wanted = [len(row) for row in given], [len(row) for row in rewards]
    if came != wanted:
        raise BadConfig(f"the algorithm gave advantages in groups of {came} for rewards in groups of {wanted}; give one for each reward.")
    for a, r in ((a, r) for pair in zip(given, rewards, strict=True) for a, r in zip(*pair, strict=True)):
        if a is not None and (r is None or not math.isfinite(a)):
            raise BadConfig(
                f"the algorithm gave the advantage {a} for the reward {r}; give a finite number, and None for None (it failed)."
            )
    return given


def weigh(algorithm: Algorithm, lengths_B: Sequence[int], budget: int) -> tuple[list[float], float]:
    """The weights of the algorithm's aggregation and what to divide by. Raises BadConfig unless there is one weight for each rollout."""
    found = called("algorithm's aggregation function", algorithm.aggregation, lengths_B, budget)
    if not (isinstance(found, tuple) and len(found) == 2 and len(found[0]) == len(lengths_B)):
        returned = one_line(repr(found), 80)
        raise BadConfig(f"the algorithm's aggregation returned {returned} for {len(lengths_B)} rollouts; give (weights, divisor).")
    return found


ALGORITHMS: dict[str, Algorithm] = {
    # the paper's default: -A log π with the batch mean as baseline
    "reinforce": Algorithm(batch_centred, "policy_gradient_loss", reusable=False),
    # arXiv 2402.03300; its tokens are averaged over the minibatch, not rollout by rollout: short rollouts weigh no more
    "grpo": Algorithm(in_groups(group_relative), smallest_group=2),
    # arXiv 1707.06347, equations 7 and 9, the advantages whitened
    "ppo": Algorithm(batch_centred, needs_critic=True),
    # arXiv 2402.14740
    "rloo": Algorithm(in_groups(leave_one_out), "policy_gradient_loss", smallest_group=2, reusable=False),
    # arXiv 2501.03262
    "reinforce++": Algorithm(batch_normalised),
    # arXiv 2503.20783
    "dr_grpo": Algorithm(in_groups(group_centred), aggregation=fixed_length, smallest_group=2),
    # arXiv 2503.14476: clip-higher and the mean over tokens. Dynamic sampling is how every entry works: groups without a difference teach
    # nothing, are left out, and are counted (`equal_groups` in metrics.jsonl). The paper has no KL term: rl.kl_coefficient=0
    "dapo": Algorithm(in_groups(group_relative), smallest_group=2, clip_high=0.28),
    # arXiv 2507.18071; its ε, section 5.1, are those of a ratio averaged over a whole rollout
    "gspo": Algorithm(in_groups(group_relative), "sequence_policy_loss", sequence_mean, smallest_group=2, clip=3e-4, clip_high=4e-4),
    # arXiv 2506.13585: weights are not limited from below; it names no upper limit, ours is 5
    "cispo": Algorithm(in_groups(group_relative), "weight_clipped_loss", smallest_group=2, clip=1.0, clip_high=4.0),
}


def loss_function(algorithm: Algorithm) -> Callable[..., Any]:
    if callable(algorithm.loss):
        return algorithm.loss
    from zerosearch.rl import losses  # torch is loaded when a loss is needed, not when a recipe is read

    names = [name for name in vars(losses) if name.endswith("_loss") and name != "value_loss"]
    return getattr(losses, one_of("loss", algorithm.loss, names))
