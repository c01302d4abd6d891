"""Advantages by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosearch.rl.advantages import (
    batch_centred,
    batch_normalised,
    explained_variance,
    gae,
    group_centred,
    group_relative,
    leave_one_out,
    whitened,
)
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
    assert [len(row) for row in ALGORITHMS[name].advantages([[1.0, 0.0, None], [None], []])] == [3, 1, 0]


def test_group_centred() -> None:
    assert group_centred([1.0, 0.0, None, 0.5]) == pytest.approx([0.5, -0.5, None, 0.0])
    assert group_centred([1.0, None]) == [None, None]


def test_leave_one_out() -> None:
    """The others of 1 are 0 and ½, mean ¼; of 0: ¾; of ½: ½."""
    assert leave_one_out([1.0, 0.0, 0.5]) == pytest.approx([0.75, -0.75, 0.0])
    assert leave_one_out([None, 1.0, 0.0]) == [None, 1.0, -1.0]
    assert leave_one_out([None, 1.0]) == [None, None]


def test_batch_centred() -> None:
    """All of 1, 0, 0 and ½ together: mean 3/8."""
    assert batch_centred([[1.0, 0.0], [0.0, None], [0.5]]) == [[0.625, -0.375], [-0.375, None], [0.125]]
    assert batch_centred([[None], [1.0]]) == [[None], [None]]


def test_batch_normalised() -> None:
    """1, 0, 1, 0 over two groups: mean ½, population deviation ½."""
    assert batch_normalised([[1.0, 0.0], [1.0, None, 0.0]]) == [pytest.approx([1.0, -1.0]), pytest.approx([1.0, None, -1.0])]
    assert batch_normalised([[0.1, 0.1], [0.1, None]]) == [[0.0, 0.0], [0.0, None]]
    assert batch_normalised([[0.1]]) == [[None]]


def test_gae_by_hand() -> None:
    """Three tokens, γ = ½, λ = ½, reward 1 at the end, values 0.4, 0.2, 0.6.

    δ_3 = 1 - 0.6 = 0.4; δ_2 = 0.5 · 0.6 - 0.2 = 0.1; δ_1 = 0.5 · 0.2 - 0.4 = -0.3
    A_3 = 0.4; A_2 = 0.1 + 0.25 · 0.4 = 0.2; A_1 = -0.3 + 0.25 · 0.2 = -0.25
    """
    advantages, returns = gae([0.0, 0.0, 1.0], [0.4, 0.2, 0.6], discount=0.5, trace=0.5)
    assert advantages == pytest.approx([-0.25, 0.2, 0.4])
    assert returns == pytest.approx([0.15, 0.4, 1.0])


def test_gae_with_nothing_discounted_is_the_reward_to_come_less_the_value() -> None:
    advantages, returns = gae([0.0, -0.1, 1.0], [0.3, 0.5, 0.2], discount=1.0, trace=1.0)
    assert advantages == pytest.approx([0.9 - 0.3, 0.9 - 0.5, 1.0 - 0.2]) and returns == pytest.approx([0.9, 0.9, 1.0])
    assert gae([], [], 1.0, 1.0) == ([], [])


def test_gae_with_no_trace_is_one_step() -> None:
    assert gae([0.0, 1.0], [0.3, 0.5], discount=1.0, trace=0.0)[0] == pytest.approx([0.2, 0.5])


def test_whitened() -> None:
    assert whitened([3.0, 2.0, 1.0]) == pytest.approx([1.0, 0.0, -1.0])
    assert whitened([0.7, 0.7]) == [0.0, 0.0] and whitened([0.7]) == [0.0] and whitened([]) == []


def test_explained_variance() -> None:
    assert explained_variance([1.0, 0.0], [1.0, 0.0]) == 1
    assert explained_variance([1.0, 0.0], [0.5, 0.5]) == 0
    assert explained_variance([1.0, 0.0], [0.0, 1.0]) == -3  # errors of ±1 have four times the variance of the returns
    assert explained_variance([1.0, 1.0], [0.0, 1.0]) == explained_variance([], []) == 0
