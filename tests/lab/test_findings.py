"""Verdicts with a pencil, and the page in docs/ against the figures it was made of."""

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from zerosearch.core.statistics import Estimate
from zerosearch.lab.claims import CLAIMS, Beats, Follows, Moves, RarelyCollapses, Reaches
from zerosearch.lab.findings import DOES_NOT, NOT_RUN, OPEN, REPLICATES, change_of, correlation, decide, finding
from zerosearch.lab.study_page import commits, pages, whole
from zerosearch.viewer.study import study

DOCS = Path(__file__).parents[2] / "docs"


def data(**arms: list[float]) -> dict[str, Any]:
    """Arms with an EM a seed."""
    return {"arms": {arm: {str(i): {"em": em} for i, em in enumerate(ems)} for arm, ems in arms.items()}, "cards": {}}


def test_a_difference_seed_by_seed() -> None:
    """Differences .1, .2, .3: mean .2, s = .1, and t(2) = 4.303: ± 4.303 · .1 / √3 = .2484."""
    found = finding(Beats("a", "b"), data(a=[0.5, 0.7, 0.9], b=[0.4, 0.5, 0.6]))
    assert found.value and found.n == 3
    assert (found.value.mean, found.value.high - found.value.mean) == pytest.approx((0.2, 0.2484), abs=1e-4)
    assert found.verdict == OPEN


@pytest.mark.parametrize(
    ("low", "high", "n", "verdict"),
    [(0.01, 0.30, 3, REPLICATES), (-0.05, 0.30, 3, OPEN), (-0.05, 0.019, 3, DOES_NOT), (-0.30, -0.10, 3, DOES_NOT), (0.10, 0.30, 2, OPEN)],
)
def test_the_rule(low: float, high: float, n: int, verdict: str) -> None:
    assert decide(Estimate((low + high) / 2, low, high, n), 0.0, 0.02) == verdict


def test_seeds_that_only_one_arm_has_count_for_nothing() -> None:
    found = finding(Beats("a", "b"), data(a=[0.9, 0.9, 0.9, 0.1], b=[0.5, 0.6, 0.5]))
    assert found.n == 3 and found.verdict == REPLICATES


def test_a_margin_is_what_it_may_be_worse() -> None:
    arms = data(a=[0.50, 0.51, 0.52], b=[0.52, 0.53, 0.54])
    assert finding(Beats("a", "b", margin=0.05), arms).verdict == REPLICATES
    assert finding(Beats("a", "b"), arms).verdict == DOES_NOT


def test_a_level() -> None:
    assert finding(Reaches("a", 0.65), data(a=[0.80, 0.82, 0.81])).verdict == REPLICATES
    assert finding(Reaches("a", 0.65), data(a=[0.40, 0.42, 0.41])).verdict == DOES_NOT
    assert finding(Reaches("a", 0.65), data(a=[0.3, 0.9, 0.9])).verdict == OPEN


def test_nothing_was_run() -> None:
    for test in (Beats("a", "b"), Reaches("a", 0.5), Moves("a", "fall"), Follows(("a",)), RarelyCollapses("a")):
        assert finding(test, data()).verdict == NOT_RUN


def test_searches_that_fall_and_rise() -> None:
    """Windows of five steps: 2 at first, 1 at the lowest, 1.6 at the end."""
    curve = [2.0] * 5 + [1.0] * 5 + [1.6] * 10
    assert [change_of(curve, how) for how in ("fall", "rise", "settle")] == pytest.approx([1.0, 0.6, 0.0])
    runs = {"arms": {"a": {str(i): {"em": 0.5, "searches": [x + 0.01 * i for x in curve]} for i in range(3)}}}
    assert {finding(Moves("a", how), runs).verdict for how in ("fall", "rise", "settle")} == {REPLICATES}
    flat = {"arms": {"a": {str(i): {"em": 0.5, "searches": [1.0] * 10 + [1.5 + 0.01 * i] * 5} for i in range(3)}}}
    assert [finding(Moves("a", how), flat).verdict for how in ("fall", "rise", "settle")] == [DOES_NOT, REPLICATES, DOES_NOT]


