"""Noise rates by hand."""

import math

import pytest

from zerosearch.core.curriculum import SCHEDULES, NoiseCurriculum
from zerosearch.core.errors import BadConfig


@pytest.mark.parametrize(
    ("schedule", "at_start", "half_way", "at_end"),
    [
        # b = 4: (4^½ - 1) / (4 - 1) = 1/3 of the way from 0.2 to 0.8 is 0.4
        ("paper", 0.2, 0.4, 0.8),
        ("reverse", 0.8, 0.4, 0.2),
        ("linear", 0.2, 0.5, 0.8),
        ("constant", 0.8, 0.8, 0.8),
    ],
)
def test_schedules(schedule: str, at_start: float, half_way: float, at_end: float) -> None:
    curriculum = NoiseCurriculum(schedule, start=0.2, end=0.8, steps=10)
    rates = [curriculum.noise_rate(step) for step in (0, 5, 10)]
    assert rates == pytest.approx([at_start, half_way, at_end])


def test_the_paper_s_runs() -> None:
    """p_s = 0, p_e = 0.75 (Qwen2.5-7B) after a quarter of the steps: (√2 - 1) / 3 · 0.75."""
    assert NoiseCurriculum("paper", 0.0, 0.75, 200).noise_rate(50) == pytest.approx((math.sqrt(2) - 1) / 4)


def test_noise_may_fall() -> None:
    assert NoiseCurriculum("paper", start=0.6, end=0.0, steps=2).noise_rate(1) == pytest.approx(0.4)


def test_base_one_is_the_limit() -> None:
    assert NoiseCurriculum("paper", 0, 1, 8, base=1.0).noise_rate(2) == 0.25
    assert NoiseCurriculum("paper", 0, 1, 8, base=1.0001).noise_rate(2) == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_are_probabilities_outside_the_run_too(schedule: str) -> None:
    curriculum = NoiseCurriculum(schedule, 0.0, 1.0, steps=7)
    assert all(0 <= curriculum.noise_rate(step) <= 1 for step in range(-3, 20))
    assert curriculum.noise_rate(-3) == curriculum.noise_rate(0)
    assert curriculum.noise_rate(20) == curriculum.noise_rate(7)
    assert 0 <= NoiseCurriculum(schedule, 0.0, 1.0, steps=0).noise_rate(0) <= 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"start": -0.1}, "curriculum.start = -0.1 is not a probability"),
        ({"end": 1.5}, "curriculum.end = 1.5 is not a probability"),
        ({"end": math.nan}, "curriculum.end = nan is not a probability"),
        ({"base": 0.0}, "curriculum.base = 0.0 must be greater than 0"),
        ({"base": math.nan}, "curriculum.base = nan must be greater than 0"),
        ({"schedule": "papr"}, "unknown curriculum 'papr'; did you mean 'paper'?"),
    ],
)
def test_bad_values(bad: dict[str, float], message: str) -> None:
    with pytest.raises(BadConfig) as caught:
        NoiseCurriculum(**{"schedule": "paper", "start": 0.0, "end": 0.5, "steps": 10, **bad})
    assert str(caught.value).startswith(message)


def test_random_rates_are_a_function_of_seed_and_step() -> None:
    one, same, other = (NoiseCurriculum("random", 0.2, 0.8, 50, seed=seed) for seed in (1, 1, 2))
    rates = [one.noise_rate(step) for step in range(50)]
    assert rates == [same.noise_rate(step) for step in range(50)] != [other.noise_rate(step) for step in range(50)]
    assert 0.2 <= min(rates) < 0.35 and 0.65 < max(rates) <= 0.8


def test_adaptive_by_hand() -> None:
    """Gain ½, target 0.4: rewards 0.8, 0.8, 0.0 move the place by +0.2, +0.2, -0.2; from 0 to 0.5 that is half as much noise."""
    curriculum = NoiseCurriculum("adaptive", 0.0, 0.5, steps=10, target=0.4, gain=0.5)
    rewards = [0.8, 0.8, 0.0]
    assert [curriculum.noise_rate(step, rewards[:step]) for step in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.1])
    assert curriculum.noise_rate(1, rewards) == pytest.approx(0.1)  # what came later is not looked at
    assert curriculum.noise_rate(200, [0.0] * 200) == 0 and curriculum.noise_rate(200, [1.0] * 200) == 0.5


def test_adaptive_holds_the_target() -> None:
    """A policy that scores 0.9 - noise is held at 0.6, with noise 0.3."""
    curriculum, rewards = NoiseCurriculum("adaptive", 0.0, 1.0, steps=300, target=0.6, gain=0.1), list[float]()
    for step in range(300):
        rewards.append(0.9 - curriculum.noise_rate(step, rewards))
    assert rewards[-1] == pytest.approx(0.6, abs=1e-6)
