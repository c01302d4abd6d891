"""How the noise rate rises while the policy learns: schedules from step to probability.

`noise_rate(step)` is a probability in [0, 1]; `step` counts optimiser steps from 0; `steps` is the length of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zerosearch.errors import BadConfig, one_of


@dataclass(frozen=True, slots=True)
class NoiseCurriculum:
    """From `start` to `end` over `steps`, along `schedule` (a name in SCHEDULES); `base` is the paper's b."""

    schedule: str
    start: float
    end: float
    steps: int
    base: float = 4.0

    def __post_init__(self) -> None:
        one_of("curriculum", self.schedule, SCHEDULES)
        for name, value in (("start", self.start), ("end", self.end)):
            if not 0 <= value <= 1:
                raise BadConfig(f"curriculum.{name} = {value} is no probability; choose a number from 0 to 1.")
        if not self.base > 0:
            raise BadConfig(f"curriculum.base = {self.base} must be greater than 0.")

    def noise_rate(self, step: int) -> float:
        progress = min(max(step / max(self.steps, 1), 0.0), 1.0)
        return self.start + SCHEDULES[self.schedule](progress, self.base) * (self.end - self.start)


def paper(progress: float, base: float) -> float:
    """(b**(i/m) - 1) / (b - 1): slow at first, steep at the end. ZeroSearch (arXiv 2505.04588), section 3.4; b = 1 is its limit, a line."""
    return progress if base == 1 else (base**progress - 1) / (base - 1)


def linear(progress: float, base: float) -> float:
    return progress


def reverse(progress: float, base: float) -> float:
    """Hard first: the paper's schedule run backwards, from `end` to `start`."""
    return paper(1 - progress, base)


def constant(progress: float, base: float) -> float:
    """`end` from the first step to the last."""
    return 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {"paper": paper, "linear": linear, "reverse": reverse, "constant": constant}