def test_a_correlation() -> None:
    assert correlation([1, 2, 3, 4], [1, 3, 2, 4]).mean == pytest.approx(0.8)
    perfect = correlation([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    assert perfect.mean == pytest.approx(1.0) and perfect.low > 0.99
    none = correlation([1, 2, 3, 4, 5, 6, 7], [2, 1, 2, 1, 2, 1, 2])
    assert none.mean == pytest.approx(0.0, abs=1e-12) and none.high == pytest.approx(math.tanh(1.96 / 2), abs=1e-4)


def test_collapses_are_counted() -> None:
    def runs(*ends: float) -> dict[str, Any]:
        return {"arms": {"a": {str(i): {"em": end, "held_out": [0.0, 0.8, end]} for i, end in enumerate(ends)}}}

    assert finding(RarelyCollapses("a", runs=3), runs(0.7, 0.39, 0.8)).verdict == REPLICATES
    assert finding(RarelyCollapses("a", runs=3), runs(0.39, 0.39, 0.8)).verdict == DOES_NOT
    assert finding(RarelyCollapses("a", runs=4), runs(0.7, 0.8, 0.8)).verdict == OPEN
    assert "1 of 3" in finding(RarelyCollapses("a", runs=3), runs(0.7, 0.39, 0.8)).note


def test_the_claims_as_the_viewer_takes_them(tmp_path: Path) -> None:
    """F1 against EM: differences .2, .1, 0, mean .1, s = .1: ± 4.303 · .1 / √3 = .248. Two arms were run; there is one card."""
    figures = data(grpo=[0.8, 0.9, 0.7], em=[0.6, 0.8, 0.7])
    for i, run in enumerate(figures["arms"]["grpo"].values()):
        run |= {"searches": [1.0 + i] * 12, "held_out": [0.0, 0.5, run["em"]]}
    figures |= {"scale": {"steps": 40}, "cards": {"simulator": {"0": {"answer_in_useful": 0.9, "answer_off_target": 0.2}}}}
    (tmp_path / "study.json").write_text(json.dumps(whole(figures)))
    (shown,) = study([tmp_path])["studies"]
    assert [row["id"] for row in shown["claims"]] == [name for name, claim in CLAIMS.items() for _ in claim.tests]
    assert shown["title"].startswith("The study") and "*" not in shown["about"] and "seed by seed" in shown["about"]
    first = {row["id"]: row for row in reversed(shown["claims"])}  # the first of each has the plot
    reward = first["reward"]
    assert (reward["test"], reward["ours"], reward["low"], reward["high"], reward["n"]) == ("grpo − em", "0.1", -0.148, 0.348, "3")
    assert reward["verdict"] == OPEN and reward["paper"].startswith("EM breeds")
    assert [(bar["label"], bar["mean"]) for bar in reward["bars"]] == [("grpo", 0.8), ("em", 0.7)]
    (line, low, high) = first["searches"]["chart"]["series"]
    assert (line["values"][0], low["values"][0], high["values"][0], first["searches"]["chart"]["x"][-1]) == (2.0, 1.0, 3.0, 12)
    ends = first["collapse"]["chart"]
    assert ends["x"] == [0, 20, 40] and [s["values"][-1] for s in ends["series"]] == [0.8, 0.9, 0.7]
    assert "worst ends at" in first["collapse"]["note"]
    assert first["faithfulness"]["bars"] == [{"label": "grpo, faithfulness 0.70", "mean": 0.8, "low": None, "high": None}]
    unmade = first["guard"]
    assert (unmade["ours"], unmade["low"], unmade["verdict"], unmade["n"]) == ("", None, NOT_RUN, "0")
    assert unmade["bars"] == [] and unmade["chart"] is None  # one of its arms was run, for others: nothing to compare


def test_runs_of_another_commit_are_named() -> None:
    figures = data(grpo=[0.8, 0.9, 0.7], em=[0.6, 0.8], real=[0.9, 0.8])
    for of_arm in figures["arms"].values():
        for run in of_arm.values():
            run["commit"] = "new"
    assert commits(figures) == "new"
    for run in (figures["arms"]["grpo"]["2"], *figures["arms"]["em"].values()):
        run["commit"] = "old"
    assert commits(figures) == "new, but old for grpo 2; em"
    assert commits({"arms": {}}) == "unknown"


def test_the_page_in_docs_is_what_its_figures_give() -> None:
    figures = json.loads((DOCS / "study.json").read_text())
    for name, text in pages(figures).items():
        assert (DOCS / name).read_text() == text, f"{name}: python -m zerosearch.lab.study_page docs/study.json docs"
        if name.endswith(".svg"):
            ElementTree.fromstring(text)
