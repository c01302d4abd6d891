"""Ways to answer a question with the same policy and the same engine: ours, and what it is compared with. Each is an environment.

    zerosearch   think, search, read, answer, in turns (ZeroSearch, Search-R1); what training uses
    direct       answer at once
    cot          reason step by step, then answer (Wei et al., 2022)
    r1           reason in <think> tags, then answer (models trained by RL without search)
    rag          search once with the question, then answer (Lewis et al., 2020)
    ra-agent     decides whether to search, and which of the documents to read
    search-o1    searches inside its reasoning; the policy reads the documents separately and writes down what matters

(RA-Agent and Search-o1 are Li et al., 2025, arXiv 2501.05366; words and code are ours.) All of them put the answer in answer tags, and only
what the policy wrote itself is read.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from zerosearch.core.interfaces import Environment, SearchEngine
from zerosearch.core.sync import run_sync
from zerosearch.core.templates import fill
from zerosearch.core.types import Count, Document, Question, Step
from zerosearch.rollout.environment import SearchEnvironment, fit_documents
from zerosearch.rollout.grammar import STOP_TAGS, Read, render_information
from zerosearch.rollout.prompts import PolicyPrompt

_FIRST_WORDS = 12


@dataclass(frozen=True, slots=True)
class Agent:
    """`prompt` names its own prompt in `POLICY_PROMPTS`; `searches` is False where the engine is never asked.

    `environment(engine, prompt, k, max_turns)` makes what the policy acts in.
    """

    prompt: str
    searches: bool
    environment: Callable[[SearchEngine | None, PolicyPrompt, int, int], Environment]


def one_turn(engine: SearchEngine | None, prompt: PolicyPrompt, k: int, max_turns: int) -> SearchEnvironment:
    """Answers at once, because a rollout never searches on its last turn. These agents differ only in their prompts."""
    return SearchEnvironment(engine, prompt, k, max_turns=1)


class RetrieveFirst(SearchEnvironment):
    """The question itself is searched once; the documents are part of the prompt."""

    stop = ("</answer>",)

    def __init__(self, engine: SearchEngine | None, prompt: PolicyPrompt, k: int, max_turns: int) -> None:
        super().__init__(engine, prompt, k, max_turns=1)

    def reset(self, question: Question | str) -> str:
        return run_sync(self.areset(question)).observation or ""

    async def areset(self, question: Question | str) -> Step:
        super().reset(question)
        found = await self.found(self.question.text)
        documents = found.result.documents
        return Step(self._with(render_information(documents)), searches=(found,), shorten=partial(self._shortened, documents))

    def _with(self, block: str) -> str:
        return fill(self.prompt.task, {"question": self.question.text, "documents": block.strip()})

    def _shortened(self, documents: tuple[Document, ...], count: Count, max_tokens: int) -> str | None:
        block = fit_documents(documents, count, max_tokens)
        return None if block is None else self._with(block)


class RetrievalAgent(SearchEnvironment):
    """Sees how each document begins, and picks those it reads in full by their numbers."""

    stop = (*STOP_TAGS, "</read>")

    def __init__(self, engine: SearchEngine | None, prompt: PolicyPrompt, k: int, max_turns: int) -> None:
        # a search costs two turns, the list and the reading: `max_turns` counts what other agents call a turn
        super().__init__(engine, prompt, k, 2 * max_turns - 1)
        self.listed: tuple[Document, ...] = ()

    def reset(self, question: Question | str) -> str:
        self.listed = ()
        return super().reset(question)

    async def search(self, query: str) -> Step:
        found = await self.found(query)
        self.listed = found.result.documents
        return Step(render_information([_beginning(document) for document in self.listed]), searches=(found,))

    def other(self, action: Any) -> Step:
        chosen = _chosen(action.numbers, self.listed) if isinstance(action, Read) else ()
        if not chosen:
            return Step(self.prompt.malformed, malformed=True)
        return Step(render_information(chosen), shorten=partial(fit_documents, chosen))


class SearchO1(SearchEnvironment):
    """The chain of reasoning reads a note about the documents, never the documents. Nothing written aside can be the answer."""

    def reset(self, question: Question | str) -> str:
        self.said = list[str]()
        self.is_note = False
        return super().reset(question)

    async def astep(self, text: str) -> Step:
        if self.is_note:
            self.is_note = False
            step = Step(render_information([Document(text)]))
        else:
            self.said.append(text)
            step = await super().astep(text)
        self.said += [step.observation] if step.observation else []
        return step

    async def search(self, query: str) -> Step:
        found = await self.found(query)
        self.is_note = True
        write = partial(self._aside, query, " ".join(self.said), found.result.documents)
        return Step(aside=write(len, 10**9), shorten=write, searches=(found,))

    def _aside(self, query: str, reasoning: str, documents: tuple[Document, ...], count: Count, max_tokens: int) -> str:
        block = fit_documents(documents, count, max_tokens) or ""
        values = {"question": self.question.text, "reasoning": reasoning, "query": query, "documents": block.strip()}
        return fill(self.prompt.distil, values)


AGENTS: dict[str, Agent] = {
    "zerosearch": Agent("search", True, SearchEnvironment),
    "direct": Agent("direct", False, one_turn),
    "cot": Agent("cot", False, one_turn),
    "rag": Agent("rag", True, RetrieveFirst),
    "ra-agent": Agent("ra-agent", True, RetrievalAgent),
    "search-o1": Agent("search-o1", True, SearchO1),
    "r1": Agent("r1", False, one_turn),
}


def _beginning(document: Document) -> Document:
    words = document.text.split()
    return Document(" ".join(words[:_FIRST_WORDS]) + (" …" if len(words) > _FIRST_WORDS else ""), document.title)


def _chosen(numbers: str, listed: tuple[Document, ...]) -> tuple[Document, ...]:
    """The documents of the last list whose numbers are named; a number that is not on the list is ignored."""
    wanted = dict.fromkeys(int(number) for number in re.findall(r"\d{1,3}", numbers))
    return tuple(listed[number - 1] for number in wanted if 1 <= number <= len(listed))
