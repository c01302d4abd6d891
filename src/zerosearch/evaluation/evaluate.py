"""Questions → answers → one number with an interval. Every question is scored or listed as failed; none is dropped."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zerosearch.core.errors import RunFailed, ZeroSearchError, first_error
from zerosearch.core.interfaces import Environment, Policy, Renderer, close
from zerosearch.core.scoring import score
from zerosearch.core.statistics import Estimate, bootstrap_interval
from zerosearch.core.types import Episode, Generation, Question, Sampling, Scores, Trajectory, Usage
from zerosearch.evaluation.outcomes import Outcome, figures
from zerosearch.rollout.loop import RolloutSettings, rollout

_HOPELESS = 20  # after so many failures without a success, the policy or the engine is taken to be down


@dataclass(frozen=True, slots=True)
class Answered:
    """A scored trajectory (a failed one has no scores), its token usage and its seconds."""

    trajectory: Trajectory
    usage: Usage
    seconds: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The answers in the order of the questions."""

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
    environment: Environment,
    questions: Sequence[Question],
    settings: RolloutSettings,
    episode: Episode = Episode(),
    renderer: Renderer | None = None,
    concurrency: int = 256,
    on_done: Callable[[Answered], None] = lambda answered: None,
) -> Evaluation:
    """Every question once, at most `concurrency` at a time. What goes wrong with a question is in its trajectory.

    Raises RunFailed if the first questions all fail, since the rest would fail too.
    """
    places = asyncio.Semaphore(concurrency)
    done: list[Trajectory] = []

    async def one(question: Question) -> Answered:
        async with places:
            if len(done) >= _HOPELESS and not any(t.scores for t in done[:_HOPELESS]):
                raise RunFailed(f"the first {_HOPELESS} questions all failed, the last with {done[-1].stop_reason}: {done[-1].cause}")
            answered = await _answered(question, policy, environment, settings, episode, renderer)
        on_done(answered)
        done.append(answered.trajectory)
        return answered

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in questions]
    except* ZeroSearchError as failures:
        raise first_error(failures) from None
    finally:
        await close(environment)
    return Evaluation(tuple(task.result() for task in tasks))


async def _answered(
    question: Question, policy: Policy, environment: Environment, settings: RolloutSettings, episode: Episode, renderer: Renderer | None
) -> Answered:
    started, metered = time.perf_counter(), MeteredPolicy(policy)
    trajectory = await rollout(question, metered, environment, settings, episode, renderer)
    if not trajectory.stop_reason.is_failure:
        trajectory = replace(trajectory, scores=score(trajectory.answer, question.golden_answers))
    return Answered(trajectory, metered.usage, time.perf_counter() - started)


class MeteredPolicy:
    """Counts the calls and tokens of another policy, for one question. An endpoint's own count replaces the number of our ids."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.usage = Usage()
        self.renderer, self.close = policy.renderer, policy.close

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        generation = await self._policy.generate(token_ids, sampling, session)
        self.usage += generation.usage or Usage(1, len(token_ids), len(generation.token_ids))
        return generation
