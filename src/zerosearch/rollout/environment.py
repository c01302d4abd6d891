"""The search environment: the grammar of think, search, read and answer over an engine, as a state machine over text."""

from copy import copy
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from typing import Any, Self

from zerosearch.core.errors import BadConfig, SearchFailed
from zerosearch.core.function_engine import Retrieve, as_engine
from zerosearch.core.interfaces import SearchEngine, close
from zerosearch.core.sync import run_sync
from zerosearch.core.templates import fill
from zerosearch.core.types import Count, Document, Episode, Question, SearchRecord, SearchRequest, SearchResult, Step
from zerosearch.rollout.grammar import STOP_TAGS, Answer, Malformed, Search, parse_turn, render_information
from zerosearch.rollout.prompts import SEARCH, PolicyPrompt, policy_prompt


class SearchEnvironment:
    """Turns of `<think>…</think>` and then `<search>query</search>` or `<answer>text</answer>`; documents come back in `<information>`.

        environment = SearchEnvironment(engine)
        text = environment.reset("who wrote Faust?")
        step = environment.step("<search>author of Faust</search>")      # Step(observation="<information>Doc 1: …", done=False, …)

    `engine` is an engine or a function `(query, k) -> documents`, `prompt` one of the built-in ones or a file by name. `k` documents per
    search; `max_turns` turns, including the one that answers: a search on the last turn could not be read, so it
    is not made. A turn that is neither a search nor an answer gets a line that says so. In an event loop: `await environment.astep(text)`.
    """

    stop = STOP_TAGS

    def __init__(self, engine: SearchEngine | Retrieve | None, prompt: PolicyPrompt | str = SEARCH, k: int = 5, max_turns: int = 4) -> None:
        if engine is None and max_turns > 1:
            raise BadConfig(f"an environment of {max_turns} turns needs an engine to search with; pass an engine, or set max_turns=1.")
        self.engine = None if engine is None else as_engine(engine)
        self.prompt = policy_prompt(prompt) if isinstance(prompt, str) else prompt
        self.k, self.max_turns = k, max_turns
        self.episode = Episode()
        self.question = Question("", "", ())
        self.turn = -1

    def begin(self, episode: Episode) -> Self:
        """A fresh environment for one rollout, over the same engine."""
        fresh = copy(self)
        fresh.episode = episode
        return fresh

    def reset(self, question: Question | str) -> str:
        """Start on a question; returns the prompt."""
        self.question = question if isinstance(question, Question) else Question("", question, ())
        self.turn = -1
        return fill(self.prompt.task, {"question": self.question.text})

    def step(self, text: str) -> Step:
        """Take one turn of the policy. Raises SearchFailed if the engine could not answer."""
        return run_sync(self._step_and_close(text))

    async def astep(self, text: str) -> Step:
        """`step`, awaited: the engine keeps its connections until `aclose`."""
        self.turn += 1
        last = self.turn >= self.max_turns - 1
        match parse_turn(text, self.stop):
            case Answer(answer):
                return Step(done=True, answer=answer)
            case Malformed():
                return Step(None if last else self.prompt.malformed, done=last, malformed=True)
            case _ if last:
                return Step(done=True)
            case Search(query):
                return await self.search(query)
            case other:
                return self.other(other)

    async def search(self, query: str) -> Step:
        """Ask the engine; the observation is the block of documents it found."""
        found = await self.found(query)
        documents = found.result.documents
        return Step(render_information(documents), searches=(found,), shorten=partial(fit_documents, documents))

    async def found(self, query: str) -> SearchRecord:
        assert self.engine is not None  # without an engine there is only one turn, which never searches
        e, turn = self.episode, max(self.turn, 0)
        request = SearchRequest(query, self.question, self.k, e.noise_rate, e.seed, e.step, e.sample, turn)
        result: Any = self.engine.search(request)
        result = await result if isawaitable(result) else result
        if not isinstance(result, SearchResult):
            raise SearchFailed(f"the search engine's `search` returned {result!r:.80}; it must return a zerosearch.SearchResult.")
        return SearchRecord(turn, query, result)

    def other(self, action: Any) -> Step:
        """For environments with more tags: handle their actions."""
        raise AssertionError(f"no such action here: {action}")

    async def aclose(self) -> None:
        await close(self.engine)

    async def _step_and_close(self, text: str) -> Step:
        try:
            return await self.astep(text)
        finally:
            await self.aclose()  # connections belong to the event loop that ends here


def fit_documents(documents: tuple[Document, ...], count: Count, max_tokens: int) -> str | None:
    """The `<information>` block for `documents` in at most `max_tokens` tokens, or None if not even an empty one fits.

    A block that is too long loses words from the ends of its longest documents, evenly; its tags and markers stay whole.
    """
    block = render_information(documents)
    if count(block) <= max_tokens:
        return block
    words = [document.text.split() for document in documents]
    low, high, best = 0, max(map(len, words), default=0), None
    while low <= high:
        limit = (low + high) // 2
        cut = tuple(replace(d, text=" ".join(w[:limit])) for d, w in zip(documents, words, strict=True))
        block = render_information(cut)
        if count(block) <= max_tokens:
            best, low = block, limit + 1
        else:
            high = limit - 1
    return best
