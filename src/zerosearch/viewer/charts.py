"""Metrics → charts: which curves are drawn together, how noisy ones are smoothed, and how several runs are overlaid."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Literal

from zerosearch.viewer.run_files import Record, mapping, number_or_none
from zerosearch.viewer.summary_tables import label

Style = Literal["line", "faint", "points", "low", "high", "share"]
Curve = dict[int, float]  # step → value
_LINE: Style = "line"
_BOUNDS: tuple[Style, Style] = ("low", "high")
_SMOOTH_FROM = 30  # below this many points a curve is drawn as it is
_INTERNAL = frozenset({"kind", "step", "n", "epoch"})
_MOST_SEARCHES = 4  # per rollout; larger counts are drawn with these


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart; `values` is aligned with the chart's `x`, None where nothing was measured."""

    label: str
    values: Sequence[float | None]
    style: Style
    colour: int
    dash: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """`caption` describes the first series in words, for readers who cannot see the canvas."""

    id: str
    title: str
    y_label: str
    caption: str
    x: Sequence[int]
    series: Sequence[Series]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunData:
    """What charts need of a run; `family` is shared by runs that differ only in their seed."""

    name: str
    family: str
    metrics: Sequence[Record]
    planned_noise: Sequence[tuple[int, float]] = ()
    searches: Sequence[tuple[int, int, int]] = ()  # step, searches, rollouts
    dollars: Mapping[str, Curve] | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    title: str
    y_label: str
    curves: Mapping[str, tuple[str, str]]  # label → (kind, key)
    points: frozenset[str] = frozenset()  # labels drawn as dots


_PLANS = (
    _Plan("Reward", "mean reward", {"reward": ("train", "reward")}),
    _Plan(
        "Held-out scores, real engine",
        "mean score",
        {"EM": ("evaluate", "em"), "token F1": ("evaluate", "f1"), "cover EM": ("evaluate", "cover_em")},
    ),
    _Plan("Scores while training", "mean score", {"EM": ("train", "em"), "token F1": ("train", "f1")}),
    _Plan(
        "Noise rate",
        "share of searches",
        {"drawn": ("train", "noise_drawn"), "rate of the step": ("train", "noise_rate"), "planned": ("plan", "noise_rate")},
        points=frozenset({"drawn"}),
    ),
    _Plan("Searches per rollout", "searches", {"training": ("train", "searches"), "evaluation": ("evaluate", "searches")}),
    _Plan("Malformed rollouts", "share of rollouts", {"malformed": ("train", "malformed_share")}),
    _Plan("Failed rollouts", "rollouts", {"failed": ("train", "failed"), "failed, evaluation": ("evaluate", "failed")}),
    _Plan("KL to the reference", "KL divergence", {"KL": ("train", "kl")}),
    _Plan("Entropy", "nats per token", {"entropy": ("train", "entropy")}),
    _Plan("Length", "tokens per rollout", {"whole rollout": ("train", "tokens"), "of it by the policy": ("train", "policy_tokens")}),
    _Plan("Speed", "tokens per second", {"tokens/s": ("train", "tokens_per_s")}),
)
_PLANNED = {key for plan in _PLANS for key in plan.curves.values()}
_HOPS = {"1": "one hop", "2": "two hops"}
_SPLIT_AFTER = 2  # "EM by question type" follows the evaluation chart
_DISTRIBUTION_AFTER = "searches-per-rollout"


def main_charts(metrics: Sequence[Record]) -> list[Chart]:
    """The main curves; those that were not measured are left out."""
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


def charts_of(runs: Sequence[RunData]) -> tuple[list[Chart], list[Chart]]:
    """(main charts, the rest): all curves of one run, or one curve per family of several, with the seeds as a band."""
    made = [_charts_of_one(run) for run in runs]
    if len(runs) == 1:
        return made[0]
    families = list(dict.fromkeys(run.family for run in runs))
    names = [_family_name([run.name for run in runs if run.family == family]) for family in families]
    overlaid: list[list[Chart]] = []
    for part in (0, 1):
        by_id: dict[str, list[list[Chart]]] = {}
        for one, run in zip(made, runs, strict=True):
            for chart in one[part]:
                by_id.setdefault(chart.id, [[] for _ in families])[families.index(run.family)].append(chart)
        overlaid.append([c for groups in by_id.values() if (c := _overlaid(names, groups))])
    return overlaid[0], overlaid[1]


