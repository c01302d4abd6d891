"""What can be plugged in: any object with these methods."""

from collections.abc import Awaitable, Sequence
from typing import Protocol, runtime_checkable

from zerosearch.core.types import Generation, Question, Sampling, SearchRequest, SearchResult, Step


@runtime_checkable
class Renderer(Protocol):
    """Text of the environment → token ids of one model, and back. Nothing the policy sampled is ever decoded and encoded again."""

    def prompt(self, text: str) -> list[int]:
        """Token ids of the first text, with whatever the model expects around it (BOS, chat template)."""
        ...

    def observation(self, text: str) -> list[int]:
        """Token ids of text in the middle of a conversation: nothing is added."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, tags included."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A language model that acts: token ids in, token ids out."""

    @property
    def renderer(self) -> Renderer:
        """Turns text into token ids for this model, unless a rollout is given another renderer."""
        ...

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        """Continue `token_ids`. Calls with the same `session` extend one another, so earlier computation can be reused.

        Raises GenerationFailed after bounded retries.
        """
        ...

    def close(self, session: str) -> None:
        """Forget the session. Closing an unknown session does nothing."""
        ...


@runtime_checkable
class Environment(Protocol):
    """What the policy acts in: a state machine over text. One instance serves one rollout at a time.

    Both methods may be plain or async. These optional members are used if they exist:

    `stop`              strings that end a turn of the policy; without them a turn ends with the model's end token
    `max_turns`         the maximum number of turns, instead of the rollout's own setting
    `areset`, `astep`   used instead of `reset` and `step` in an event loop
    `begin(episode)`    returns a fresh environment for one rollout, given its seed, sample and noise rate; otherwise it is copied
    `aclose()`          closes connections
    """

    def reset(self, question: Question) -> str | Step | Awaitable[str | Step]:
        """Start on a question; returns the text the policy reads first (as a Step if searches were made to write it)."""
        ...

    def step(self, text: str) -> Step | Awaitable[Step]:
        """Take what the policy wrote in one turn; returns what it reads next, or the end."""
        ...


@runtime_checkable
class SearchEngine(Protocol):
    """Documents for a query. Raises SearchFailed rather than inventing documents."""

    async def search(self, request: SearchRequest) -> SearchResult: ...


@runtime_checkable
class Chat(Protocol):
    """A language model that writes: text in, text out. The simulator and the judges use one."""

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        """The model's reply, special tokens removed. Raises GenerationFailed after bounded retries."""
        ...


@runtime_checkable
class _Closes(Protocol):
    async def aclose(self) -> None: ...


async def close(thing: object) -> None:
    """Let an engine, a policy or a chat release what it holds (connections of the running event loop), if it has an `aclose`."""
    if isinstance(thing, _Closes):
        await thing.aclose()
