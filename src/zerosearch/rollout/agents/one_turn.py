"""Agents that answer in one turn without searching; they differ in their prompt alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zerosearch.core.interfaces import Policy, SearchEngine
from zerosearch.core.types import Question, Trajectory
from zerosearch.rollout.loop import RolloutSettings, rollout


@dataclass(frozen=True, slots=True)
class OneTurn:
    prompt: str
    searches: bool = False

    async def answer(self, question: Question, policy: Policy, engine: SearchEngine, settings: RolloutSettings) -> Trajectory:
        return await rollout(question, policy, engine, replace(settings, max_turns=1))  # on its last turn a rollout never searches
