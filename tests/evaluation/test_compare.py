"""Runs side by side: joined by id, labelled apart, and honest about what cannot be paired."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zerosearch.core.errors import BadFile, BadInput
from zerosearch.core.types import Author, Question, Scores, Span, StopReason, Trajectory, Usage
from zerosearch.evaluation.compare import as_markdown, compare
from zerosearch.evaluation.outcomes import row_of
from zerosearch.evaluation.store import EvaluationDirectory
from zerosearch.runs.cost import load_prices

PRICES = load_prices()


def write_run(path: Path, agent: str, ems: dict[str, float | None], benchmark: str = "nq", text: str = "?") -> str:
    """An evaluation's directory whose questions were answered so; None: failed."""
    directory = EvaluationDirectory(path)
    directory.begin({"benchmark": benchmark, "agent": agent, "engine": {"kind": "bm25"}})
    rows: list[dict[str, Any]] = []
    for i, em in ems.items():
        spans = (Span(Author.PROMPT, (1, 2), "p"), Span(Author.POLICY, (3,), "a"))
        done = Trajectory(Question(i, f"{text} {i}", ("g",)), 0, spans, (), StopReason.ANSWERED, answer="a")
        if em is None:
            done = replace(done, answer=None, stop_reason=StopReason.POLICY_FAILED, cause="down")
        else:
            done = replace(done, scores=Scores(em, em, em))
        rows.append(row_of(done, Usage(1, 2, 1)))
    directory.rewrite(rows)
    costs = {"model": None, "searches": 0, "prompt_tokens": 2, "new_tokens": 1, "wall_s": 1, "cpu_s": 3600, "gpu_s": 0}
    directory.write(directory.costs, costs)
    return str(path)


def test_pairs_are_joined_by_id_and_leave_failures_out(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", "direct", {"1": 0.0, "2": 1.0, "3": None, "4": 0.0, "only a": 1.0})
    b = write_run(tmp_path / "b", "rag", {"4": 1.0, "3": 1.0, "2": 1.0, "1": 0.0})
    table = compare([a, b], PRICES)
    assert [(r["label"], r["n"], r["failed"], r["em"]["mean"]) for r in table["rows"]] == [("direct", 4, 1, 0.5), ("rag", 4, 0, 0.75)]
    assert table["rows"][0]["tokens_per_question"] == 3.0 and table["rows"][0]["usd"] == pytest.approx(0.05)
    (pair,) = table["pairs"]
    assert (pair["a"], pair["b"], pair["n"]) == ("direct", "rag", 3) and pair["em"]["mean"] == pytest.approx(1 / 3)
    text = as_markdown(table)
    assert "| nq | direct | 4 (+1 failed) | 0.500 [" in text and "| nq | rag − direct | 3 | +0.333 [" in text
    json.dumps(table, allow_nan=False)


def test_one_agent_twice_is_told_apart_by_its_directory(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, "rag", {"1": 1.0}) for name in ("a", "b")]
    assert [row["label"] for row in compare(runs, PRICES)["rows"]] == [f"rag ({run})" for run in runs]


def test_benchmarks_are_not_mixed(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, "rag", {"test_0": 1.0}, benchmark=name, text=name) for name in ("nq", "popqa")]
    table = compare(runs, PRICES)
    assert [row["label"] for row in table["rows"]] == ["rag", "rag"] and table["pairs"] == []


def test_one_id_must_be_one_question(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / text, "rag", {"1": 1.0}, text=text) for text in ("who", "what")]
    with pytest.raises(BadInput, match="id '1' is one question in"):
        compare(runs, PRICES)


def test_a_training_run_shows_its_own_evaluations(micro: Path, tmp_path: Path) -> None:
    from micro import micro_recipe

    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text(micro_recipe(micro).replace("[engine]", "held_out = 'data/test_questions.jsonl'\n[engine]"))
    with pytest.raises(BadFile, match="has not evaluated anything yet"):
        compare([str(run)], PRICES)
    interval = {"mean": 0.5, "low": 0.4, "high": 0.6}
    figures = {"n": 10, "failed": 0, "em": interval, "cover_em": interval, "f1": interval, "searches": 1.2, "policy_tokens": 30.0}
    for when in ("base", "trained"):
        (run / f"evaluation-{when}.json").write_text(json.dumps({"greedy": figures}))
    table = compare([str(run)], PRICES)
    assert [(r["benchmark"], r["label"], r["usd"]) for r in table["rows"]] == [
        ("test_questions", "base", None),
        ("test_questions", "trained", None),
    ]
    assert table["pairs"] == [] and "| test_questions | trained | 10 | 0.500 [0.400, 0.600] |" in as_markdown(table)
