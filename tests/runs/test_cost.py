"""Dollars by pencil, and the paper's own cost table out of the price table."""

from pathlib import Path

import pytest

from zerosearch.core.errors import BadFile
from zerosearch.engines.registry import ENGINES
from zerosearch.evaluation.cost_report import as_markdown, cost_report
from zerosearch.runs.cost import ResourceUse, cost_of, load_prices, training_work

PRICES = load_prices()


def test_the_papers_table() -> None:
    """64k queries: $586.7 against $17.7, $35.4 and $70.8 (arXiv 2505.04588)."""
    assert 64_000 * PRICES.usd_per_1000_searches["serpapi"] / 1000 == pytest.approx(586.7, abs=0.05)
    bills = [PRICES.paper.hours * n * PRICES.usd_per_hour.gpu for n in PRICES.paper.gpus.values()]
    assert bills == pytest.approx([17.7, 35.4, 70.8])


def test_dollars_by_pencil() -> None:
    work = ResourceUse(
        searches=2000,
        engine="serper",
        prompt_tokens=1_000_000,
        new_tokens=500_000,
        wall_s=7200,
        cpu_s=3600,
        gpu_s=7200,
        model="gpt-4o-mini",
    )
    cost = cost_of(work, PRICES)
    assert cost["usd"] == {"searches": 2.0, "tokens": 0.45, "compute": 0.05 + 2 * 1.475, "total": 2.0 + 0.45 + 3.0}
    assert cost["unpriced"] == [] and cost["searches"] == 2000 and cost["gpu_s"] == 7200


def test_what_has_no_price_is_said() -> None:
    cost = cost_of(ResourceUse(3, "bing", 10, 10, 1, 0, 0, model="llama"), PRICES)
    assert cost["unpriced"] == ["searches of bing", "tokens of llama"] and cost["usd"]["total"] == 0
    assert cost_of(ResourceUse(0, None, 10, 10, 1, 0, 0), PRICES)["unpriced"] == []


def test_every_engine_has_a_price_and_what_a_tape_answered_costs_nothing() -> None:
    assert set(ENGINES) - {"replay"} <= set(PRICES.usd_per_1000_searches)
    assert cost_of(ResourceUse(2000, "serper", 0, 0, 0, 0, 0, paid_searches=500), PRICES)["usd"]["searches"] == 0.5
    replayed = cost_of(ResourceUse(2000, "replay", 0, 0, 0, 0, 0, paid_searches=0), PRICES)
    assert (replayed["searches"], replayed["paid_searches"], replayed["usd"]["total"], replayed["unpriced"]) == (2000, 0, 0, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = ", "not valid TOML"),
        ("[usd_per_hour]\ncpu_core = 1\ngpu = 1\n", "key 'usd_per_1000_searches'"),
        ("[usd_per_1000_searches]\nbm25 = -1\n[usd_per_hour]\ncpu_core = 1\ngpu = 1\n", "key 'usd_per_1000_searches.bm25'"),
    ],
)
def test_a_bad_price_table_is_one_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(BadFile, match=told) as caught:
        load_prices(str(tmp_path / "p.toml"))
    assert "\n" not in str(caught.value)
    with pytest.raises(BadFile, match="cannot read the price table"):
        load_prices(str(tmp_path / "none.toml"))


def test_the_work_of_a_training_run() -> None:
    """Two steps of 4 rollouts, one of which failed; means are over the sound ones."""
    rows = [
        {"kind": "train", "searches": 1.5, "tokens": 100.0, "policy_tokens": 20.0, "failed": 0, "seconds": 2.0},
        {"kind": "evaluate", "n": 7},
        {"kind": "train", "searches": 2.0, "tokens": 50.0, "policy_tokens": 10.0, "failed": 1, "seconds": 3.0},
    ]
    work = training_work(rows, 4, "simulated", on_gpu=False, workers=2)
    assert (work.searches, work.new_tokens, work.prompt_tokens) == (6 + 6, 80 + 30, 320 + 120)
    assert (work.wall_s, work.cpu_s, work.gpu_s) == (5.0, 10.0, 0.0)
    assert training_work(rows, 4, "simulated", on_gpu=True).gpu_s == 5.0


def test_the_bill_of_a_training_run(micro: Path, tmp_path: Path) -> None:
    from micro import micro_recipe
    from zerosearch.cli import run

    (tmp_path / "recipe.toml").write_text(micro_recipe(micro))
    out = tmp_path / "run"
    assert run(["train", str(tmp_path / "recipe.toml"), "rl.steps=1", f"run.out={out}"]) == 0
    report = cost_report(str(out), PRICES, 64_000)
    assert report["kind"] == "training" and report["searches"] > 0 and report["cpu_s"] > 0 and report["usd"]["compute"] > 0
    (out / "summary.json").unlink()  # not done yet: the same from the metrics, but for how many workers there were
    again = cost_report(str(out), PRICES, 64_000)
    assert (again["searches"], again["new_tokens"]) == (report["searches"], report["new_tokens"])
    assert "| this run (bm25) |" in as_markdown(report) and "- a projection assumes" in as_markdown(report)
    (out / "metrics.jsonl").unlink()
    with pytest.raises(BadFile, match="has not finished a step yet"):
        cost_report(str(out), PRICES, 64_000)
