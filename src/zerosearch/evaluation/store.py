"""An evaluation's directory: a row per question as soon as it is answered, so that nothing is asked twice.

DIR/
├── evaluation.json         the settings; restarted with any others, the directory is refused
├── trajectories.jsonl.gz   a row per question: spans with their authors, searches, answer, scores, tokens; finally in the file's order
├── timings.jsonl           seconds per question, and what the session has spent; only this file and costs.json differ in a repetition
├── summary.json            the figures
└── costs.json              searches, tokens, seconds, dollars
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from zerosearch.core.errors import BadFile, RunFailed
from zerosearch.data.files import append_whole, begin_folder, whole_lines, write_atomically
from zerosearch.data.trajectories import Row, packed, read_trajectories
from zerosearch.evaluation.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Spent:
    """Of a whole evaluation, over all its sessions: `gpu_s` is the time a GPU was held, `paid_searches` came from no recording."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    paid_searches: int = 0


class EvaluationDirectory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "evaluation.json"
        self.trajectories = path / "trajectories.jsonl.gz"
        self.timings = path / "timings.jsonl"
        self.summary = path / "summary.json"
        self.costs = path / "costs.json"

    @classmethod
    def existing(cls, path: str | Path) -> Self:
        """Raises BadFile if `path` is not the directory of an evaluation."""
        directory = cls(Path(path))
        if not directory.config.exists():
            raise BadFile(f"'{path}' is not an evaluation (it has no evaluation.json); give a directory that evaluate --out wrote.")
        return directory

    def begin(self, config: Mapping[str, Any]) -> dict[str, Row]:
        """Create the directory, or resume it: returns the rows of the finished questions, by id. Failed ones are asked again.

        Raises BadConfig if it was begun with another configuration, BadFile if it cannot be written.
        """
        with self._written():
            begin_folder(self.config, config, "an evaluation")
        done = {row["question"]["id"]: row for row in self.rows() if row["scores"]}
        self.rewrite(list(done.values()))  # without failures and rows cut by a kill
        return done

    def read_config(self) -> dict[str, Any]:
        return json.loads(self.config.read_text())

    def rows(self) -> Iterator[Row]:
        """The complete rows; one that a kill has cut is left out. Raises BadFile if the file may not be read."""
        try:
            yield from read_trajectories(self.trajectories)
        except OSError as error:
            raise BadFile(f"cannot read '{self.trajectories}' ({error.strerror}); ask its owner.") from error

    def outcomes(self) -> list[Outcome]:
        return [Outcome.from_row(row) for row in self.rows()]

    def append(self, row: Row, timing: Mapping[str, float | str]) -> None:
        with self._written():
            append_whole(self.trajectories, packed([row], level=1))
            append_whole(self.timings, json.dumps(timing).encode() + b"\n")

    def rewrite(self, rows: Sequence[Row]) -> None:
        """All rows at once, as one stream: the same bytes for the same rows, in whatever order they came."""
        with self._written():
            write_atomically(self.trajectories, packed(rows, level=6))

    def write(self, file: Path, content: Mapping[str, Any]) -> None:
        with self._written():
            write_atomically(file, json.dumps(content, indent=2) + "\n")

    def spent(self) -> Spent:
        """Totals over the sessions; a killed session counts up to its last answer."""
        last: dict[str, Mapping[str, Any]] = {}
        for timing in map(json.loads, whole_lines(self.timings)):
            last[timing["session"]] = timing
        return Spent(**{field.name: round(sum(t.get(field.name, 0) for t in last.values()), 3) for field in fields(Spent)})

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = RunFailed if self.config.exists() else BadFile
            raise kind(
                f"cannot write '{error.filename or self.path}' ({error.strerror}); free the disk or choose another --out."
            ) from error
