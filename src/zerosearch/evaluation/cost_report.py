"""`zerosearch cost RUN`: what a run cost, and what the same searches would have cost elsewhere, as in the paper's cost table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zerosearch.core.errors import BadFile
from zerosearch.evaluation.store import EvaluationDirectory
from zerosearch.runs.cost import Prices, ResourceUse, compute_cost, cost_of, training_work
from zerosearch.runs.directory import RunDirectory

_FIELDS = ("searches", "prompt_tokens", "new_tokens", "wall_s", "cpu_s", "gpu_s")


def cost_report(path: str, prices: Prices, queries: int) -> dict[str, Any]:
    """The cost of the run in `path`, and of as many searches at every priced API; both for `queries` searches, beside the paper's.

    Raises BadFile when `path` holds neither a training run nor an evaluation, or if it has done nothing yet.
    """
    kind, work = work_of(Path(path))
    own = cost_of(work, prices)
    total = own["usd"]["total"]
    apis = {name: price for name, price in prices.usd_per_1000_searches.items() if price > 0}
    paper = prices.paper
    return {
        "run": path,
        "kind": kind,
        "engine": work.engine,
        **own,
        "api_usd": {name: round(work.searches * price / 1000, 4) for name, price in apis.items()},
        "projected": {
            "queries": queries,
            "this_run_usd": round(total / work.searches * queries, 2) if work.searches else None,
            "api_usd": {name: round(queries * price / 1000, 2) for name, price in apis.items()},
        },
        "paper": {
            "queries": paper.queries,
            "api": paper.api,
            "api_usd": round(paper.queries * prices.usd_per_1000_searches.get(paper.api, 0.0) / 1000, 2),
            "simulator_usd": {size: round(compute_cost(0.0, paper.hours * 3600 * n, prices), 2) for size, n in paper.gpus.items()},
        },
        "assumptions": _assumptions(kind, prices),
    }


def _assumptions(kind: str, prices: Prices) -> list[str]:
    hours, paper = prices.usd_per_hour, prices.paper
    return [
        f"a CPU core costs ${hours.cpu_core:g} an hour, a GPU ${hours.gpu:g}; edit prices.toml and pass it with --prices",
        "all of the run's seconds count as the engine's, including the policy's own work: an upper bound for the simulator"
        if kind == "training"
        else "the seconds are those of the whole evaluation, policy and engine together; a policy behind an endpoint costs its tokens",
        "a projection assumes the run's dollars per search: the same models, lengths and machine",
        f"the paper's rows: {paper.queries:,} queries, {paper.hours:g} h on "
        f"{', '.join(f'{n} GPU ({size})' for size, n in paper.gpus.items())}; they leave out its policy's GPUs",
    ]


def work_of(path: Path) -> tuple[str, ResourceUse]:
    """("training" or "evaluation", what it did)."""
    evaluation, run = EvaluationDirectory(path), RunDirectory(path)
    if evaluation.config.exists():
        if not evaluation.costs.exists():
            raise BadFile(f"the evaluation in '{path}' is not finished; run the same evaluate command again to resume.")
        stored = json.loads(evaluation.costs.read_text())
        engine = (evaluation.read_config()["engine"] or {}).get("kind")
        paid = stored.get("paid_searches")
        return "evaluation", ResourceUse(
            engine=engine, model=stored["model"], paid_searches=paid, **{name: stored[name] for name in _FIELDS}
        )
    if run.config.exists():
        return "training", _training_work(run)
    raise BadFile(f"'{path}' holds neither a training run nor an evaluation; give a directory that train or evaluate --out wrote.")


def _training_work(run: RunDirectory) -> ResourceUse:
    recipe = run.read_config()
    engine = recipe["engine"]["kind"]
    if run.summary.exists() and (stored := json.loads(run.summary.read_text()).get("cost")):
        return ResourceUse(engine=engine, **{name: stored[name] for name in _FIELDS})
    work = training_work(
        run.read_metrics(),
        recipe["rl"]["questions_per_step"] * recipe["rl"]["group_size"],
        engine,
        recipe["policy"]["device"].startswith("cuda"),
    )
    if not work.wall_s:
        raise BadFile(f"the run in '{run.path}' has not finished a step yet; resume with: zerosearch train --resume {run.path}")
    return work


def as_markdown(report: Mapping[str, Any]) -> str:
    """The paper's cost table with this run in it."""
    projected, paper = report["projected"], report["paper"]
    this = projected["this_run_usd"]
    lines = [
        f"| | {report['searches']:,} searches of this run | {projected['queries']:,} queries |",
        "|---|---:|---:|",
        f"| this run ({report['engine'] or 'no engine'}) | ${report['usd']['total']:.4f} | {f'${this:.2f}' if this is not None else '–'} |",
        *(f"| {name} | ${usd:.4f} | ${projected['api_usd'][name]:.2f} |" for name, usd in report["api_usd"].items()),
        f"| paper: {paper['api']}, {paper['queries']:,} queries | | ${paper['api_usd']:.2f} |",
        *(f"| paper: simulator {size}, {paper['queries']:,} queries | | ${usd:.2f} |" for size, usd in paper["simulator_usd"].items()),
    ]
    notes = [*report["assumptions"], *(f"not priced: {what}" for what in report["unpriced"])]
    took = (
        f"{report['prompt_tokens']:,} prompt tokens, {report['new_tokens']:,} new tokens, "
        f"{report['wall_s']:.1f} s ({report['cpu_s']:.1f} CPU s, {report['gpu_s']:.1f} GPU s)"
    )
    return "\n".join([*lines, "", f"It took {took}.", "", *(f"- {note}" for note in notes)])
