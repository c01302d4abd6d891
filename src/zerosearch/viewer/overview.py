"""The first page: charts, before and after, facts, recipe, of one run or of several."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from zerosearch.runs.cost import cost_of, load_prices, training_work
from zerosearch.viewer.charts import Curve, RunData, charts_of
from zerosearch.viewer.run_files import mapping, number_or_none
from zerosearch.viewer.run_view import Run
from zerosearch.viewer.summary_tables import summary_view

_COST_POINTS = 60
_NEEDED = ("failed", "searches", "policy_tokens", "tokens", "seconds")


def overview(runs: Sequence[Run]) -> dict[str, Any]:
    """What the overview shows of these runs."""
    data = [
        RunData(run.key, run.same_but_seed, run.metrics, run.planned_noise(), run.index.searches_by_step(), dollars(run)) for run in runs
    ]
    charts, more = charts_of(data)
    return {
        "charts": [chart.as_json() for chart in charts],
        "more": [chart.as_json() for chart in more],
        "summaries": [{"key": run.key, **_summary(run)} for run in runs],
        "configs": [{"key": run.key, "text": run.config_text} for run in runs],
    }


def _summary(run: Run) -> dict[str, Any]:
    # an evaluation's figures stand alone, without a before
    view = summary_view({"trained": run.figures} if run.is_evaluation else run.summary)
    rows = [
        {
            "label": row.label,
            "base": row.base and asdict(row.base),
            "trained": row.trained and asdict(row.trained),
            "is_share": row.is_share,
        }
        for row in view.comparisons
    ]
    phases = [{"name": phase.name, "text": phase.text, "share": phase.share} for phase in view.phases]
    facts = [{"title": group.title, "rows": list(group.rows)} for group in view.facts]
    return {"rows": rows, "questions": view.question_count, "phases": phases, "facts": facts}


def dollars(run: Run) -> dict[str, Curve]:
    """What the steps have cost so far, and what search APIs would have charged for their searches; {} if the metrics do not say."""
    steps = [row for row in run.metrics if row.get("kind") == "train" and isinstance(row.get("step"), int)]
    rows = [row for row in steps if all(number_or_none(row.get(key)) is not None for key in _NEEDED)]
    rl, prices = mapping(run.config.get("rl")), load_prices()
    per_step = (number_or_none(rl.get("questions_per_step")) or 0) * (number_or_none(rl.get("group_size")) or 0)
    if not rows or not per_step:
        return {}
    every = max(1, len(rows) // _COST_POINTS)
    ends = sorted({*range(every, len(rows) + 1, every), len(rows)})
    kept = mapping(run.summary.get("cost"))
    on_gpu = bool(number_or_none(kept.get("gpu_s")))
    wall = number_or_none(kept.get("wall_s")) or 0.0
    workers = (
        round((number_or_none(kept.get("cpu_s")) or 0.0) / wall)
        if wall
        else int(number_or_none(mapping(run.config.get("run")).get("workers")) or 1)
    )
    engine = str(mapping(run.config.get("engine")).get("kind", "simulated"))
    work = {rows[end - 1]["step"]: training_work(rows[:end], int(per_step), engine, on_gpu, max(1, workers)) for end in ends}
    apis = {name: price for name, price in prices.usd_per_1000_searches.items() if price > 0}
    curves: dict[str, Curve] = {"this run": {step: cost_of(done, prices)["usd"]["total"] for step, done in work.items()}}
    for name, price in sorted(apis.items(), key=lambda item: item[1])[:: max(1, len(apis) - 1)]:  # the cheapest and the most expensive
        curves[f"its searches at {name}"] = {step: done.searches * price / 1000 for step, done in work.items()}
    return curves
