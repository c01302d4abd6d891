"""`zerosearch.rollout` and `zerosearch.evaluate`: one question, and many. The command line calls them, too."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from zerosearch.api.settings import questions_of, refuse_unknown
from zerosearch.config.evaluation import EvaluationSettings, build_evaluation
from zerosearch.core.interfaces import close
from zerosearch.core.statistics import Estimate
from zerosearch.core.sync import outside_loop, run_sync
from zerosearch.core.types import Question, Trajectory
from zerosearch.data.benchmarks import Benchmark, load_benchmark
from zerosearch.evaluation.run import evaluate_benchmark
from zerosearch.rollout.loop import rollout as rollout_loop
from zerosearch.runs.cost import load_prices

_SETTINGS = tuple(EvaluationSettings.__dataclass_fields__)


async def arollout(question: str | Question, policy: Any, *, engine: Any = None, **settings: Any) -> Trajectory:
    """`rollout`, awaited."""
    # in a thread: loading takes a while, and an endpoint is asked for its model in a loop of its own
    context = await asyncio.to_thread(build_evaluation, _settings("rollout", policy, engine, settings))
    asked = question if isinstance(question, Question) else Question("ask", question, ())
    try:
        return await rollout_loop(asked, context.policy, context.environment, context.settings, context.episode, context.renderer)
    finally:
        await close(context.environment)
        await close(context.policy)


def rollout(question: str | Question, policy: Any, *, engine: Any = None, **settings: Any) -> Trajectory:
    """Let a policy work on one question; returns what was said, searched and answered.

    `policy` is a checkpoint's folder, a run directory, a hub id, a URL of an endpoint, a Policy, or a function from the text so far to the
    next turn. `engine` is a function `(query, k) -> documents`, an engine, or an [engine] section as a dict; None: what the policy's run
    was evaluated with. `settings` are those of `config.evaluation.EvaluationSettings`: `agent`, `environment`, `renderer`, `rollout` (a
    recipe's [rollout] section as a dict), `k`, `seed`, `noise_rate`, `temperature`, `max_turns`, `prompt`, `policy_style`, ….

    What fails during the rollout is in the trajectory's `stop_reason` and `cause`; raises BadInput for what the caller can mend.
    """
    return run_sync(arollout(question, policy, engine=engine, **settings))


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found. `rows` has a dict a question: its spans, searches, answer and scores; `failures` those without a score."""

    summary: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def em(self) -> Estimate:
        """Exact match: `mean`, with its 95% interval `low` to `high`."""
        return self._estimate("em")

    @property
    def cover_em(self) -> Estimate:
        return self._estimate("cover_em")

    @property
    def f1(self) -> Estimate:
        return self._estimate("f1")

    @property
    def n(self) -> int:
        """Questions that were scored."""
        return self.summary["n"]

    @property
    def failures(self) -> list[dict[str, str]]:
        return self.summary["failures"]

    def _estimate(self, score: str) -> Estimate:
        return Estimate(**self.summary[score], n=self.n)


def evaluate(
    policy: Any,
    questions: str | Path | Sequence[Any],
    *,
    engine: Any = None,
    agent: Any = "zerosearch",
    limit: int = 0,
    out: str | Path | None = None,
    concurrency: int = 64,
    benchmarks: str = "",
    prices: str = "",
    console: Console | None = None,
    **settings: Any,
) -> Report:
    """Answer every question with a policy, an agent and an engine; exact match, cover match and F1 with 95% intervals.

    `questions` is a benchmark's name, a file, or a list as for `train`; `limit` draws a seeded sample of a file. `policy`, `engine` and
    `settings`: as for `rollout`. With `out` everything is kept in that directory, and the same call resumes there.

    Raises BadInput for what the caller can mend, RunFailed when no question could be scored; a question that failed is in `failures`.
    """
    wanted = _settings("evaluate", policy, engine, {"agent": agent, **settings})
    if isinstance(questions, str | Path):
        benchmark = load_benchmark(str(questions), benchmarks, limit or None, wanted.seed)
    else:
        benchmark = Benchmark("questions", "a list", tuple(questions_of(questions)[: limit or None]), ())
    table, folder = load_prices(prices), Path(out) if out is not None else None
    say = console or Console(stderr=True)

    def work() -> Report:
        summary, rows = evaluate_benchmark(benchmark, build_evaluation(wanted), table, folder, concurrency, say)
        return Report(summary, rows)

    return outside_loop(work)


def _settings(function: str, policy: Any, engine: Any, settings: Mapping[str, Any]) -> EvaluationSettings:
    refuse_unknown(function, {name: None for name in settings if name not in _SETTINGS}, _SETTINGS)
    return EvaluationSettings(policy, engine=engine, **settings)
