"""Figures of style, each by pencil."""

import pytest

from zerosearch.simulator.style import bleu, near_duplicates, self_bleu, vocabulary_overlap


def test_vocabulary_overlap() -> None:
    assert vocabulary_overlap(["x x y"], ["x y z"]) == pytest.approx(2 / 3)
    assert vocabulary_overlap(["x"], ["x", "x"]) == 1 and vocabulary_overlap(["x"], ["y"]) == 0 and vocabulary_overlap([], ["y"]) == 0


def test_bleu() -> None:
    assert bleu(["x", "y"], [["x", "z"]], order=1) == pytest.approx(1 / 2)
    assert bleu(["x", "x"], [["x", "z"]], order=1) == pytest.approx(1 / 2)  # a reference's word counts once
    assert bleu(["x"], [["x", "z"]], order=1) == pytest.approx(2.718281828**-1)  # brevity: 1 - 2/1
    assert bleu(["x", "y"], [["x", "z"]], order=2) == pytest.approx((1 / 2 * 1 / 2) ** 0.5)
    assert bleu([], [["x"]]) == bleu(["x"], []) == bleu(["x"], [["y"]]) == 0


def test_self_bleu() -> None:
    assert self_bleu(["one two three four five"] * 3) == pytest.approx(1)
    assert self_bleu(["one two", "three four"]) == 0 == self_bleu(["one"])


def test_near_duplicates() -> None:
    assert near_duplicates(["x y z w", "W, z y x!", "other"]) == pytest.approx(1 / 3)
    assert near_duplicates([]) == 0
