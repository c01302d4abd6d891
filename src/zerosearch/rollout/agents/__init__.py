"""Ways to answer a question with the same policy and the same engine: ours, and what it is compared with.

    zerosearch   think, search, read, answer, in turns (ZeroSearch, Search-R1)            rollout.py
    direct       answer at once                                                           one_turn.py
    cot          reason step by step, then answer (Wei et al., 2022)                      one_turn.py
    r1           reason in <think> tags, then answer (models trained by RL, no search)    one_turn.py
    rag          search once with the question, then answer (Lewis et al., 2020)          rag.py
    ra-agent     decides whether to search, and which of the documents to read            ra_agent.py
    search-o1    searches inside its reasoning; documents are boiled down first           search_o1.py

(RA-Agent and Search-o1 are Li et al., 2025, arXiv 2501.05366; words and code are ours.) All of them put the answer in answer tags, and only
what the policy wrote itself is read. An agent of your own is a class with these three members and an entry in AGENTS.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from zerosearch.core.interfaces import Policy, SearchEngine
from zerosearch.core.types import Question, Trajectory
from zerosearch.rollout.agents.one_turn import OneTurn
from zerosearch.rollout.agents.ra_agent import RetrievalAgent
from zerosearch.rollout.agents.rag import SearchOnce
from zerosearch.rollout.agents.search_o1 import SearchO1
from zerosearch.rollout.loop import RolloutSettings, rollout


@runtime_checkable
class Agent(Protocol):
    @property
    def prompt(self) -> str:
        """The name of its own prompt in `prompts.POLICY_PROMPTS`."""
        ...

    @property
    def searches(self) -> bool:
        """False for an agent that never calls the engine."""
        ...

    async def answer(self, question: Question, policy: Policy, engine: SearchEngine, settings: RolloutSettings) -> Trajectory:
        """Work on one question. A failed search or generation ends up in the trajectory's `stop_reason` and `cause`."""
        ...


class SearchInTurns:
    """The rollout that training uses, too."""

    prompt, searches = "search", True

    async def answer(self, question: Question, policy: Policy, engine: SearchEngine, settings: RolloutSettings) -> Trajectory:
        return await rollout(question, policy, engine, settings)


AGENTS: dict[str, Agent] = {
    "zerosearch": SearchInTurns(),
    "direct": OneTurn("direct"),
    "cot": OneTurn("cot"),
    "rag": SearchOnce(),
    "ra-agent": RetrievalAgent(),
    "search-o1": SearchO1(),
    "r1": OneTurn("r1"),
}
