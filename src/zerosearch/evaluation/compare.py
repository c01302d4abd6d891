"""`zerosearch compare RUN…`: benchmarks × agents in one table, with intervals and the significance of differences."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from zerosearch.core.errors import BadFile, BadInput
from zerosearch.core.statistics import paired_bootstrap
from zerosearch.evaluation.cost_report import work_of
from zerosearch.evaluation.outcomes import SCORES, Outcome, figures
from zerosearch.evaluation.store import EvaluationDirectory
from zerosearch.runs.cost import Prices, cost_of
from zerosearch.runs.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Column:
    """One run. `outcomes` is empty if only figures are left (a training run's own evaluations), which cannot be paired."""

    run: str
    benchmark: str
    agent: str
    label: str
    figures: Mapping[str, Any]
    cost: Mapping[str, Any] | None
    outcomes: Mapping[str, Outcome]


def compare(paths: Sequence[str], prices: Prices) -> dict[str, Any]:
    """`{"rows": […], "pairs": […]}`: each run's figures, and each pair of runs on the same benchmark, question by question.

    Raises BadFile for a directory that holds nothing to compare, BadInput if one id stands for two questions.
    """
    columns = _labelled([column for path in paths for column in _columns(path, prices)])
    by_benchmark: dict[str, list[Column]] = defaultdict(list)
    for column in columns:
        by_benchmark[column.benchmark].append(column)
    return {
        "rows": [_row(column) for group in by_benchmark.values() for column in group],
        "pairs": [pair for group in by_benchmark.values() for a, b in combinations(group, 2) if (pair := _pair(a, b))],
    }


def _columns(path: str, prices: Prices) -> list[Column]:
    evaluation, run = EvaluationDirectory(Path(path)), RunDirectory(Path(path))
    if evaluation.config.exists():
        config, outcomes = evaluation.read_config(), evaluation.outcomes()
        cost = cost_of(work_of(evaluation.path)[1], prices) if evaluation.costs.exists() else None
        return [Column(path, config["benchmark"], config["agent"], config["agent"], figures(outcomes), cost, {o.id: o for o in outcomes})]
    if not run.config.exists():
        raise BadFile(f"'{path}' holds neither an evaluation nor a training run; give directories that evaluate --out or train wrote.")
    return _training_columns(path, run)


def _training_columns(path: str, run: RunDirectory) -> list[Column]:
    """The policy before and after, as the run itself evaluated it."""
    benchmark = Path(str(RunDirectory.open(path).read_config()["questions"]["held_out"])).name.split(".")[0]
    kept = {when: run.path / f"evaluation-{when}.json" for when in ("base", "trained")}
    columns = [
        Column(path, benchmark, "zerosearch", when, json.loads(file.read_text())["greedy"], None, {})
        for when, file in kept.items()
        if file.exists()
    ]
    if not columns:
        raise BadFile(f"the run in '{path}' has not evaluated anything yet; run: zerosearch evaluate --policy {path} --out DIR …")
    return columns


def _labelled(columns: list[Column]) -> list[Column]:
    """Labels that tell runs on one benchmark apart: the agent, and if that is not enough, the directory."""
    seen = Counter((c.benchmark, c.label) for c in columns)
    return [
        Column(c.run, c.benchmark, c.agent, f"{c.label} ({c.run})", c.figures, c.cost, c.outcomes) if seen[c.benchmark, c.label] > 1 else c
        for c in columns
    ]


def _row(column: Column) -> dict[str, Any]:
    found, cost = column.figures, column.cost
    return {
        "benchmark": column.benchmark,
        "label": column.label,
        "agent": column.agent,
        "run": column.run,
        "n": found["n"],
        "failed": found["failed"],
        **{score: found.get(score) for score in SCORES},
        "searches_per_question": found.get("searches"),
        "tokens_per_question": found["policy_tokens"] + found.get("prompt_tokens", 0.0) if "policy_tokens" in found else None,
        "usd": cost["usd"]["total"] if cost else None,
        "unpriced": cost["unpriced"] if cost else [],
    }


def _pair(a: Column, b: Column) -> dict[str, Any] | None:
    """b − a over the questions scored in both, joined by id."""
    shared = [i for i in a.outcomes if i in b.outcomes]
    for i in shared:
        if a.outcomes[i].question != b.outcomes[i].question:
            raise BadInput(
                f"{a.benchmark}: id '{i}' is one question in '{a.run}' and another in '{b.run}'; compare runs on the same question file."
            )
    scored = [(x, y) for i in shared if (x := a.outcomes[i].scores) and (y := b.outcomes[i].scores)]
    if not scored:
        return None
    differences = {
        score: paired_bootstrap([getattr(x, score) for x, _ in scored], [getattr(y, score) for _, y in scored]).as_json()
        for score in SCORES
    }
    searches = fmean(b.outcomes[i].searches - a.outcomes[i].searches for i in shared)
    return {"benchmark": a.benchmark, "a": a.label, "b": b.label, "n": len(scored), **differences, "searches": searches}


def as_markdown(table: Mapping[str, Any]) -> str:
    lines = [
        "| benchmark | agent | n | EM [95%] | cover-EM [95%] | F1 [95%] | searches | tokens | $ |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table["rows"]:
        scores = " | ".join(_interval(row[score]) for score in SCORES)
        failed = f" (+{row['failed']} failed)" if row["failed"] else ""
        usd = "–" if row["usd"] is None else f"{row['usd']:.4f}" + ("*" if row["unpriced"] else "")
        lines.append(
            f"| {row['benchmark']} | {row['label']} | {row['n']}{failed} | {scores} | {_number(row['searches_per_question'], 2)} "
            f"| {_number(row['tokens_per_question'], 0)} | {usd} |"
        )
    if table["pairs"]:
        lines += [
            "",
            "| benchmark | difference | n | EM [95%] | p | F1 [95%] | p |",
            "|---|---|---:|---:|---:|---:|---:|",
            *(
                f"| {p['benchmark']} | {p['b']} − {p['a']} | {p['n']} | {_interval(p['em'], '+')} | {p['em']['p']:.4f} "
                f"| {_interval(p['f1'], '+')} | {p['f1']['p']:.4f} |"
                for p in table["pairs"]
            ),
            "",
            "Intervals: bootstrap over questions, 95%. p: paired bootstrap over the questions scored in both, joined by id, two-sided. "
            "Searches and tokens are per question, dollars per run.",
        ]
    if any(row["unpriced"] for row in table["rows"]):
        unpriced = sorted({what for row in table["rows"] for what in row["unpriced"]})
        lines += ["", f"* without {', '.join(unpriced)}: not in the price table (--prices FILE)."]
    return "\n".join(lines)


def _interval(value: Mapping[str, float] | None, sign: str = "") -> str:
    return "–" if value is None else f"{value['mean']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def _number(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:.{places}f}"
