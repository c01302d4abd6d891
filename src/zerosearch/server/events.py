"""The server's log: a JSON object a line on stderr. No key ever; what was searched for only at debug, or when it is asked for."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

import orjson

from zerosearch.errors import one_of

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Events:
    def __init__(self, level: str = "info", *, queries: bool = False, stream: TextIO | None = None) -> None:
        self._level = LEVELS[one_of("log level", level, LEVELS)]
        self.queries = queries or self._level == LEVELS["debug"]
        self._stream = stream or sys.stderr

    def say(self, level: str, event: str, **what: Any) -> None:
        """`private` among `what` is left out unless queries may be logged."""
        if LEVELS[level] < self._level:
            return
        private = what.pop("private", None)
        if private and self.queries:
            what |= private
        line = {"time": round(time.time(), 3), "level": level, "event": event, **what}
        try:
            self._stream.write(orjson.dumps(line, default=str).decode() + "\n")
            self._stream.flush()
        except (TypeError, ValueError, OSError):
            pass  # half a surrogate, or nobody reads: a log line is not worth an answer
