"""Ctrl-C without loss: the first asks the run to finish its step and save, the second stops it at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from rich.console import Console


class StopRequest:
    """`with StopRequest() as stop: … if stop.requested: save and leave`. Only the main thread can listen; elsewhere it never fires."""

    def __init__(self, console: Console) -> None:
        self.requested = False
        self._console = console

    def __enter__(self) -> StopRequest:
        try:
            self._before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread
            self._before = {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._console.print("stopping after this step, which is saved; once more stops at once", highlight=False)
