from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from zerosearch.errors import BadInput
from zerosearch.evaluation.statistics import Estimate, bootstrap_interval


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
