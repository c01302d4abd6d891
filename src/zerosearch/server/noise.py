"""The noise rate of a server: fixed, or a curriculum over steps, which are set by the client or counted in requests."""

from typing import Self

from zerosearch.core.curriculum import NoiseCurriculum
from zerosearch.core.errors import BadConfig


class NoiseControl:
    """`rate` is the current probability of a noisy answer. With `requests_per_step`, that many requests are one step."""

    def __init__(self, curriculum: NoiseCurriculum, requests_per_step: int = 0) -> None:
        if curriculum.schedule == "adaptive":
            raise BadConfig("curriculum 'adaptive' follows a trainer's rewards, which a server does not know; choose another.")
        self.curriculum = curriculum
        self.step = 0
        self._requests_per_step = requests_per_step
        self._requests = 0
        self.rate = curriculum.noise_rate(0)

    @classmethod
    def fixed(cls, rate: float) -> Self:
        return cls(NoiseCurriculum("constant", rate, rate, 1))

    def go_to(self, step: int) -> None:
        self.step = step
        self.rate = self.curriculum.noise_rate(step)

    def count_request(self) -> None:
        if self._requests_per_step:
            self._requests += 1
            if self._requests % self._requests_per_step == 0:
                self.go_to(self.step + 1)


def parse_curriculum(text: str) -> tuple[float, float]:
    """START:END, two probabilities."""
    start, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(start), float(end)
    except ValueError:
        raise BadConfig(f"--curriculum '{text}' is not of the form START:END; write for instance 0:0.5.") from None
