"""Identical calls that overlap share one future, and finished answers are remembered for a while."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Running(Generic[V]):
    task: asyncio.Task[V]
    waiters: int = 0


class Coalesced(Generic[K, V]):
    """An async function of a hashable key, called once per key while the answer is pending or remembered.

    At most `max_remembered` finished answers are kept, the least recently used dropped first. A failure reaches
    everyone who waits for it and is then forgotten. A waiter that is cancelled leaves the others waiting; the last one
    to leave cancels the call.
    """

    def __init__(self, function: Callable[[K], Awaitable[V]], *, max_remembered: int = 4096) -> None:
        self._function = function
        self._max_remembered = max_remembered
        self._finished: OrderedDict[K, V] = OrderedDict()
        self._running: dict[K, _Running[V]] = {}
        self.calls = 0
        self.hits = 0  # calls answered from memory or by joining one under way

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": {}}  # calls under way belong to this process

    async def __call__(self, key: K) -> V:
        self.calls += 1
        if key in self._finished:
            self.hits += 1
            self._finished.move_to_end(key)
            return self._finished[key]
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = _Running(asyncio.create_task(self._run(key)))
            # when every waiter has left, nobody else retrieves its exception, and asyncio would log it
            running.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        else:
            self.hits += 1
        running.waiters += 1
        try:
            return await asyncio.shield(running.task)
        finally:
            running.waiters -= 1
            if running.waiters == 0:
                # forgotten at once, so that a caller who arrives now does not join a call that is being cancelled
                if self._running.get(key) is running:
                    del self._running[key]
                running.task.cancel()  # does nothing to a task that is done

    async def _run(self, key: K) -> V:
        value = await self._function(key)
        self._finished[key] = value
        if len(self._finished) > self._max_remembered:
            self._finished.popitem(last=False)
        return value
