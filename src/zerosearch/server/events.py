"""The server's log: a JSON object per line on stderr. Keys are never logged; queries only at level debug, or on request."""

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from zerosearch.core.errors import one_of

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Events:
    def __init__(self, level: str = "info", *, queries: bool = False, write: Callable[[str], object] | None = None) -> None:
        self._level = LEVELS[one_of("log level", level, LEVELS)]
        self.queries = queries or self._level == LEVELS["debug"]
        self._write = write or _to_stderr

    def say(self, level: str, event: str, **what: Any) -> None:
        """`private` among `what` is left out unless queries may be logged."""
        if LEVELS[level] < self._level:
            return
        private = what.pop("private", None)
        if private and self.queries:
            what |= private
        line = {"time": round(time.time(), 3), "level": level, "event": event, **what}
        with suppress(TypeError, ValueError, OSError):  # a lone surrogate or a closed stream: a failed log line must not fail the reply
            self._write(orjson.dumps(line, default=str).decode() + "\n")

    def broken(self, error: Exception, **what: Any) -> None:
        """A bug of ours: its type and its place. Its message may hold anything, so it counts as private."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}:{frame.lineno}"
        self.say("error", "broken", error=type(error).__name__, where=where, **what, private={"message": repr(error)})


def _to_stderr(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()
