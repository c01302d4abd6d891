"""Metrics → charts: which curves are drawn together, what they are called, and how noisy ones are smoothed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from zerosearch.viewer.run_files import Record, mapping, number_or_none
from zerosearch.viewer.tables import label

Style = Literal["line", "faint", "points", "low", "high"]
Curve = dict[int, float]  # step → value
_LINE: Style = "line"
_BOUNDS: tuple[Style, Style] = ("low", "high")
_SMOOTH_FROM = 30  # below this many points a curve is drawn as it is
_INTERNAL = frozenset({"kind", "step", "n", "epoch"})


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart; `values` is aligned with the chart's `x`, None where nothing was measured."""

    label: str
    values: Sequence[float | None]
    style: Style
    colour: int


@dataclass(frozen=True, slots=True)
class Chart:
    """`caption` says in words what the first series does, for those who do not see the canvas."""

    id: str
    title: str
    y_label: str
    caption: str
    x: Sequence[int]
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class _Plan:
    title: str
    y_label: str
    curves: Mapping[str, tuple[str, str]]  # label → (kind, key)
    points: frozenset[str] = frozenset()  # labels drawn as dots


_PLANS = (
    _Plan("Reward", "mean reward", {"reward": ("train", "reward")}),
    _Plan(
        "Scores with the real engine",
        "mean score",
        {"EM": ("evaluate", "em"), "token F1": ("evaluate", "f1"), "cover EM": ("evaluate", "cover_em")},
    ),
    _Plan("Scores while training", "mean score", {"EM": ("train", "em"), "token F1": ("train", "f1")}),
    _Plan(
        "Noise rate",
        "share of searches",
        {"planned": ("train", "noise_rate"), "drawn": ("train", "noise_drawn")},
        points=frozenset({"drawn"}),
    ),
    _Plan("Searches per rollout", "searches", {"training": ("train", "searches"), "evaluation": ("evaluate", "searches")}),
    _Plan("KL to the reference", "KL divergence", {"KL": ("train", "kl")}),
    _Plan("Speed", "tokens per second", {"tokens/s": ("train", "tokens_per_s")}),
)
_PLANNED = {key for plan in _PLANS for key in plan.curves.values()}
_HOPS = {"1": "one hop", "2": "two hops"}
_SPLIT_AFTER = 2  # "EM by question type" follows the evaluation chart


def main_charts(metrics: Sequence[Record]) -> list[Chart]:
    """The curves everyone looks for first; those that were not measured are left out."""
    charts = [_planned(plan, metrics) for plan in _PLANS]
    charts[_SPLIT_AFTER:_SPLIT_AFTER] = _split(metrics)
    return [chart for chart in charts if chart]


def more_charts(metrics: Sequence[Record]) -> list[Chart]:
    """Every other number in the metrics, one chart each."""
    keys = {(str(row.get("kind", "train")), key): None for row in metrics for key in row}
    charts = [
        _planned(_Plan(f"{label(key)} ({kind})", label(key), {label(key): (kind, key)}), metrics)
        for kind, key in keys
        if (kind, key) not in _PLANNED and key not in _INTERNAL
    ]
    return [chart for chart in charts if chart]


def _curve(metrics: Sequence[Record], kind: str, key: str, part: str = "mean") -> Curve:
    """One number over the steps. A resumed run may hold a step twice: the later one counts."""
    curve: Curve = {}
    for row in metrics:
        interval = mapping(row.get(key))  # a plain number is its own mean
        number = number_or_none(interval.get(part) if interval else row.get(key) if part == "mean" else None)
        if str(row.get("kind", "train")) == kind and isinstance(row.get("step"), int) and number is not None:
            curve[row["step"]] = number
    return curve


def _planned(plan: _Plan, metrics: Sequence[Record]) -> Chart | None:
    curves = {name: _curve(metrics, *key) for name, key in plan.curves.items()}
    series: list[tuple[str, Curve, Style, int]] = []
    for colour, (name, curve) in enumerate(curves.items()):
        if not curve:
            continue
        kind, key = plan.curves[name]
        if name in plan.points:
            series.append((name, curve, "points", colour))
        elif kind == "train" and key != "noise_rate" and len(curve) >= _SMOOTH_FROM:
            window = _window(len(curve))
            series.append((f"{name} (mean of {window} steps)", _smooth(curve, window), "line", colour))
            series.append((f"{name} (each step)", curve, "faint", colour))
        else:
            series.append((name, curve, "line", colour))
        for part in _BOUNDS if colour == 0 else ():  # bands of several curves would cover each other
            if bound := _curve(metrics, kind, key, part):
                series.append((f"{name}, {part}", bound, part, colour))
    return _chart(plan.title, plan.y_label, series)


def _split(metrics: Sequence[Record]) -> list[Chart | None]:
    """A chart for each `by_…` of the evaluations: one curve a kind of question."""
    charts: list[Chart | None] = []
    for key in dict.fromkeys(key for row in metrics for key in row if key.startswith("by_")):
        # {"one_hop": {"em": 0.5, "n": 99}} or {"one_hop": 0.5} → {"one_hop": 0.5}
        parts = [{name: mapping(value).get("em", value) for name, value in mapping(row.get(key)).items()} for row in metrics]
        rows = [part | {"kind": row.get("kind"), "step": row.get("step")} for part, row in zip(parts, metrics, strict=True)]
        names = sorted({name for part in parts for name in part})
        curves = {name: curve for name in names if (curve := _curve(rows, "evaluate", name))}
        series: list[tuple[str, Curve, Style, int]] = [
            (_HOPS.get(name, name.replace("_", " ")) if key == "by_hops" else name.replace("_", " "), curve, _LINE, i)
            for i, (name, curve) in enumerate(curves.items())
        ]
        what = "question type" if key == "by_type" else key.removeprefix("by_").replace("_", " ")
        charts.append(_chart(f"EM by {what}", "EM, real engine", series))
    return charts


def _chart(title: str, y_label: str, series: Sequence[tuple[str, Curve, Style, int]]) -> Chart | None:
    if not series:
        return None
    x = sorted({step for _, curve, _, _ in series for step in curve})
    return Chart(
        id=re.sub(r"\W+", "-", title.lower()).strip("-"),
        title=title,
        y_label=y_label,
        caption=_caption(series[0][0], series[0][1])
        + ("; shaded: 95% interval" if any(style == "low" for _, _, style, _ in series) else ""),
        x=x,
        series=[Series(label, [_short(curve.get(step)) for step in x], style, colour) for label, curve, style, colour in series],
    )


def _caption(label: str, curve: Curve) -> str:
    first, last = min(curve), max(curve)
    if first == last:
        return f"{label}: {_words(curve[first])} at step {first:,}"
    return f"{label}: {_words(curve[first])} at step {first:,}, {_words(curve[last])} at step {last:,}"


def _words(value: float) -> str:
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")


def _window(n: int) -> int:
    """About a fifteenth of the run, odd so that it has a middle."""
    return max(3, n // 15 | 1)


def _smooth(curve: Curve, window: int) -> Curve:
    """Centred moving mean; at both ends over the part of the window that exists."""
    steps = sorted(curve)
    values = [curve[step] for step in steps]
    half = window // 2
    return {step: fmean(values[max(0, i - half) : i + half + 1]) for i, step in enumerate(steps)}


def _short(value: float | None) -> float | None:
    # five digits are more than a pixel shows and halve the page
    return None if value is None else float(f"{value:.5g}")
