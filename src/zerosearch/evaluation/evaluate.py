"""Questions → answers → one number with an interval. Every question is scored or listed as failed; none is dropped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zerosearch.core.errors import BadInput, RunFailed, ZeroSearchError
from zerosearch.core.interfaces import Policy, SearchEngine, close
from zerosearch.core.scoring import score
from zerosearch.core.statistics import Estimate, bootstrap_interval
from zerosearch.core.types import Question, Scores, StopReason, Trajectory, Usage
from zerosearch.evaluation.outcomes import Outcome, figures
from zerosearch.evaluation.usage import MeteredPolicy
from zerosearch.rollout.agents import AGENTS, Agent
from zerosearch.rollout.loop import RolloutSettings

_HOPELESS = 20  # so many failures with nothing that went right: the policy or the engine is dead


@dataclass(frozen=True, slots=True)
class Answered:
    """A scored trajectory (a failed one has no scores), what it took, and for how long."""

    trajectory: Trajectory
    usage: Usage
    seconds: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """In the order of the questions."""

    answered: tuple[Answered, ...]

    @property
    def trajectories(self) -> tuple[Trajectory, ...]:
        return tuple(a.trajectory for a in self.answered)

    def estimate(self, value: Callable[[Scores], float], chosen: Callable[[Question], bool] = lambda q: True) -> Estimate:
        return bootstrap_interval([value(t.scores) for t in self.trajectories if t.scores and chosen(t.question)])

    def as_dict(self) -> dict[str, Any]:
        """Means with 95% intervals; see `outcomes.figures`."""
        return figures([Outcome.of(a.trajectory, a.usage) for a in self.answered])


async def evaluate(
    policy: Policy,
    engine: SearchEngine,
    questions: Sequence[Question],
    settings: RolloutSettings,
    agent: Agent = AGENTS["zerosearch"],
    concurrency: int = 256,
    on_done: Callable[[Answered], None] = lambda answered: None,
) -> Evaluation:
    """One agent on every question, at most `concurrency` at a time. What goes wrong with a question is in its trajectory.

    Raises RunFailed when the first questions all fail, whatever was asked of whom: nothing is gained by asking the rest.
    """
    places = asyncio.Semaphore(concurrency)
    done: list[Trajectory] = []

    async def one(question: Question) -> Answered:
        async with places:
            if len(done) >= _HOPELESS and not any(t.scores for t in done[:_HOPELESS]):
                raise RunFailed(f"the first {_HOPELESS} questions all failed, the last with {done[-1].stop_reason}: {done[-1].cause}")
            answered = await _answered(question, policy, engine, settings, agent)
        on_done(answered)
        done.append(answered.trajectory)
        return answered

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in questions]
    except* ZeroSearchError as failures:
        raise _first(failures) from None
    finally:
        await close(engine)
    return Evaluation(tuple(task.result() for task in tasks))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _answered(question: Question, policy: Policy, engine: SearchEngine, settings: RolloutSettings, agent: Agent) -> Answered:
    started, metered = time.perf_counter(), MeteredPolicy(policy)
    try:
        trajectory = await agent.answer(question, metered, engine, settings)
        if not trajectory.stop_reason.is_failure:
            trajectory = replace(trajectory, scores=score(trajectory.answer, question.golden_answers))
    except BadInput:  # no question's fault, and the same for all
        raise
    except Exception as error:  # one question that nothing was prepared for must not cost the others
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        trajectory = Trajectory(question, 0, (), (), StopReason.ERROR, cause=cause)
    return Answered(trajectory, metered.usage, time.perf_counter() - started)
