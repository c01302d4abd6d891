"""Runs side by side: how the figures of two differ and with what confidence, the questions that one answers and the other does not;
and one table of all if there are three or more."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from math import hypot
from typing import Any

from zerosearch.core.statistics import bootstrap_interval, paired_bootstrap, t_interval
from zerosearch.viewer.run_files import Record, number_or_none
from zerosearch.viewer.run_view import Run
from zerosearch.viewer.summary_tables import Figure, figure_in, label

_QUESTIONS = 200  # listed of each kind
_LAST_STEPS = 10  # of training: where a curve ended
_PAIRED = ("em", "f1", "searches")
_NO_FIGURES = ("n", "intervals", "failed")
_SHARED = "the same held-out questions"
_OWN = "each run's own figures, not paired"
_LATE = f"mean of the last {_LAST_STEPS} steps"
_TRAINING = ("reward", "searches", "malformed_share", "kl", "entropy", "policy_tokens", "tokens_per_s")

Outcomes = Mapping[str, Record]  # the last held-out record of each question, by its id


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Every pair of these runs; `together` is the table of more than two, else None."""
    held_out = {run.key: {row["question_id"]: row for row in run.index.outcomes("evaluate")} for run in runs}
    return {
        "together": _together(runs, [held_out[run.key] for run in runs]) if len(runs) > 2 else None,
        "pairs": [_pair(a, b, held_out[a.key], held_out[b.key]) for a, b in combinations(runs, 2)],
    }


def _scored(outcomes: Sequence[Outcomes]) -> list[str]:
    """The ids of the questions scored in all runs. Ids that stand for different questions in two worlds are left out."""
    first, *others = outcomes
    shared = [i for i, row in first.items() if all(i in other and other[i]["question"] == row["question"] for other in others)]
    return [i for i in shared if all(other[i]["em"] is not None for other in outcomes)]


def _together(runs: Sequence[Run], outcomes: Sequence[Outcomes]) -> dict[str, Any]:
    """A row per measure, a figure (or None) per run: on the questions all were asked, from each run's summary, and in training."""
    scored = _scored(outcomes)
    rows: list[dict[str, Any]] = []
    for name in _PAIRED if scored else ():
        values = [[row[name] for i in scored if (row := held_out[i])[name] is not None] for held_out in outcomes]
        found = [bootstrap_interval(of) if of else None for of in values]
        rows.append(_figures(f"{label(name)}, held out", [f and Figure(f.mean, f.low, f.high) for f in found], _SHARED))
    for name in dict.fromkeys(key for run in runs for key in run.figures if key not in _NO_FIGURES):
        rows.append(_figures(f"{label(name)}, in its summary", [figure_in(run.figures, name) for run in runs], _OWN))
    for name in _TRAINING:
        rows.append(_figures(f"{label(name)}, training", [_last(run.metrics, name) for run in runs], _LATE))
    return {"runs": [run.key for run in runs], "n": len(scored), "rows": [row for row in rows if any(row["figures"])]}


def _figures(text: str, figures: Sequence[Figure | None], how: str) -> dict[str, Any]:
    return {"label": text, "figures": [figure and asdict(figure) for figure in figures], "how": how}


def _pair(a: Run, b: Run, mine: Outcomes, theirs: Outcomes) -> dict[str, Any]:
    scored = _scored([mine, theirs])
    rows = [row for name in _PAIRED if (row := _paired(name, [mine[i] for i in scored], [theirs[i] for i in scored]))]
    paired = {row["name"]: row["n"] for row in rows}
    rows += [row for row in _unpaired(a.figures, b.figures) if paired.get(row["name"], -1) < (row["n"] or 0)]
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
    found = paired_bootstrap([x for x, _ in pairs], [y for _, y in pairs])
    means = [sum(side) / len(pairs) for side in zip(*pairs, strict=True)]
    return _row(
        name, f"{label(name)}, held out", means[0], means[1], (found.low, found.high), found.p, found.n, f"{_SHARED}, paired bootstrap"
    )


def _unpaired(mine: Record, theirs: Record) -> list[dict[str, Any]]:
    """The figures of each run's own summary."""
    names, n = [key for key in mine if key not in _NO_FIGURES], number_or_none(theirs.get("n"))
    return [
        _independent(name, f"{label(name)}, in its summary", a, b, n, _OWN)
        for name in names
        if (a := figure_in(mine, name)) and (b := figure_in(theirs, name))
    ]


def _training(a: Run, b: Run) -> list[dict[str, Any]]:
    """The figures of the last steps of training."""
    return [
        _independent(name, f"{label(name)}, training", x, y, None, _LATE)
        for name in _TRAINING
        if (x := _last(a.metrics, name)) and (y := _last(b.metrics, name))
    ]


def _last(metrics: Sequence[Record], name: str) -> Figure | None:
    """Mean over the last steps, and Student's interval, which treats steps as independent; None for fewer than two."""
    values = [v for row in metrics if row.get("kind") == "train" and (v := number_or_none(row.get(name))) is not None][-_LAST_STEPS:]
    if len(values) < 2:
        return None
    found = t_interval(values)
    return Figure(found.mean, found.low, found.high)


def _independent(name: str, text: str, a: Figure, b: Figure, n: float | None, how: str) -> dict[str, Any]:
    """A row of two figures that are not paired: independent half-widths add in quadrature."""
    interval = None
    if a.low is not None and a.high is not None and b.low is not None and b.high is not None:
        half = hypot(a.high - a.low, b.high - b.low) / 2
        interval = (b.mean - a.mean - half, b.mean - a.mean + half)
    return _row(name, text, a.mean, b.mean, interval, None, n, how)


def _row(
    name: str, text: str, a: float, b: float, interval: tuple[float, float] | None, p: float | None, n: float | None, how: str
) -> dict[str, Any]:
    low, high = interval or (None, None)
    return {"name": name, "label": text, "a": a, "b": b, "difference": b - a, "low": low, "high": high, "p": p, "n": n, "how": how}
