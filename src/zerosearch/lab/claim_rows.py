"""The claims as rows of study.json: the page's findings, with a plot per claim; the viewer's Study tab shows them."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from zerosearch.core.statistics import t_interval
from zerosearch.lab.claims import CLAIMS, Beats, Claim, Follows, Moves, RarelyCollapses, arms_of
from zerosearch.lab.findings import NOT_RUN, Figures, Finding, faithfulness_points

Plot = dict[str, Any]


def claim_rows(data: Figures, found: Mapping[str, Sequence[Finding]]) -> list[dict[str, Any]]:
    """A row per test: id, claim, test, paper, n, verdict; ours and interval if it was run; a claim's first row has its plot.

    A plot is curves over steps, `{"x": […], "series": [{"label", "values", "low"?, "high"?}]}`, or `{"bars": [{"label", "mean", …}]}`.
    """
    rows: list[dict[str, Any]] = []
    for name, claim in CLAIMS.items():
        was_run = any(finding.verdict != NOT_RUN for finding in found[name])
        for i, finding in enumerate(found[name]):
            row: dict[str, Any] = {"id": name, "claim": claim.title, "test": finding.test, "paper": claim.paper}
            if finding.value:
                value = finding.value
                row |= {"ours": round(value.mean, 3), "interval": [round(value.low, 3), round(value.high, 3)]}
            row |= {"n": finding.n, "verdict": finding.verdict}
            row |= {"note": finding.note} if finding.note else {}
            plot = _plot(claim, data) if i == 0 and was_run else None
            rows.append(row | ({"plot": plot} if plot else {}))
    return rows


def _plot(claim: Claim, data: Figures) -> Plot | None:
    """The plot of a claim: searches over steps, the EM of whole runs, or the EM of its arms."""
    match claim.tests[0]:
        case Moves(arm):
            return _searches(data, arm)
        case RarelyCollapses(arm):
            return _held_out(data, arm)
        case Follows() as test:
            return _faithfulness(test, data)
        case first:
            return _arms(claim, data, paired=isinstance(first, Beats))


def _arms(claim: Claim, data: Figures, paired: bool) -> Plot | None:
    """A bar per arm; `paired`: over the seeds that all arms have, like the differences."""
    arms = dict.fromkeys(arm for test in claim.tests for arm in arms_of(test))
    ems = {arm: {seed: run["em"] for seed, run in runs.items()} for arm in arms if (runs := data["arms"].get(arm))}
    shared = set.intersection(*map(set, ems.values())) if ems else set[str]()
    title = f"Held-out EM, the {len(shared)} seeds that all have" if paired else "Held-out EM"
    kept = {arm: [em for seed, em in by_seed.items() if seed in shared or not paired] for arm, by_seed in ems.items()}
    bars = [_bar(arm, values) for arm, values in kept.items() if values]
    return {"title": title, "bars": bars} if bars else None


def _faithfulness(test: Follows, data: Figures) -> Plot | None:
    points = faithfulness_points(test, data)
    by_arm = {arm: [(x, y) for other, _, x, y in points if other == arm] for arm in dict.fromkeys(point[0] for point in points)}
    bars = [_bar(f"{arm}, faithfulness {fmean(x for x, _ in of):.2f}", [y for _, y in of]) for arm, of in by_arm.items()]
    return {"title": "Held-out EM", "bars": bars} if bars else None


def _bar(label: str, ems: Sequence[float]) -> dict[str, Any]:
    bar: dict[str, Any] = {"label": label, "mean": round(fmean(ems), 3)}
    if len(ems) > 1:
        spread = t_interval(ems)
        bar |= {"low": round(spread.low, 3), "high": round(spread.high, 3)}
    return bar


def _searches(data: Figures, arm: str) -> Plot | None:
    """The mean of the seeds, and a band from the lowest of them to the highest."""
    seeds = [run["searches"] for run in data["arms"].get(arm, {}).values()]
    if not seeds:
        return None
    steps = list(zip(*seeds, strict=True))
    line = {"label": f"mean of {len(seeds)} seeds", "values": [round(fmean(step), 3) for step in steps]}
    line |= {"low": [min(step) for step in steps], "high": [max(step) for step in steps]}
    return {"title": "Searches per rollout", "y_label": "searches", "x": list(range(1, len(steps) + 1)), "series": [line]}


def _held_out(data: Figures, arm: str) -> Plot | None:
    """A line per seed; a run is evaluated before its first step, at equal distances, and after its last."""
    seeds = {seed: run["held_out"] for seed, run in data["arms"].get(arm, {}).items()}
    if not seeds:
        return None
    points = max(map(len, seeds.values()))
    x = [round(data["scale"]["steps"] * i / max(1, points - 1)) for i in range(points)]
    series = [{"label": f"seed {seed}", "values": values} for seed, values in seeds.items()]
    return {"title": "Held-out EM", "y_label": "EM", "x": x, "series": series}
