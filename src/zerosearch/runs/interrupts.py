"""Ctrl-C and SIGTERM without loss, in this process and in those it starts.

The first signal asks the run to finish its step and save, the second stops it at once. A terminal sends Ctrl-C to every process of the job:
those started here ignore it and end when the first process does, however it ends.
"""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Sequence
from types import FrameType, ModuleType, TracebackType
from typing import Any, Self

from rich.console import Console


class StopRequest:
    """`with StopRequest() as stop: stop.run(work())`, where the work asks `stop.requested` after each step, saves and returns.

    A second signal cancels the work, which ends at its next await; a third raises wherever the program is. Raising comes last because
    torch turns an exception raised inside one of its operators into an error of its own, which would then count as a failed rollout.
    Only the main thread receives signals; elsewhere it never stops anything.
    """

    def __init__(self, console: Console) -> None:
        self.requested = False
        self._console = console
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        try:
            self._before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread
            self._before = {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises KeyboardInterrupt if the work was cut short."""

        async def stoppable() -> None:
            self._task = asyncio.current_task()
            await work

        try:
            asyncio.run(stoppable())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            self._task = None  # its loop is closed: a signal from here on has nothing to cancel

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested = True
            self._console.print("stopping after this step, which will be saved; interrupt again to stop at once", highlight=False)
        elif self._task:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)  # wakes a loop that waits for the network
            self._task = None
        else:
            raise KeyboardInterrupt


def interrupt_on_terminate() -> None:
    """Make SIGTERM, which a cluster's scheduler sends, do what Ctrl-C does at that moment."""

    def handler(number: int, frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a background job of a shell script
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, handler)


def ignore_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def start_quietly(process: Any) -> None:
    """Start a multiprocessing process that Ctrl-C does not reach, even while it is still importing.

    It does not import the user's `__main__` either: a script without `if __name__ == "__main__"` would run again in it.
    """
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited, unlike a handler
    except ValueError:  # not the main thread
        before = None
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
        if before is not None:
            signal.signal(signal.SIGINT, before)


def end_with_parent() -> None:
    """For a process that multiprocessing started: end it at once when its parent is gone, `kill -9` included."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_child(command: Sequence[str]) -> int:
    """Run a command; returns its exit code. An interrupt, which a terminal also sends to the command, ends it; the code is then not 0."""
    with subprocess.Popen(command) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.terminate()
            return child.wait() or 1
