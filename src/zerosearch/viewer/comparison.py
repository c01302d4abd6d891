"""Two runs side by side: how their figures differ and how sure that is, and the questions that one answers and the other does not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import hypot
from typing import Any

from zerosearch.evaluation.statistics import paired_bootstrap
from zerosearch.viewer.run_files import Record, mapping, number_or_none
from zerosearch.viewer.runs import Run
from zerosearch.viewer.tables import Figure, figure_in, label

_QUESTIONS = 200  # of each kind that are listed
_LAST_STEPS = 10  # of training: what a curve ended with
_TRAINING = ("reward", "searches", "malformed_share", "kl", "entropy", "policy_tokens", "tokens_per_s")


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Every pair of these runs."""
    return {"pairs": [_pair(a, b) for a, b in combinations(runs, 2)]}


def _pair(a: Run, b: Run) -> dict[str, Any]:
    mine, theirs = ({row["question_id"]: row for row in run.index.outcomes("evaluate")} for run in (a, b))
    # one id may be two questions in two worlds: those are no pair
    shared = [i for i, row in mine.items() if i in theirs and row["question"] == theirs[i]["question"]]
    scored = [i for i in shared if mine[i]["em"] is not None and theirs[i]["em"] is not None]
    rows = [row for name in ("em", "f1", "searches") if (row := _paired(name, [mine[i] for i in scored], [theirs[i] for i in scored]))]
    paired = {row["name"]: row["n"] for row in rows}
    rows += [row for row in _unpaired(a.summary, b.summary) if paired.get(row["name"], -1) < (row["n"] or 0)]
    rows += _training(a, b)
    only_a = [i for i in scored if mine[i]["em"] == 1 > theirs[i]["em"]]
    only_b = [i for i in scored if theirs[i]["em"] == 1 > mine[i]["em"]]
    return {
        "a": a.key,
        "b": b.key,
        "rows": [{key: value for key, value in row.items() if key != "name"} for row in rows],
        "n": len(scored),
        "both": sum(mine[i]["em"] == 1 == theirs[i]["em"] for i in scored),
        "neither": sum(mine[i]["em"] < 1 > theirs[i]["em"] for i in scored),
        "only_a": {"count": len(only_a), "rows": [_question(mine[i], theirs[i]) for i in only_a[:_QUESTIONS]]},
        "only_b": {"count": len(only_b), "rows": [_question(mine[i], theirs[i]) for i in only_b[:_QUESTIONS]]},
    }


def _question(mine: Record, theirs: Record) -> dict[str, Any]:
    return {
        "question": mine["question"],
        **{f"{side}_{key}": row[key] for side, row in (("a", mine), ("b", theirs)) for key in ("n", "answer", "searches")},
    }


def _paired(name: str, mine: Sequence[Record], theirs: Sequence[Record]) -> dict[str, Any] | None:
    pairs = [(a[name], b[name]) for a, b in zip(mine, theirs, strict=True) if a[name] is not None and b[name] is not None]
    if not pairs:
        return None
    found = paired_bootstrap([x for x, _ in pairs], [y for _, y in pairs], resamples=2000)
    means = [sum(side) / len(pairs) for side in zip(*pairs, strict=True)]
    how = "the same held-out questions, paired bootstrap"
    return _row(name, f"{label(name)}, held out", means[0], means[1], (found.low, found.high), found.p, found.n, how)


def _unpaired(mine: Record, theirs: Record) -> list[dict[str, Any]]:
    """Figures of the two summaries. Their intervals are taken for normal and independent: half-widths add up as the sides of a triangle."""
    rows: list[dict[str, Any]] = []
    for name in [key for key in mapping(mine.get("trained")) if key not in ("n", "intervals", "failed")]:
        a, b = (figure_in(mapping(side.get("trained")), name) for side in (mine, theirs))
        if a is None or b is None:
            continue
        half = None if (x := _half(a)) is None or (y := _half(b)) is None else hypot(x, y)
        interval = None if half is None else (b.mean - a.mean - half, b.mean - a.mean + half)
        n = number_or_none(mapping(theirs.get("trained")).get("n"))
        rows.append(_row(name, f"{label(name)}, trained", a.mean, b.mean, interval, None, n, "each run's own figures, not paired"))
    return rows


def _half(figure: Figure) -> float | None:
    return None if figure.low is None or figure.high is None else (figure.high - figure.low) / 2


def _training(a: Run, b: Run) -> list[dict[str, Any]]:
    """What the last steps of training looked like: the mean over them, its interval over steps (normal, steps taken for independent)."""
    rows: list[dict[str, Any]] = []
    for name in _TRAINING:
        means = [_last(run.metrics, name) for run in (a, b)]
        if None in means:
            continue
        (x, dx), (y, dy) = [m for m in means if m]
        half = 1.96 * hypot(dx, dy)
        how = f"mean of the last {_LAST_STEPS} steps"
        rows.append(_row(name, f"{label(name)}, training", x, y, (y - x - half, y - x + half), None, None, how))
    return rows


def _last(metrics: Sequence[Record], name: str) -> tuple[float, float] | None:
    """Mean and standard error over the last steps; None for fewer than two."""
    values = [v for row in metrics if row.get("kind") == "train" and (v := number_or_none(row.get(name))) is not None][-_LAST_STEPS:]
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return mean, (sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)) ** 0.5


def _row(
    name: str, text: str, a: float, b: float, interval: tuple[float, float] | None, p: float | None, n: float | None, how: str
) -> dict[str, Any]:
    low, high = interval or (None, None)
    return {"name": name, "label": text, "a": a, "b": b, "difference": b - a, "low": low, "high": high, "p": p, "n": n, "how": how}
