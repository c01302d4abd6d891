"""Finished searches in a file, a JSON object per line: what was asked, of which engine, and what came back.

    {"engine": "serper", "query": "capital of France", "k": 5, "draw": {}, "documents": [{"text": …, "title": …, "id": …}],
     "quality": null, "remark": ""}

It is only appended to, one whole line under a lock: several processes may share a file, and a kill loses one line at most.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

from zerosearch.core.errors import BadFile
from zerosearch.core.types import Document, Quality, SearchResult
from zerosearch.data.files import locked


@dataclass(frozen=True, slots=True)
class LoggedSearch:
    """Everything that decides a reply. `draw` is what a simulated engine adds to query and k; empty for a real one."""

    engine: str
    query: str
    k: int
    draw: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def digest(self) -> bytes:
        return blake2b(json.dumps([self.engine, self.query, self.k, self.draw], sort_keys=True).encode(), digest_size=16).digest()


class SearchLog:
    """An index of the searches in a file; the documents stay on disk.

    Raises BadFile, naming the line, if the file is not a recording; if `writable`, a missing file is empty.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self._writable = writable
        self._where: dict[bytes, int] = {}
        self._read_to = 0  # bytes
        self._lines = 0
        self.engines: set[str] = set()
        try:
            with self._opened() as file:
                self._catch_up(file)
        except OSError as error:
            raise BadFile(f"{path}: cannot be {'written' if writable else 'read'} ({error.strerror}); choose another file.") from error

    def __len__(self) -> int:
        return len(self._where)

    def find(self, asked: LoggedSearch) -> SearchResult | None:
        """The recorded result, also if another process recorded it meanwhile."""
        digest = asked.digest
        if digest not in self._where and self._writable and self.path.stat().st_size > self._read_to:
            with self._opened() as file:
                self._catch_up(file)
        if digest not in self._where:
            return None
        with open(self.path, "rb") as file:
            file.seek(self._where[digest])
            return _result(json.loads(file.readline()))

    def append(self, asked: LoggedSearch, result: SearchResult) -> None:
        """Keep a result; the first one for the same search stays."""
        row = {
            **asdict(asked),
            "documents": [document.as_json() for document in result.documents],
            "quality": result.quality,
            "remark": result.remark,
        }
        with self._opened() as file:
            self._catch_up(file)
            if asked.digest not in self._where:
                file.write(json.dumps(row).encode() + b"\n")
                file.flush()
                self._catch_up(file)

    @contextmanager
    def _opened(self) -> Iterator[BufferedRandom | BufferedReader]:
        if not self._writable:
            with open(self.path, "rb") as file:
                yield file
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path), open(self.path, "a+b") as file:
            yield file

    def _catch_up(self, file: BufferedRandom | BufferedReader) -> None:
        """Read what has been appended. Half a line was left by a kill: no one else is writing while we hold the lock."""
        file.seek(self._read_to)
        for line in file:
            if not line.endswith(b"\n"):
                if self._writable:
                    file.truncate(self._read_to)
                break
            self._lines += 1
            asked = self._asked(line)
            self.engines.add(asked.engine)
            self._where.setdefault(asked.digest, self._read_to)
            self._read_to += len(line)
        file.seek(0, os.SEEK_END)

    def _asked(self, line: bytes) -> LoggedSearch:
        try:
            match json.loads(line):
                case {"engine": str(engine), "query": str(query), "k": int(k), "draw": dict(draw)} as row:
                    _result(row)
                    return LoggedSearch(engine, query, k, draw)
                case _:
                    raise ValueError("a field is missing")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            shown = line[:60].decode("utf-8", "replace").strip()
            raise BadFile(f"{self.path}, line {self._lines}: not a recorded search: {shown!r}; record into another file.") from error


def _result(row: Any) -> SearchResult:
    documents = tuple(Document(str(d["text"]), str(d["title"]), str(d["id"])) for d in row["documents"])
    return SearchResult(documents, Quality(row["quality"]) if row["quality"] else None, str(row["remark"]))
