"""How the noise rate changes while the policy learns: schedules from step to probability.

`noise_rate(step, rewards)` is a probability in [0, 1]; `step` counts optimiser steps from 0; `steps` is the length of the run; `rewards`
are the mean rewards of earlier steps. A schedule is a pure function of these, so a resumed run sees the same noise.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zerosearch.core.errors import BadConfig, one_of


@dataclass(frozen=True, slots=True)
class NoiseCurriculum:
    """From `start` to `end` over `steps`, along `schedule` (a name in SCHEDULES); `base` is the paper's b.

    `target` and `gain` are for `adaptive`, `seed` for `random`.
    """

    schedule: str = "paper"
    start: float = 0.0
    end: float = 0.5
    steps: int = 200
    base: float = 4.0
    target: float = 0.5
    gain: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("curriculum", self.schedule, SCHEDULES)
        for name, value in (("start", self.start), ("end", self.end), ("target", self.target)):
            if not 0 <= value <= 1:
                raise BadConfig(f"curriculum.{name} = {value} is not a probability; choose a number from 0 to 1.")
        for name, value in (("base", self.base), ("gain", self.gain)):
            if not value > 0:
                raise BadConfig(f"curriculum.{name} = {value} must be greater than 0.")

    def noise_rate(self, step: int, rewards: Sequence[float] = ()) -> float:
        return self.start + SCHEDULES[self.schedule](self, step, rewards) * (self.end - self.start)

    def progress(self, step: int) -> float:
        return min(max(step / max(self.steps, 1), 0.0), 1.0)


# A schedule maps a step to how far it lies between `start` and `end`, from 0 to 1.


def paper(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """(b**(i/m) - 1) / (b - 1): slow at first, steep at the end. ZeroSearch (arXiv 2505.04588), section 3.4; a straight line at b = 1."""
    return _paper(c.progress(step), c.base)


def linear(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    return c.progress(step)


def reverse(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """The paper's schedule reversed, from `end` to `start`: the hardest steps first."""
    return _paper(1 - c.progress(step), c.base)


def constant(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """`end` from the first step to the last. The paper's "random noise" is this with end = 0.5: noise is drawn for each search anyway."""
    return 1.0


def at_random(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """Drawn uniformly between `start` and `end` at each step; the same for the same seed."""
    return random.Random(f"{c.seed}/noise rate/{min(max(step, 0), c.steps)}").random()


def adaptive(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """Adjusts the noise to hold a mean reward of `target`: x ← x + gain · (reward - target), clipped to [0, 1], starting at 0.

    An integrating controller: the noise rises while the task is too easy and falls while it is too hard.
    """
    place = 0.0
    for reward in rewards[:step]:
        place = min(max(place + c.gain * (reward - c.target), 0.0), 1.0)
    return place


def _paper(progress: float, base: float) -> float:
    return progress if base == 1 else (base**progress - 1) / (base - 1)


SCHEDULES: dict[str, Callable[[NoiseCurriculum, int, Sequence[float]], float]] = {
    "paper": paper,
    "linear": linear,
    "reverse": reverse,
    "constant": constant,
    "random": at_random,
    "adaptive": adaptive,
}
