"""What protects a server: keys, a rate for each, and a limit on concurrent searches with a short queue."""

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
    """Represents a key wherever the key must not be shown."""
    return blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest() if key else ""


class Keys:
    """The keys that may search; without any, everyone may."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, given: str) -> None:
        """In constant time: all keys are always compared as a whole. Raises Refused, which does not say how close it was."""
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
    """A token bucket per caller: `per_second` requests, and `burst` at once after a pause. per_second = 0 means no limit."""

    def __init__(self, per_second: float = 0.0, burst: int = 0, clock: Clock = time.monotonic, max_callers: int = 10_000) -> None:
        if per_second < 0 or burst < 0:
            raise BadConfig(f"rate = {per_second:g} and burst = {burst} must not be below 0.")
        self._per_second = per_second
        self._burst = float(burst or max(1, math.ceil(per_second)))
        self._clock, self._max_callers = clock, max_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller → tokens, and when

    def take(self, caller: str) -> None:
        """Raises Refused, with the time to wait, if the caller's bucket is empty."""
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
    """`async with places:` is one of at most `at_once`; up to `queue` wait in order; further ones are Refused immediately."""

    def __init__(self, at_once: int, queue: int) -> None:
        self.at_once, self.queue = at_once, queue
        self.taken = self.waiting = 0
        self._places = asyncio.Semaphore(at_once)

    def check(self) -> None:
        """Raises Refused if there is no room, not even to wait; called before any work on a request."""
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
