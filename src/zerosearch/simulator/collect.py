"""Real searches: a policy works through questions against a real engine, and every search it makes is kept.

Collecting is an evaluation kept for its searches: the rollouts are in an evaluation's directory (a row per question as soon as
it is done), the searches in a recording (a search is paid for once, even if a kill cut its question short).
"""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from zerosearch.core.errors import BadConfig, BadInput, RunFailed
from zerosearch.data.benchmarks import Benchmark
from zerosearch.engines.replay import RecordedEngine
from zerosearch.evaluation.context import EvaluationContext, evaluate_in
from zerosearch.evaluation.evaluate import Answered
from zerosearch.evaluation.outcomes import row_of
from zerosearch.evaluation.store import EvaluationDirectory
from zerosearch.runs.progress import Progress
from zerosearch.simulator.searches import SearchesDirectory
from zerosearch.simulator.transcripts import read_transcripts, searches_in_row

# the budget does not identify the work: it may be raised, and the work resumes
_BUDGET = ("max_searches", "max_usd", "usd_per_search")


@dataclass(frozen=True, slots=True)
class Collected:
    """`failed` are the ids of the questions that could not be finished."""

    searches: int
    questions: int
    failed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"searches": self.searches, "questions": self.questions, "failed": list(self.failed)}


def collect(
    benchmark: Benchmark,
    policy: str,
    engine: Mapping[str, Any],
    build: Callable[[Mapping[str, Any] | None], EvaluationContext],
    out: Path,
    concurrency: int,
    console: Console,
) -> Collected:
    """Ask every question that is not done yet. `engine` is a recipe's [engine] section, {} for the one of `policy`'s run; `build` loads
    policy and engine for the section it is given (None: the run's).

    Raises RunFailed if the budget is spent (what was found is kept), BadConfig for a simulated engine.
    """
    directory = SearchesDirectory(out)
    engine = dict(engine)
    if engine.get("kind") == "simulated":
        raise BadConfig("collect needs a real engine, or a simulator would learn from a simulator; choose another --engine.")
    begun_now = not directory.origin.exists()
    directory.begin(_origin(benchmark, policy, engine))
    if engine and not engine.get("record") and not engine.get("replay"):
        engine["record"] = str(directory.recording)
    try:
        context = build(engine or None)
    except BadInput:  # a mistyped policy or engine must not create the directory
        if begun_now:
            shutil.rmtree(out, ignore_errors=True)
        raise
    rollouts = EvaluationDirectory(directory.rollouts)
    rows = rollouts.begin({"benchmark": benchmark.name, "fingerprint": benchmark.fingerprint(), **context.config})
    budget = context.engine.budget if isinstance(context.engine, RecordedEngine) else None
    left = [question for question in benchmark.questions if question.id not in rows]
    try:
        with Progress("collecting", console) as progress:

            def keep(answered: Answered) -> None:
                trajectory = answered.trajectory
                if budget is not None and budget.spent == trajectory.cause != "":  # not kept: it is asked again once the budget is raised
                    raise RunFailed(f"{budget.spent} What was found is kept; raise the limit and run the same command to resume.")
                rows[trajectory.question.id] = row = row_of(trajectory, answered.usage)
                rollouts.append(row, {"id": trajectory.question.id, "seconds": round(answered.seconds, 4), "session": ""})
                progress.step(len(rows), len(benchmark.questions))

            if left:
                asyncio.run(evaluate_in(context, left, concurrency, keep))
    finally:  # however it ended, what was found can be used
        done = [rows[q.id] for q in benchmark.questions if q.id in rows]
        found = [search for row in done if row["scores"] for search in searches_in_row(row)]
        directory.write_searches(found)
    failed = [row for row in done if not row["scores"]]
    if len(failed) == len(done):
        raise RunFailed(
            f"none of {len(done)} questions could be finished; the first failed with {failed[0]['stop_reason']}: {failed[0]['cause']}"
        )
    return Collected(len(found), len(done) - len(failed), tuple(row["question"]["id"] for row in failed))


def collect_from(file: Path, out: Path) -> Collected:
    """The searches of stored transcripts. Raises BadFile if the file cannot be read or holds no search."""
    found = read_transcripts(file)
    directory = SearchesDirectory(out)
    directory.begin({"from_rollouts": str(file)})
    directory.write_searches(found)
    return Collected(len(found), len({f.id.rsplit("/", 1)[0] for f in found}), ())


def _origin(benchmark: Benchmark, policy: str, engine: dict[str, Any]) -> dict[str, Any]:
    said = {k: v for k, v in engine.items() if k not in (*_BUDGET, "record", "replay")}
    return {"questions": benchmark.source, "fingerprint": benchmark.fingerprint(), "policy": policy, "engine": said}
