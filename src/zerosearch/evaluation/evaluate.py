"""Questions → answers → one number with an interval. Every question is scored or listed as failed; none is dropped."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from zerosearch.evaluation.statistics import Estimate, bootstrap_interval
from zerosearch.ports import Policy, SearchEngine
from zerosearch.rollout import RolloutSettings, rollout
from zerosearch.scoring import score
from zerosearch.search import close
from zerosearch.types import Question, Scores, Trajectory


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scored trajectories, in the order of the questions; failed ones have no scores."""

    trajectories: tuple[Trajectory, ...]

    def estimate(self, value: Callable[[Scores], float], chosen: Callable[[Question], bool] = lambda q: True) -> Estimate:
        return bootstrap_interval([value(t.scores) for t in self.trajectories if t.scores and chosen(t.question)])

    def as_dict(self) -> dict[str, Any]:
        """Means with 95% intervals, and exact match by the questions' `type` where they have one."""
        sound = [t for t in self.trajectories if t.scores]
        types: dict[str, list[float]] = defaultdict(list)
        hops: dict[str, list[float]] = defaultdict(list)
        for t in sound:
            assert t.scores is not None
            if "type" in t.question.metadata:
                types[str(t.question.metadata["type"])].append(t.scores.em)
            if "hops" in t.question.metadata:
                hops[str(t.question.metadata["hops"])].append(t.scores.em)
        result: dict[str, Any] = {
            "n": len(sound),
            "failed": len(self.trajectories) - len(sound),
        }
        if sound:
            result |= {
                "em": self.estimate(lambda s: s.em).as_json(),
                "cover_em": self.estimate(lambda s: s.cover_em).as_json(),
                "f1": self.estimate(lambda s: s.f1).as_json(),
                "searches": fmean(len(t.searches) for t in sound),
                "answered": fmean(t.answer is not None for t in sound),
                "policy_tokens": fmean(t.policy_token_count for t in sound),
            }
        if types:
            result["by_type"] = {name: {"em": fmean(values), "n": len(values)} for name, values in sorted(types.items())}
        if hops:
            result["by_hops"] = {name: {"em": fmean(values), "n": len(values)} for name, values in sorted(hops.items())}
        return result


async def evaluate(
    policy: Policy,
    engine: SearchEngine,
    questions: Sequence[Question],
    settings: RolloutSettings,
    concurrency: int = 256,
    on_done: Callable[[Trajectory], None] = lambda trajectory: None,
) -> Evaluation:
    """One rollout a question, at most `concurrency` at a time."""
    places = asyncio.Semaphore(concurrency)

    async def one(question: Question) -> Trajectory:
        async with places:
            trajectory = await rollout(question, policy, engine, settings)
        if not trajectory.stop_reason.is_failure:
            trajectory = replace(trajectory, scores=score(trajectory.answer, question.golden_answers))
        on_done(trajectory)
        return trajectory

    trajectories = await asyncio.gather(*map(one, questions))
    await close(engine)
    return Evaluation(tuple(trajectories))
