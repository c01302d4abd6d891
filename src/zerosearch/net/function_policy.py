"""A Policy around a function: the text so far in, the next turn out. For anything that writes text and cannot be trained here."""

from collections.abc import Awaitable, Callable, Sequence

from zerosearch.core.types import Generation, Sampling
from zerosearch.net.chat import FunctionChat
from zerosearch.net.remote_policy import Pieces, close_tag


class FunctionPolicy:
    """`write(text)` gets the whole text so far, prompt and documents included, and returns the policy's next turn; plain or async."""

    def __init__(self, write: Callable[[str], str | Awaitable[str]]) -> None:
        self.renderer = Pieces()
        self._chat = FunctionChat(write)

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        """Raises GenerationFailed for whatever the function raises."""
        written = await self._chat.complete(self.renderer.decode(token_ids), sampling)
        text, finish = close_tag(written, "stop", None, sampling.stop)
        return Generation(tuple(self.renderer.observation(text)), (), finish)

    def close(self, session: str) -> None:
        """Does nothing: the function keeps no session."""
