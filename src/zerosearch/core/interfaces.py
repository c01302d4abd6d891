"""The three sockets of the system. Anything that fits one can be plugged in; `testing.py` ships scripted ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from zerosearch.core.types import Generation, Sampling, SearchRequest, SearchResult


@runtime_checkable
class Policy(Protocol):
    """A language model that acts: token ids in, token ids out. Nothing sampled is ever decoded and encoded again."""

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of a whole prompt, with whatever the model expects around it (BOS, chat template)."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of text in mid-stream: nothing is added."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, tags included."""
        ...

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        """Continue `token_ids`. Calls with the same `session` extend one another, so work done before can be kept.

        Raises GenerationFailed after bounded retries.
        """
        ...

    def close(self, session: str) -> None:
        """Forget the session. Closing an unknown session does nothing."""
        ...


@runtime_checkable
class SearchEngine(Protocol):
    """Documents for a query. Raises SearchFailed rather than inventing documents."""

    async def search(self, request: SearchRequest) -> SearchResult: ...


@runtime_checkable
class Chat(Protocol):
    """A language model that writes: text in, text out. The simulator and the judges speak through it."""

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        """The model's reply, special tokens removed. Raises GenerationFailed after bounded retries."""
        ...


@runtime_checkable
class _Closes(Protocol):
    async def aclose(self) -> None: ...


async def close(thing: object) -> None:
    """Let an engine, a policy or a chat give back what it holds (connections of the running event loop), if it has an `aclose`."""
    if isinstance(thing, _Closes):
        await thing.aclose()
