"""A growing .jsonl.gz, read forward once and then anywhere: lines are identified by where they begin in the uncompressed text."""

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_READ = 1 << 18  # compressed bytes at a time
_POINT_EVERY = 1 << 20  # uncompressed bytes between two places where reading can begin
_GZIP = 31  # zlib's code for a gzip header


@dataclass(frozen=True, slots=True)
class IndexedLine:
    """One whole line; `start` counts uncompressed bytes from the beginning of the file."""

    start: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Point:
    """A place where decompression can begin: at the start of a gzip member, or with a copy of the state within one."""

    start: int  # in the uncompressed text
    compressed: int  # in the file
    state: Any = None


class Archive:
    """`new_lines()` gives what was written since its last call; `read(start, length)` gives a line again.

    A file may be many gzip members in a row, as a run writes it, or one long one. The last may be incomplete: its whole lines are given,
    and `cut` is True until the rest arrives. `broken` means that what follows cannot be decompressed.
    """

    def __init__(self, path: Path, begin: Point | None = None) -> None:
        begin = begin or Point(0, 0)
        self.path = path
        self.points = [Point(0, 0), *([begin] if begin.start else [])]
        self.compressed = begin.compressed  # read so far
        self.start = begin.start  # given so far, in uncompressed bytes
        self.cut = self.broken = False
        self._inflate: Any = None  # None between two members
        self._rest = b""

    @property
    def between_members(self) -> bool:
        return self._inflate is None and not self._rest

    def new_lines(self) -> Iterator[IndexedLine]:
        """Raises OSError if the file cannot be read."""
        if self.broken or not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.compressed)
            while data := file.read(_READ):
                self.compressed += len(data)
                try:
                    yield from self._lines(data)
                except zlib.error:
                    self.broken = True
                    break
        self.cut = self.broken or not self.between_members

    def _lines(self, data: bytes) -> Iterator[IndexedLine]:
        while data:
            if self._inflate is None:
                self._inflate = zlib.decompressobj(_GZIP)
                self._mark(Point(self.start + len(self._rest), self.compressed - len(data)))
            # bounded, so that points follow one another however well the text compresses
            text = self._rest + self._inflate.decompress(data, _POINT_EVERY)
            data = self._inflate.unconsumed_tail or self._inflate.unused_data
            whole, newline, self._rest = text.rpartition(b"\n")
            for line in whole.split(b"\n") if newline else ():
                yield IndexedLine(self.start, line)
                self.start += len(line) + 1
            if self._inflate.eof:
                self._inflate = None
            else:
                self._mark(Point(self.start + len(self._rest), self.compressed - len(data), self._inflate.copy()))

    def _mark(self, point: Point) -> None:
        if point.start - self.points[-1].start >= _POINT_EVERY:
            self.points.append(point)

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`, which must have been given before. Raises OSError if the file has changed meanwhile."""
        point = self.points[bisect_right(self.points, start, key=lambda p: p.start) - 1]
        inflate = point.state.copy() if point.state else zlib.decompressobj(_GZIP)
        skip, found = start - point.start, b""
        with self.path.open("rb") as file:
            file.seek(point.compressed)
            data = b""
            while len(found) < length:
                data = data or file.read(_READ)
                if not data:
                    raise OSError(f"{self.path.name} has become shorter")
                try:
                    text = inflate.decompress(data, _POINT_EVERY)
                except zlib.error as error:
                    raise OSError(f"{self.path.name} has changed ({error})") from error
                data = inflate.unconsumed_tail or inflate.unused_data
                if inflate.eof:
                    inflate = zlib.decompressobj(_GZIP)
                found += text[skip : skip + length - len(found)]
                skip = max(0, skip - len(text))
        return found
