"""Rewards: what a finished rollout is worth. Terms by name, each in [0, 1]; a recipe names one, or weighs several.

rl.reward = "f1"                                                    the paper's
rl.reward = { f1 = 1.0, format = 0.1, searches = -0.05 }            0.1 for a clean format, minus 0.005 per search
"""

from collections.abc import Callable, Mapping

from zerosearch.core.errors import BadConfig, one_of
from zerosearch.core.registry import resolve
from zerosearch.core.types import Trajectory

MOST_SEARCHES = 10
MOST_TOKENS = 1000


def f1(trajectory: Trajectory) -> float:
    """Token F1 of the answer against the best gold. ZeroSearch (arXiv 2505.04588), section 3.5."""
    return trajectory.scores.f1 if trajectory.scores else 0.0


def em(trajectory: Trajectory) -> float:
    """Exact match. The paper found that it leads to over-cautious or padded answers."""
    return trajectory.scores.em if trajectory.scores else 0.0


def cover_em(trajectory: Trajectory) -> float:
    """The answer contains a gold answer. This also rewards naming many things."""
    return trajectory.scores.cover_em if trajectory.scores else 0.0


def clean_format(trajectory: Trajectory) -> float:
    """1 if every turn was a legal action and the last one answered."""
    return float(trajectory.answer is not None and not trajectory.malformed_turns)


def searches(trajectory: Trajectory) -> float:
    """Searches made, divided by 10, at most 1. Give it a negative weight to charge for each search."""
    return min(len(trajectory.searches), MOST_SEARCHES) / MOST_SEARCHES


def length(trajectory: Trajectory) -> float:
    """Tokens the policy wrote, divided by 1000, at most 1. Documents do not count: the policy did not choose their length."""
    return min(trajectory.policy_token_count, MOST_TOKENS) / MOST_TOKENS


REWARDS: dict[str, Callable[[Trajectory], float]] = {
    "f1": f1,
    "em": em,
    "cover_em": cover_em,
    "format": clean_format,
    "searches": searches,
    "length": length,
}


def reward_of(trajectory: Trajectory, weights: Mapping[str, float], terms: Mapping[str, Callable[[Trajectory], float]] = REWARDS) -> float:
    """Σ weight · term. Raises BadConfig for a term outside [0, 1], possible only for a term added by hand."""
    total = 0.0
    for name, weight in weights.items():
        value = terms[name](trajectory)
        if not 0 <= value <= 1:
            raise BadConfig(
                f"the reward term '{name}' gave {value} for question '{trajectory.question.id}'; "
                "a term must lie in [0, 1]: scale it in rewards.py."
            )
        total += weight * value
    return total


def reward_weights(reward: str | Mapping[str, float]) -> dict[str, float]:
    """The weights that a recipe gives; a name alone is that term with weight 1. Raises BadConfig for an unknown term."""
    weights = {reward: 1.0} if isinstance(reward, str) else dict(reward)
    for name in weights:
        one_of("reward", name, REWARDS)
    if not any(weights.values()):
        raise BadConfig("rl.reward has no term with a weight other than 0; name one, for instance rl.reward=f1.")
    return weights


def reward_function(reward: str | Mapping[str, float]) -> Callable[[Trajectory], float]:
    """What rl.reward names: the user's function as module:name, or weighted terms (an environment's own reward overrides it)."""
    if isinstance(reward, str) and ":" in reward:
        return resolve("reward", reward)
    weights = reward_weights(reward)
    return lambda trajectory: reward_of(trajectory, weights) if trajectory.reward is None else trajectory.reward
