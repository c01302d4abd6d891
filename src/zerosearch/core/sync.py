"""Async work for callers that do not await: from a script, and from inside a running event loop (a notebook)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def outside_loop(work: Callable[[], T]) -> T:
    """Run `work`, which may start its own event loop. A loop that is already running (a notebook's) is suspended meanwhile.

    The work stays on this thread: only on the main one does Ctrl-C (a notebook's "interrupt") reach it.
    """
    outer = asyncio._get_running_loop()  # pyright: ignore
    if outer is None:
        return work()
    task = asyncio.current_task(outer)
    if task:
        asyncio._leave_task(outer, task)  # pyright: ignore
    asyncio._set_running_loop(None)  # pyright: ignore
    try:
        return work()
    finally:
        asyncio.set_event_loop(outer)
        asyncio._set_running_loop(outer)  # pyright: ignore
        if task:
            asyncio._enter_task(outer, task)  # pyright: ignore


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine."""
    return outside_loop(lambda: asyncio.run(work))
