"""A whole evaluation, resumable question by question; and a single question, shown as it runs."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console

from zerosearch.core.errors import RunFailed
from zerosearch.data.benchmarks import Benchmark
from zerosearch.engines.replay import RecordedEngine
from zerosearch.evaluation.context import EvaluationContext, evaluate_in
from zerosearch.evaluation.evaluate import Answered
from zerosearch.evaluation.outcomes import Outcome, figures, row_of
from zerosearch.evaluation.sim_vs_real import gap
from zerosearch.evaluation.store import EvaluationDirectory, Row, Spent
from zerosearch.runs.cost import Prices, ResourceUse, cost_of, load_prices
from zerosearch.runs.progress import Progress


@dataclass(slots=True)
class Meter:
    """What this session has spent since it began. `searches` are those its questions made, some of which a recording may have answered."""

    context: EvaluationContext
    searches: int = 0
    session: str = field(default_factory=lambda: uuid4().hex[:8])
    _wall: float = field(default_factory=time.perf_counter)
    _cpu: float = field(default_factory=time.process_time)

    def read(self) -> Spent:
        wall, engine = time.perf_counter() - self._wall, self.context.engine
        paid = engine.calls if isinstance(engine, RecordedEngine) else self.searches
        cpu = time.process_time() - self._cpu
        return Spent(round(wall, 3), round(cpu, 3), round(wall, 3) if self.context.uses_gpu else 0.0, paid)


def evaluate_benchmark(
    benchmark: Benchmark,
    context: EvaluationContext,
    prices: Prices,
    out: Path | None,
    concurrency: int,
    console: Console,
    phase: str = "evaluating",
) -> tuple[dict[str, Any], list[Row]]:
    """Ask every question that has no row in `out` yet; returns the summary, with its cost as `cost`, and the rows.

    Rows are written as they come, the figures at the end, even if questions failed. Raises BadConfig if `out` was begun with another
    configuration, RunFailed if no question could be answered.
    """
    config = {
        "benchmark": benchmark.name,
        "source": benchmark.source,
        "questions": len(benchmark.questions),
        "fingerprint": benchmark.fingerprint(),
        "excluded": list(benchmark.excluded),
        **context.config,
    }
    directory = EvaluationDirectory(out) if out else None
    rows = directory.begin(config) if directory else {}
    meter = Meter(context)
    left = [question for question in benchmark.questions if question.id not in rows]
    with Progress(phase, console) as progress:

        def keep(answered: Answered) -> None:
            trajectory = answered.trajectory
            rows[trajectory.question.id] = row = row_of(trajectory, answered.usage)
            meter.searches += len(trajectory.searches)
            if directory:
                timing = {"id": trajectory.question.id, "seconds": round(answered.seconds, 4), "session": meter.session}
                directory.append(row, timing | asdict(meter.read()))
            progress.step(len(rows), len(benchmark.questions))

        asyncio.run(evaluate_in(context, left, concurrency, keep))
    ordered = [rows[question.id] for question in benchmark.questions]
    summary = summary_of(config, ordered)
    work = _work(context, ordered, directory.spent() if directory else meter.read())
    cost = {"model": work.model, **cost_of(work, prices)}
    if directory:
        directory.rewrite(ordered)
        directory.write(directory.summary, summary)
        directory.write(directory.costs, cost)
    if not summary["n"]:
        first = summary["failures"][0]
        raise RunFailed(f"none of {len(ordered)} questions could be scored; the first failed with {first['stop_reason']}: {first['cause']}")
    return {**summary, "cost": cost}, ordered


def evaluate_both(
    benchmark: Benchmark, build: Mapping[str, Callable[[], EvaluationContext]], out: Path | None, concurrency: int, console: Console
) -> dict[str, Any]:
    """The gap report of two evaluations, "simulated" and "real", built one after the other, each resumable in its own folder."""
    with tempfile.TemporaryDirectory() as scratch:
        rows: dict[str, list[Row]] = {}
        failures: list[Mapping[str, str]] = []
        for side, context in build.items():
            directory = (out or Path(scratch)) / side
            summary, rows[side] = evaluate_benchmark(benchmark, context(), load_prices(), directory, concurrency, console, f"{side} engine")
            failures += summary["failures"]
    about = {key: summary[key] for key in ("benchmark", "agent", "policy")}
    return {**about, **gap(rows["simulated"], rows["real"]), "failures": failures}


def summary_of(config: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Everything except times: the same for the same rows."""
    outcomes = [Outcome.from_row(row) for row in rows]
    failures = [{"id": o.id, "stop_reason": o.stop_reason, "cause": o.cause} for o in outcomes if o.scores is None]
    return {**config, **figures(outcomes), "failures": failures}


def _work(context: EvaluationContext, rows: Sequence[Row], spent: Spent) -> ResourceUse:
    return ResourceUse(
        searches=sum(len(row["searches"]) for row in rows),
        engine=(context.config["engine"] or {}).get("kind"),
        prompt_tokens=sum(row["usage"]["prompt_tokens"] for row in rows),
        new_tokens=sum(row["usage"]["new_tokens"] for row in rows),
        **asdict(spent),
        model=context.config.get("policy_model"),
    )
