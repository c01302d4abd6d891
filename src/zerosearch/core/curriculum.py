"""How the noise rate changes while the policy learns: schedules from step to probability.

`noise_rate(step, rewards)` is a probability in [0, 1]; `step` counts optimiser steps from 0; `steps` is the length of the run; `rewards`
are the mean rewards of the steps before. A schedule is a pure function of these, so a run that is resumed meets the same noise.
"""

from __future__ import annotations

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


# A schedule says how far from `start` to `end` a step is, from 0 to 1.


def paper(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """(b**(i/m) - 1) / (b - 1): slow at first, steep at the end. ZeroSearch (arXiv 2505.04588), section 3.4; b = 1 is its limit, a line."""
    return _paper(c.progress(step), c.base)


def linear(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    return c.progress(step)


def reverse(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """Hard first: the paper's schedule run backwards, from `end` to `start`."""
    return _paper(1 - c.progress(step), c.base)


def constant(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """`end` from the first step to the last. The paper's "random noise" is this with end = 0.5: each search tosses its coin anyway."""
    return 1.0


def at_random(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """Anywhere from `start` to `end`, each step anew; the same for the same seed."""
    return random.Random(f"{c.seed}/noise rate/{min(max(step, 0), c.steps)}").random()


def adaptive(c: NoiseCurriculum, step: int, rewards: Sequence[float]) -> float:
    """Noise follows the reward, so that a mean reward of `target` is held: x ← x + gain · (reward - target), kept within [0, 1], from 0.

    An integrating controller: too easy, and the noise rises; too hard, and it falls.
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