def _charts_of_one(run: RunData) -> tuple[list[Chart], list[Chart]]:
    plan: list[Record] = [{"kind": "plan", "step": step, "noise_rate": rate} for step, rate in run.planned_noise]
    charts = main_charts([*run.metrics, *plan]) if run.metrics else []
    place = next((i for i, chart in enumerate(charts, start=1) if chart.id == _DISTRIBUTION_AFTER), len(charts))
    if distribution := _distribution(run.searches):
        charts.insert(place, distribution)
    if run.dollars:
        lines: list[tuple[str, Curve, Style, int]] = [(name, curve, _LINE, i) for i, (name, curve) in enumerate(run.dollars.items())]
        charts += [chart for chart in [_chart("Cost so far", "US dollars", lines)] if chart]
    return charts, more_charts(run.metrics)


def _distribution(searches: Sequence[tuple[int, int, int]]) -> Chart | None:
    """The shares of rollouts of a step that searched never, once, twice, …, each drawn on top of the one before."""
    counts: dict[int, list[int]] = {}
    for step, n, rollouts in searches:
        counts.setdefault(step, [0] * (_MOST_SEARCHES + 1))[min(n, _MOST_SEARCHES)] += rollouts
    names = ("none", "one", "two", "three", "four or more")
    curves = {name: {step: row[i] / sum(row) for step, row in counts.items()} for i, name in enumerate(names)}
    lines: list[tuple[str, Curve, Style, int]] = [
        (name, curve, "share", i) for i, (name, curve) in enumerate(curves.items()) if any(curve.values())
    ]
    return _chart("How many searches", "share of rollouts", lines)


def _family_name(names: Sequence[str]) -> str:
    """A family's label: its runs' names without the seed, and how many runs there are."""
    if len(names) == 1:
        return names[0]
    rest = re.sub(r"seed[-_ ]?\d+", "", names[0]).strip("-_/ .")
    return f"{rest or 'all'} ({len(names)} seeds)"


def _overlaid(names: Sequence[str], groups: Sequence[Sequence[Chart]]) -> Chart | None:
    """The first curve of each family's charts in one chart: the mean of its seeds, and if there are several, the lowest and highest.

    For the few kinds of questions, one hop and two, every curve is drawn.
    """
    first = next((charts[0] for charts in groups if charts), None)
    if first is None or first.series[0].style == "share" or first.id == "em-by-question-type":
        return None  # too many curves to overlay
    chosen = [s.label for s in first.series] if first.id == "em-by-hops" else [first.series[0].label]
    lines: list[tuple[str, Curve, Style, int]] = []
    low, high = _BOUNDS
    dashes: dict[str, int] = {}
    for colour, (family, charts) in enumerate(zip(names, groups, strict=True)):
        for dash, what in enumerate(chosen):
            curves = [curve for chart in charts if (curve := _curve_named(chart, what))]
            steps = sorted({step for curve in curves for step in curve})
            values = {step: [curve[step] for curve in curves if step in curve] for step in steps}
            name = f"{family}, {what}" if len(chosen) > 1 else family
            dashes[name] = dash if len(chosen) > 1 else colour
            style: Style = "points" if first.series[0].style == "points" else "line"
            if values:
                lines.append((name, {step: fmean(v) for step, v in values.items()}, style, colour))
            if len(curves) > 1 and len(chosen) == 1:
                lines.append((f"{name}, lowest", {step: min(v) for step, v in values.items()}, low, colour))
                lines.append((f"{name}, highest", {step: max(v) for step, v in values.items()}, high, colour))
    chart = _chart(first.title, first.y_label, lines)
    if chart is None:
        return None
    band = "; shaded: from the lowest seed to the highest" if any(style == "low" for _, _, style, _ in lines) else ""
    what = "" if len(chosen) > 1 else f"{chosen[0]}. "
    series = [replace(one, dash=dashes.get(one.label, one.dash)) for one in chart.series]
    return replace(chart, caption=f"{what}{chart.caption.partition('; shaded')[0]}{band}", series=series)


def _curve_named(chart: Chart, name: str) -> Curve:
    values = next((s.values for s in chart.series if s.label == name), [None] * len(chart.x))
    return {step: value for step, value in zip(chart.x, values, strict=True) if value is not None}


def _curve(metrics: Sequence[Record], kind: str, key: str, part: str = "mean") -> Curve:
    """One number over the steps. A resumed run may hold a step twice; the later one counts."""
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
        elif kind == "train" and key not in ("noise_rate", "failed") and len(curve) >= _SMOOTH_FROM:
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
    """A chart for each `by_…` of the evaluations, with one curve per kind of question."""
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
        series=[Series(label, [_short(curve.get(step)) for step in x], style, colour, colour) for label, curve, style, colour in series],
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
    # five digits are finer than a pixel, and halve the page's size
    return None if value is None else float(f"{value:.5g}")
