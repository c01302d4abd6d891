"""What an evaluation works with: an agent, a policy, an engine and the budgets, all loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from zerosearch.core.errors import SearchFailed
from zerosearch.core.interfaces import Policy, SearchEngine, close
from zerosearch.core.types import SearchRequest, SearchResult
from zerosearch.rollout.agents import Agent
from zerosearch.rollout.loop import RolloutSettings


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """`config` is all of it that decides the answers, as JSON takes it."""

    agent: Agent
    policy: Policy
    engine: SearchEngine
    settings: RolloutSettings
    config: dict[str, Any]
    uses_gpu: bool


class NoEngine:
    """For agents that never search."""

    async def search(self, request: SearchRequest) -> SearchResult:
        raise SearchFailed("this agent has no search engine")


class AtNoiseRate:
    """An engine asked at one noise rate, whatever an agent asks for. A real engine does not care."""

    def __init__(self, engine: SearchEngine, noise_rate: float) -> None:
        self._engine, self._noise_rate = engine, noise_rate

    async def search(self, request: SearchRequest) -> SearchResult:
        return await self._engine.search(replace(request, noise_rate=self._noise_rate))

    async def aclose(self) -> None:
        await close(self._engine)
