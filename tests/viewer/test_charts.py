from __future__ import annotations

from typing import Any

import pytest

from zerosearch.viewer.charts import main_charts, more_charts


def train(step: int, **numbers: Any) -> dict[str, Any]:
    return {"kind": "train", "step": step, **numbers}


def test_a_curve_by_pencil() -> None:
    (chart,) = main_charts([train(1, reward=0.5), train(3, reward=1.0)])
    assert (chart.title, list(chart.x), [list(s.values) for s in chart.series]) == ("Reward", [1, 3], [[0.5, 1.0]])
    assert chart.caption == "reward: 0.5 at step 1, 1 at step 3"


def test_a_step_logged_twice_counts_once_and_the_later_one_wins() -> None:
    (chart,) = main_charts([train(1, kl=9.0), train(1, kl=0.1)])
    assert list(chart.series[0].values) == [0.1]


def test_curves_with_different_steps_share_an_axis() -> None:
    (chart,) = main_charts([train(1, searches=1.0), {"kind": "evaluate", "step": 2, "searches": 2.0}])
    assert [list(s.values) for s in chart.series] == [[1.0, None], [None, 2.0]]


def test_long_curves_are_smoothed_and_still_shown_raw() -> None:
    (chart,) = main_charts([train(i, reward=float(i % 2)) for i in range(60)])
    smooth, raw = chart.series
    assert (smooth.style, raw.style) == ("line", "faint")
    assert smooth.label == "reward (mean of 5 steps)"
    assert smooth.values[30] == pytest.approx(2 / 5)  # 0 1 0 1 0
    assert smooth.values[0] == pytest.approx(1 / 3, abs=1e-4)  # 0 1 0


def test_intervals_and_types() -> None:
    by_type = {"one_hop": {"em": 0.7, "n": 9}, "two_hop": 0.3}
    row = {"kind": "evaluate", "step": 5, "em": {"mean": 0.5, "low": 0.4, "high": 0.6}, "by_type": by_type, "by_hops": {"2": {"em": 0.1}}}
    scores, types, hops = main_charts([row])
    assert [(s.style, list(s.values)) for s in scores.series] == [("line", [0.5]), ("low", [0.4]), ("high", [0.6])]
    assert scores.caption == "EM: 0.5 at step 5; shaded: 95% interval"
    assert [(s.label, list(s.values)) for s in types.series] == [("one hop", [0.7]), ("two hop", [0.3])]
    assert (hops.title, [s.label for s in hops.series]) == ("EM by hops", ["two hops"])


def test_unknown_numbers_are_charted_and_everything_else_ignored() -> None:
    charts = more_charts([train(1, reward=1, brand_new=2, text="x", flag=True, missing=None, infinite=float("inf"))])
    assert [chart.title for chart in charts] == ["Brand new (train)"]
