"""Scripted stand-ins for policy, engine and renderer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zerosearch.core.errors import GenerationFailed
from zerosearch.core.types import Document, Finish, Generation, Sampling, SearchRequest, SearchResult


class Characters:
    """A renderer for which one token is one character."""

    def prompt(self, text: str) -> list[int]:
        return self.observation(text)

    def observation(self, text: str) -> list[int]:
        return [ord(c) for c in text]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(map(chr, token_ids))


class ScriptedPolicy:
    """A policy that says given lines, one per turn, for every session alike. One token is one character.

    A line is cut to the turn's budget. A GenerationFailed among the lines is raised in its turn.
    """

    def __init__(self, *lines: str | GenerationFailed) -> None:
        self.lines = lines
        self.renderer = Characters()
        self.turns: dict[str, int] = {}
        self.prompts: list[str] = []
        self.closed: list[str] = []

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        turn = self.turns.get(session, 0)
        self.turns[session] = turn + 1
        self.prompts.append(self.renderer.decode(token_ids))
        line = self.lines[min(turn, len(self.lines) - 1)]
        if isinstance(line, GenerationFailed):
            raise line
        ids = tuple(self.renderer.observation(line))[: sampling.max_new_tokens]
        finish = Finish.STOP if any(stop in self.renderer.decode(ids) for stop in sampling.stop) else Finish.LENGTH
        return Generation(ids, (-0.5,) * len(ids), finish)

    def close(self, session: str) -> None:
        self.closed.append(session)


class ScriptedEngine:
    """An engine that answers from a function of the request; every request is kept in `requests`."""

    def __init__(self, answer: Callable[[SearchRequest], SearchResult]) -> None:
        self.answer = answer
        self.requests: list[SearchRequest] = []

    @classmethod
    def of(cls, *texts: str) -> ScriptedEngine:
        """The same documents for every query."""
        return cls(lambda request: SearchResult(tuple(Document(text) for text in texts)))

    async def search(self, request: SearchRequest) -> SearchResult:
        self.requests.append(request)
        return self.answer(request)
