"""Async work for callers that do not await: from a script, and from inside a running event loop (a notebook)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def outside_loop(work: Callable[[], T]) -> T:
    """`work()`, which may start an event loop of its own; where one is running already, on a thread that has none."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine."""
    return outside_loop(lambda: asyncio.run(work))
