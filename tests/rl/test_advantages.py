"""Advantages by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosearch.rl.advantages import group_relative
from zerosearch.rl.algorithms import ALGORITHMS, loss_function


@pytest.mark.parametrize(
    ("rewards", "advantages"),
    [
        # mean 1/2, sample standard deviation √(2 · (1/2)² / 1) = √½
        ([1.0, 0.0], [0.5 / (math.sqrt(0.5) + 1e-4), -0.5 / (math.sqrt(0.5) + 1e-4)]),
        # mean 1/4, √((9/16 + 3 · 1/16) / 3) = 1/2
        ([1.0, 0.0, 0.0, 0.0], [0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001]),
        # a failed rollout is no zero: it is left out of mean and deviation
        ([None, 1.0, 0.0], [None, 0.5 / (math.sqrt(0.5) + 1e-4), -0.5 / (math.sqrt(0.5) + 1e-4)]),
        ([0.5, 0.5, 0.5], [0.0, 0.0, 0.0]),
        # nothing to compare with
        ([None, None], [None, None]),
        ([None, 1.0], [None, None]),
        ([1.0], [None]),
        ([], []),
    ],
)
def test_group_relative(rewards: list[float | None], advantages: list[float | None]) -> None:
    assert group_relative(rewards) == pytest.approx(advantages)


@given(st.lists(st.integers(0, 20).map(lambda i: i / 20), min_size=2, max_size=12))
def test_advantages_sum_to_zero_and_keep_the_order(rewards: list[float]) -> None:
    advantages = [a for a in group_relative(rewards) if a is not None]
    assert sum(advantages) == pytest.approx(0, abs=1e-9)
    assert sorted(range(len(rewards)), key=rewards.__getitem__) == sorted(range(len(rewards)), key=advantages.__getitem__)


@given(st.floats(0, 1), st.integers(2, 16))
def test_equal_rewards_teach_nothing(reward: float, size: int) -> None:
    """What float noise leaves must stay under the threshold of `batch.trainable`."""
    assert all(a is not None and abs(a) < 1e-6 for a in group_relative([reward] * size))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_its_parts(name: str) -> None:
    assert callable(loss_function(ALGORITHMS[name]))
    assert len(ALGORITHMS[name].advantages([1.0, 0.0, None])) == 3
