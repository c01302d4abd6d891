"""An index of trajectories: queries over 100,000 of them at once, in SQLite in memory; the text stays in the file.

Built once, in the background, and kept in the user's cache directory if that took long; after that only what is new is read.
"""

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from zerosearch.core.errors import BadConfig
from zerosearch.data.files import new_file
from zerosearch.viewer.filters import SORTS, Filter
from zerosearch.viewer.gzip_index import Archive, Point
from zerosearch.viewer.index_rows import COLUMNS, parsed, row_of
from zerosearch.viewer.run_files import Record

T = TypeVar("T")

_FORMAT = 1  # of the index; one of another format is rebuilt
_BATCH = 200  # rows between two moments in which other threads may query
_SOURCE = 1_000_000_000  # where the second file's numbers begin: they stay the same while the first one grows
_KEPT_FROM_S = 1.0  # an index that was built faster is not worth a file
_ANSWERS = 200  # that are remembered
_TAIL = 4096  # bytes by which a file that has grown is recognised
_FACETS = ("phase", "drawn", "stop_reason")
_SHOWN = "n, step, phase, question_id, question, type, sample, answer, em, f1, reward, advantage, searches, drawn, stop_reason, tokens"


class Index:
    """The index of one or several files with trajectories. Methods may be called from any thread."""

    def __init__(self, files: list[Path], cache: Path | None = None, kept_from_s: float = _KEPT_FROM_S) -> None:
        self._files = files
        self._cache, self._kept_from_s = cache, kept_from_s
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._start_anew()
        if cache:
            self._load(cache)

    def _start_anew(self) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(
            f"""
            CREATE TABLE rows (n INTEGER PRIMARY KEY, {", ".join(COLUMNS)});
            CREATE INDEX by_question ON rows (question_id, step);
            CREATE TABLE searches (question_id, query, quality, n, turn);
            CREATE TABLE about (format, source, compressed, start, head, tail);
            """
        )
        self._archives = [Archive(file) for file in self._files]
        self._counts = [0] * len(self._files)
        self.unreadable = 0
        self.version = 0  # rises with every batch of new rows
        self.broken = ""
        self._answers: dict[str, tuple[int, Any]] = {}
        self._seen: dict[str, set[Any]] = {name: set() for name in ("step", *_FACETS)}
        self._searches_of: Counter[tuple[int, int]] = Counter()  # (step, searches) → rollouts

    # ---- reading the files

    def refresh(self) -> None:
        """Read what is new. A file that has been cut back, as a resume does, is read from the beginning."""
        if not self._reading.acquire(blocking=False):
            return  # another thread is reading
        try:
            if any(self._was_cut_back(archive) for archive in self._archives):
                with self._lock:
                    self._start_anew()
            started = time.perf_counter()
            for source in range(len(self._archives)):
                self._read(source)
            if time.perf_counter() - started > self._kept_from_s and self._cache:
                self._save(self._cache)
        except OSError as error:
            self.broken = f"cannot be read ({error.strerror or error})"
        finally:
            self._reading.release()

    def _was_cut_back(self, archive: Archive) -> bool:
        try:
            return archive.path.stat().st_size < archive.compressed
        except OSError:
            return archive.compressed > 0

    def _read(self, source: int) -> None:
        batch: list[tuple[list[Any], list[list[Any]]]] = []
        for line in self._archives[source].new_lines():
            if row := row_of(line, source):
                batch.append(row)
            else:
                self.unreadable += bool(line.data.strip())
            if len(batch) >= _BATCH:
                self._insert(batch, source)
                batch = []
                time.sleep(0)  # let a request run
        self._insert(batch, source)

    def _insert(self, batch: list[tuple[list[Any], list[list[Any]]]], source: int) -> None:
        if not batch:
            return
        marks = ", ".join("?" * (1 + len(COLUMNS)))
        with self._lock:
            self._db.execute("BEGIN")
            first = source * _SOURCE + self._counts[source]
            self._db.executemany(f"INSERT INTO rows VALUES ({marks})", ([first + i, *row] for i, (row, _) in enumerate(batch)))
            searches = ([*search[:3], first + i, search[3]] for i, (_, found) in enumerate(batch) for search in found)
            self._db.executemany("INSERT INTO searches VALUES (?, ?, ?, ?, ?)", searches)
            self._db.execute("COMMIT")
            self._counts[source] += len(batch)
            self._take_note(f"n BETWEEN {first} AND {first + len(batch) - 1}")
            self.version += 1

    def _take_note(self, which: str) -> None:
        """Update frequently used values from the new rows."""
        for name in ("step", *_FACETS):
            values = self._db.execute(f"SELECT DISTINCT {name} FROM rows WHERE {which} AND {name} != ''").fetchall()
            self._seen[name] |= {value for (value,) in values}
        of_training = f"SELECT step, searches, count(*) FROM rows WHERE {which} AND phase = 'train' AND em IS NOT NULL GROUP BY 1, 2"
        for step, searches, n in self._db.execute(of_training).fetchall():
            self._searches_of[step, searches] += n

    @property
    def read_share(self) -> float:
        """How much of the files has been read, from 0 to 1."""
        sizes = sum(archive.path.stat().st_size for archive in self._archives if archive.path.exists())
        return min(1.0, sum(archive.compressed for archive in self._archives) / sizes) if sizes else 1.0

    @property
    def cut(self) -> list[str]:
        """Names of the files whose end is missing or cannot be read."""
        return [archive.path.name for archive in self._archives if archive.cut]

    # ---- asking

    def __len__(self) -> int:
        return sum(self._counts)

    def _all(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(row) for row in self._db.execute(sql, values)]

    def _kept(self, name: str, work: Callable[[], T]) -> T:
        """The last result of `work`, as long as no row has been added since."""
        version, value = self._answers.get(name, (-1, None))
        if version != self.version:
            if len(self._answers) > _ANSWERS:
                self._answers.clear()
            version, value = self.version, work()
            self._answers[name] = (version, value)
        return cast(T, value)

    def page(self, wanted: Filter, offset: int = 0, limit: int = 50) -> tuple[int, list[dict[str, Any]]]:
        """The number of matches, and those of one page. Raises BadConfig for an unknown value."""
        where, values = wanted.where()
        if wanted.sort not in SORTS:
            raise BadConfig(f"sort = {wanted.sort!r} is not known; choose one of: {', '.join(SORTS)}.")
        if wanted.sort != "n":  # made on first use, so that a deep page needs no sort
            with self._lock:
                self._db.execute(f"CREATE INDEX IF NOT EXISTS by_{wanted.sort} ON rows ({wanted.sort})")
        order = f"{wanted.sort} DESC, n DESC" if wanted.descending else f"{wanted.sort} ASC NULLS LAST, n ASC"
        counting = f"SELECT count(*) AS total FROM rows WHERE {where}"
        total = self._kept(f"count of {counting} {values}", lambda: self._all(counting, *values)[0]["total"])
        # sort narrow rows first, then fetch the wide ones of one page: five times as fast
        page = f"SELECT n FROM rows WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"
        return total, self.rows([row["n"] for row in self._all(page, *values, limit, offset)])

    def rows(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of these records, in this order."""
        found: dict[int, dict[str, Any]] = {}
        for start in range(0, len(numbers), 500):
            some = numbers[start : start + 500]
            marks = ", ".join("?" * len(some))
            found |= {row["n"]: row for row in self._all(f"SELECT {_SHOWN} FROM rows WHERE n IN ({marks})", *some)}
        return [found[n] for n in numbers if n in found]

    def record(self, n: int) -> Record | None:
        """The whole record from the file; None if there is none. Raises OSError if the file is gone."""
        found = self._all("SELECT source, start, length FROM rows WHERE n = ?", n)
        if not found:
            return None
        archive = self._archives[found[0]["source"]]
        return parsed(archive.read(found[0]["start"], found[0]["length"]))

    def sizes(self) -> list[dict[str, Any]]:
        """What choosing a sample needs of every record."""
        return self._all("SELECT n, step, phase, question_id, em, length FROM rows ORDER BY n")

    def group(self, n: int) -> list[dict[str, Any]]:
        """The records of the same question in the same step and phase."""
        return self._relatives(n, "step = ? AND phase = ? ORDER BY sample, n", ("step", "phase"))

    def same_question(self, n: int) -> list[dict[str, Any]]:
        """The records of the same question in other steps, one per step: the one with the same sample number, or else the first."""
        rows = self._relatives(n, "1 ORDER BY step, (sample = ?) DESC, n", ("sample",))
        return list({(row["step"], row["phase"]): row for row in reversed(rows)}.values())[::-1]

    def _relatives(self, n: int, condition: str, keys: tuple[str, ...]) -> list[dict[str, Any]]:
        me = self._all("SELECT * FROM rows WHERE n = ?", n)
        if not me:
            return []
        return self._all(
            f"SELECT {_SHOWN} FROM rows WHERE question_id = ? AND {condition}", me[0]["question_id"], *(me[0][k] for k in keys)
        )

    def facets(self) -> dict[str, Any]:
        """The values that a filter can choose from."""
        with self._lock:
            steps = self._seen["step"]
            values = {name: sorted(self._seen[name]) for name in _FACETS}
        return {"steps": [min(steps), max(steps)] if steps else [None, None], **values}

    def searches_by_step(self) -> list[tuple[int, int, int]]:
        """(step, searches, rollouts) of the training rollouts that did not fail."""
        with self._lock:
            return sorted((step, searches, n) for (step, searches), n in self._searches_of.items())

    def contrasts(self, limit: int) -> list[dict[str, Any]]:
        """Queries for which one question got both useful and noisy documents, with the first of each."""
        return self._kept(f"contrasts {limit}", lambda: self._contrasts(limit))

    def _contrasts(self, limit: int) -> list[dict[str, Any]]:
        return self._all(
            """SELECT query, min(question_id) AS question_id, min(CASE quality WHEN 'useful' THEN n * 64 + turn END) AS useful,
                      min(CASE quality WHEN 'noisy' THEN n * 64 + turn END) AS noisy
               FROM searches WHERE quality != '' GROUP BY question_id, query
               HAVING count(DISTINCT quality) = 2 ORDER BY max(n) DESC LIMIT ?""",
            limit,
        )

    def outcomes(self, phase: str) -> list[dict[str, Any]]:
        """The last record of each question in a phase: id, text, EM, F1, answer, searches."""
        return self._all(
            """SELECT n, step, question_id, question, em, f1, answer, searches, max(step * 1e9 + n) FROM rows
               WHERE phase = ? GROUP BY question_id ORDER BY min(n)""",
            phase,
        )

    # ---- the cache

    def _load(self, cache: Path) -> None:
        """What another session has read, if that part of the files is unchanged."""
        with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True)) as kept:
            about = kept.execute("SELECT format, compressed, start, head, tail FROM about ORDER BY source").fetchall()
            same = [row[0] == _FORMAT and row[3:] == _fingerprint(file, row[1]) for row, file in zip(about, self._files, strict=True)]
            if same and all(same):
                kept.backup(self._db)
                self._archives = [Archive(file, Point(row[2], row[1])) for row, file in zip(about, self._files, strict=True)]
                counts = dict(self._db.execute("SELECT source, count(*) FROM rows GROUP BY source").fetchall())
                self._counts = [counts.get(source, 0) for source in range(len(self._files))]
                self.version = 1
                self._db.execute("DELETE FROM about")
                self._take_note("1")

    def _save(self, cache: Path) -> None:
        if self.cut:
            return
        # without a writable cache there is no cache
        with contextlib.suppress(sqlite3.Error, OSError), self._lock:
            cache.parent.mkdir(parents=True, exist_ok=True)
            about = [
                (_FORMAT, source, a.compressed, a.start, *_fingerprint(a.path, a.compressed)) for source, a in enumerate(self._archives)
            ]
            with new_file(cache) as partial, contextlib.closing(sqlite3.connect(partial)) as file:
                self._db.backup(file)
                file.executemany("INSERT INTO about VALUES (?, ?, ?, ?, ?, ?)", about)
                file.commit()


def cache_file(trajectories: Path) -> Path:
    """Where the index of a file is kept: $XDG_CACHE_HOME/zerosearch/view/…, by default under ~/.cache."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "zerosearch" / "view" / f"{hashlib.sha256(str(trajectories.resolve()).encode()).hexdigest()[:16]}.sqlite"


def _fingerprint(file: Path, length: int) -> tuple[int, int]:
    """Checksums of the first bytes, and of the last before `length`."""
    if not length and not file.exists():
        return 0, 0
    with file.open("rb") as data:
        head = zlib.crc32(data.read(min(_TAIL, length)))
        data.seek(max(0, length - _TAIL))
        return head, zlib.crc32(data.read(min(_TAIL, length)))
