"""Several endpoints as one Chat: asks the least loaded healthy one; one that fails is set aside until it answers a health check."""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zerosearch.core.errors import GenerationFailed
from zerosearch.core.types import Sampling
from zerosearch.net.chat import OpenAIChat


def addresses(url: str) -> list[str]:
    """The addresses in `engine.url`: one, or several with spaces or commas between them."""
    return [part for part in re.split(r"[\s,]+", url) if part]


@dataclass
class PooledEndpoint:
    """An endpoint: how many of its calls are pending, how many it failed, and until when it is set aside (0: it is healthy)."""

    chat: OpenAIChat
    load: int = 0
    failures: int = 0
    rests_until: float = 0.0


class EndpointPool:
    """A Chat over `urls`, which all serve the same model.

    A call goes to the healthy endpoint with the fewest pending calls. One that fails a call (after `max_attempts` of its own) is set aside
    for `rest_s`, and the call goes to the next. An endpoint that is set aside comes back when it answers a health check (`GET models`).
    While all are set aside, calls wait up to `outage_s`. A call is tried at most twice on each endpoint.

    The other arguments are `OpenAIChat`'s. Raises BadConfig if an argument is invalid.
    """

    def __init__(
        self, urls: Sequence[str], model: str = "", *, rest_s: float = 5.0, outage_s: float = 300.0, max_attempts: int = 2, **limits: Any
    ) -> None:
        self.members = [PooledEndpoint(OpenAIChat(url, model, max_attempts=max_attempts, **limits)) for url in urls]
        self._rest_s, self._outage_s = rest_s, outage_s

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        """The reply of one of the endpoints. Raises GenerationFailed if none gave one."""
        tries, deadline = [0] * len(self.members), time.monotonic() + self._outage_s
        failure = "all were set aside before"
        while (chosen := await self._choose(tries, deadline)) is not None:
            member = self.members[chosen]
            tries[chosen] += 1
            member.load += 1
            try:
                return await member.chat.complete(prompt, sampling)
            except GenerationFailed as error:
                failure = str(error)
                member.failures += 1
                member.rests_until = time.monotonic() + self._rest_s
            finally:
                member.load -= 1
        raise GenerationFailed(f"none of {len(self.members)} endpoints answered (outage_s = {self._outage_s:g}); the last: {failure}")

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        for member in self.members:
            await member.chat.aclose()

    async def _choose(self, tries: Sequence[int], deadline: float) -> int | None:
        """The endpoint to ask: healthy, the least tried, the least loaded. Waits for one; None if there is none before the deadline."""
        candidates = [i for i, tried in enumerate(tries) if tried < 2]
        while candidates:
            healthy = [i for i in candidates if not self.members[i].rests_until]
            if healthy:
                return min(healthy, key=lambda i: (tries[i], self.members[i].load))
            rested = [i for i in candidates if self.members[i].rests_until <= time.monotonic()]
            if any(await asyncio.gather(*(self._examine(self.members[i]) for i in rested))):
                continue
            if time.monotonic() >= deadline:
                return None
            await asyncio.sleep(min(self._rest_s, 1.0))
        return None

    async def _examine(self, member: PooledEndpoint) -> bool:
        """Whether an endpoint that was set aside answers again. One caller asks; for the others it stays set aside until the next time."""
        member.rests_until = time.monotonic() + self._rest_s
        if answers := await member.chat.answers():
            member.rests_until = 0.0
        return answers
