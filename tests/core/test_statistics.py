from __future__ import annotations

import time
from math import erfc, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from zerosearch.core.errors import BadInput
from zerosearch.core.statistics import Difference, Estimate, bootstrap_interval, paired_bootstrap, t_interval


def test_equal_values_have_no_width() -> None:
    assert bootstrap_interval([1.0, 1.0, 1.0]) == Estimate(1.0, 1.0, 1.0, 3)
    assert bootstrap_interval([0.25]) == Estimate(0.25, 0.25, 0.25, 1)


def test_two_values_by_pencil() -> None:
    """Of the resamples of (0, 1) a quarter are (0, 0) and a quarter (1, 1): more than 2.5% at each end."""
    assert bootstrap_interval([0.0, 1.0]) == Estimate(0.5, 0.0, 1.0, 2)


@pytest.mark.parametrize("kind", ["right or wrong", "few values", "all different"])
def test_the_interval_is_that_of_the_normal_approximation(kind: str) -> None:
    rng = np.random.default_rng(7)
    values: NDArray[np.float64] = {
        "right or wrong": rng.integers(0, 2, 400).astype(np.float64),
        "few values": rng.integers(0, 5, 400).astype(np.float64),
        "all different": rng.random(400),
    }[kind]
    estimate = bootstrap_interval(values)
    half = 1.96 * values.std() / 400**0.5
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(1).random(50)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_five_thousand_values_take_seconds_at_most() -> None:
    values = np.random.default_rng(1).random(5000)
    start = time.process_time()
    bootstrap_interval(values)
    assert time.process_time() - start < 5  # about 0.5 s on an idle core


@pytest.mark.parametrize("values", [[], [0.5, float("nan")]])
def test_nothing_to_average(values: list[float]) -> None:
    with pytest.raises(BadInput, match="cannot average"):
        bootstrap_interval(values)


def test_no_difference_is_certain_of_nothing() -> None:
    assert paired_bootstrap([0.0, 1.0, 1.0], [0.0, 1.0, 1.0]) == Difference(0.0, 0.0, 0.0, 1.0, 3)


def test_two_pairs_by_pencil() -> None:
    """d = (1, 0): resamples of the mean are 0, ½, ½, 1, shifted −½, 0, 0, ½; half of them are as far off as ½."""
    difference = paired_bootstrap([0.0, 1.0], [1.0, 1.0])
    assert (difference.mean, difference.low, difference.high, difference.n) == (0.5, 0.0, 1.0, 2)
    assert difference.p == pytest.approx(0.5, abs=0.02)


def test_the_sign_is_that_of_the_second() -> None:
    a, b = [0.0] * 30, [1.0] * 20 + [0.0] * 10
    gain, loss = paired_bootstrap(a, b), paired_bootstrap(b, a)
    assert gain.mean == -loss.mean == pytest.approx(2 / 3) and gain.p < 0.001 and loss.p < 0.001


def test_p_is_that_of_the_paired_test() -> None:
    """Against the normal approximation: z = mean / (sd / √n)."""
    rng = np.random.default_rng(3)
    a = rng.integers(0, 2, 400).astype(np.float64)
    b = np.where(rng.random(400) < 0.2, rng.integers(0, 2, 400), a).astype(np.float64)
    d = b - a
    d_mean = float(d.mean())
    expected = erfc(abs(d_mean) / (float(d.std()) / sqrt(400)) / sqrt(2))
    assert paired_bootstrap(a.tolist(), b.tolist()).p == pytest.approx(expected, abs=0.05)


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(BadInput, match="cannot pair 1 values with 2"):
        paired_bootstrap([1.0], [1.0, 0.0])
    with pytest.raises(BadInput, match="cannot average 0 values"):
        paired_bootstrap([], [])


def test_students_interval() -> None:
    """1, 2, 3: mean 2, s = 1; t(2) = 4.303, so ± 4.303 / √3."""
    found = t_interval([1.0, 2.0, 3.0])
    assert (found.mean, found.low, found.high, found.n) == (2.0, pytest.approx(2 - 2.4843, abs=1e-3), pytest.approx(4.4843, abs=1e-3), 3)
    many = t_interval([-1.0, 1.0] * 50)  # t(99) = 1.984, s = √(100/99)
    assert many.high == -many.low == pytest.approx(1.984 * sqrt(100 / 99) / 10, rel=2e-3)
    with pytest.raises(BadInput, match="at least two"):
        t_interval([1.0])
