"""What keeps a server up: keys, a rate for each of them, and so many searches at once with a short queue before them."""

from __future__ import annotations

import asyncio
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from types import TracebackType

from zerosearch.core.errors import BadConfig
from zerosearch.server.http_request import Reason, Refused

Clock = Callable[[], float]


def key_digest(key: str) -> str:
    """What stands for a key wherever it must not be seen."""
    return blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest() if key else ""


class Keys:
    """The keys that may search; without any, everybody may."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, given: str) -> None:
        """In constant time: all keys are compared, whole, whatever comes out. Raises Refused, which does not say how near it was."""
        if not self._digests:
            return
        digest = _digest(given)
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        if not found:
            raise Refused(Reason.UNAUTHORISED, "the API key is missing or wrong.")


def _digest(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogateescape"), digest_size=32).digest()


class RateLimit:
    """A bucket for each caller: `per_second` requests, and `burst` at once after a rest. per_second = 0 is no limit."""

    def __init__(self, per_second: float = 0.0, burst: int = 0, clock: Clock = time.monotonic, max_callers: int = 10_000) -> None:
        if per_second < 0 or burst < 0:
            raise BadConfig(f"rate = {per_second:g} and burst = {burst} must not be below 0.")
        self._per_second = per_second
        self._burst = float(burst or max(1, math.ceil(per_second)))
        self._clock, self._max_callers = clock, max_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller → tokens, as of when

    def take(self, caller: str) -> None:
        """Raises Refused when the caller's bucket is empty, and says when it is not."""
        if not self._per_second:
            return
        now = self._clock()
        tokens, since = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        self._buckets[caller] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._buckets) > self._max_callers:
            self._buckets.popitem(last=False)
        if tokens < 1:
            wait_s = math.ceil((1 - tokens) / self._per_second)
            raise Refused(Reason.TOO_MANY, f"more than {self._per_second:g} requests per second; slow down.", retry_after_s=wait_s)


class ConcurrencyLimit:
    """`async with places:` is one of at most `at_once`; up to `queue` wait for it, in order; beyond that Refused, at once."""

    def __init__(self, at_once: int, queue: int) -> None:
        self.at_once, self.queue = at_once, queue
        self.taken = self.waiting = 0
        self._places = asyncio.Semaphore(at_once)

    def check(self) -> None:
        """Raises Refused when there is no room, not even to wait: to be asked before work is put into a request."""
        if self._places.locked() and self.waiting >= self.queue:
            raise Refused(Reason.BUSY, "the server is busy; try again in a moment.", retry_after_s=1)

    async def __aenter__(self) -> None:
        self.check()
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.taken += 1

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.taken -= 1
        self._places.release()
