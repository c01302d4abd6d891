"""Live progress: phases, steps, a few figures, time left. A bar on a terminal, otherwise a plain line now and then; always on stderr."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

_SHOWN = {"reward": "reward", "noise_rate": "noise", "em": "EM", "searches": "searches", "loss": "loss", "lookup": "lookup"}
_PLAIN_LINE_EVERY_S = 10.0
_WIDE = 100  # from this many columns on, there is room for a bar


class Progress:
    """One phase of work: `with Progress("reinforcement learning") as p: p.step(3, 120, metrics)`."""

    def __init__(self, phase: str, console: Console | None = None) -> None:
        self.phase = phase
        self.console = console or Console(stderr=True)
        self.started = time.monotonic()
        self._last_line = 0.0
        self._warned = False
        self._first: tuple[float, int] | None = None  # a resumed phase does not begin at 0: speed is measured from the first step seen
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True, min_width=26)),
            *([BarColumn(bar_width=16)] if self.console.width >= _WIDE else []),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=7)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("left", table_column=Column(no_wrap=True, min_width=4)),
            # last, so that it is the one cut on a narrow terminal
            TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True, ratio=1, overflow="ellipsis")),
            console=self.console,
            disable=not self.console.is_terminal,
            expand=True,
        )
        self._task = self._bar.add_task(phase, total=None, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
        if kind is None and self._first and not self.console.is_terminal:
            self._say(f"done in {time.monotonic() - self.started:.0f} s")

    def step(self, done: int, total: int, metrics: Mapping[str, object] | None = None) -> None:
        metrics = metrics or {}
        figures = " ".join(f"{label} {value:.2f}" for key, label in _SHOWN.items() if isinstance(value := metrics.get(key), float))
        self._bar.update(self._task, completed=done, total=total, figures=figures)
        alarm, action = metrics.get("alarm"), metrics.get("action")
        if alarm and (action != "warn" or not self._warned):  # a lasting warning is printed once
            self._say(f"step {done}: {action}: {alarm}")
        self._warned = action == "warn"
        now = time.monotonic()
        then, before = self._first = self._first or (self.started if done == 1 else now, 0 if done == 1 else done)
        if not self.console.is_terminal and (now - self._last_line > _PLAIN_LINE_EVERY_S or done == total):
            self._last_line = now
            left = f"about {(now - then) / (done - before) * (total - done):.0f} s left" if done > before else ""
            self._say("  ".join(filter(None, (f"{done}/{total}", figures, left))))

    def _say(self, text: str) -> None:
        self.console.print(f"{self.phase}: {text}", highlight=False, soft_wrap=True)


class Phases:
    """`with Phases(console) as report`: one bar after another, for each phase that `report(phase, done, total)` names."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase, self._bar = "", None

    def __enter__(self) -> Self:
        return self

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase != self._phase or self._bar is None:
            self.__exit__()
            self._phase, self._bar = phase, Progress(phase, self._console).__enter__()
        if total:
            self._bar.step(done, total)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
