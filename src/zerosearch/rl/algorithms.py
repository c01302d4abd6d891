"""The algorithms, by name. An algorithm is a way to get advantages from rewards and a loss from advantages: add one as an entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zerosearch.rl.advantages import group_relative


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`advantages` maps the rewards of one group to its advantages; `loss` names a function of `rl.losses`, one value a token."""

    advantages: Callable[[Sequence[float | None]], list[float | None]]
    loss: str = "clipped_policy_loss"


ALGORITHMS: dict[str, Algorithm] = {"grpo": Algorithm(advantages=group_relative)}


def loss_function(algorithm: Algorithm) -> Callable[..., Any]:
    from zerosearch.rl import losses  # torch is loaded when a loss is needed, not when a recipe is read

    return getattr(losses, algorithm.loss)
