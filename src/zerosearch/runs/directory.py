"""The run directory: what a run leaves behind, written so that a kill at any moment loses no finished step.

runs/NAME/
├── config.toml             the complete recipe; `zerosearch train runs/NAME/config.toml` runs it again
├── metrics.jsonl           one object per step ("kind": "train") and per evaluation ("kind": "evaluate")
├── trajectories.jsonl.gz   every rollout: spans with their authors, searches with the noise drawn, scores
├── evaluation-WHEN.jsonl.gz   the same of every held-out question, greedily, before (base) and after (trained)
├── checkpoints/step-000120 a Hugging Face folder, and trainer.pt: optimiser, cursor, the lengths of the two files above
├── summary.json            the figures, once the run is done
└── report.html             the run as one page
"""

import json
import math
import os
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from zerosearch.core.errors import BadConfig, BadFile, RunFailed
from zerosearch.core.types import Group, Trajectory
from zerosearch.data.files import append_whole, require_writable, whole_lines, write_atomically, writing
from zerosearch.data.trajectories import packed, trajectory_row


class RunDirectory:
    """`resume_command` is the command that resumes this run; messages about a stop quote it. `followers` see each row of metrics."""

    def __init__(self, path: Path, resume_command: str = "") -> None:
        self.path = path
        self.resume_command = resume_command or f"zerosearch train --resume {shlex.quote(str(path))}"
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.trajectories = path / "trajectories.jsonl.gz"
        self.checkpoints = path / "checkpoints"
        self.summary = path / "summary.json"
        self.marks = path / "marks.jsonl"  # of runs whose checkpoints another program writes
        self.followers: list[Callable[[Mapping[str, Any]], None]] = []

    def require_new(self) -> None:
        """Raises BadConfig if there is a run here already: nothing is ever overwritten."""
        if self.config.exists() or any(self.checkpoints.glob("step-*")):
            raise BadConfig(f"'{self.path}' already holds a run; resume it with --resume {self.path}, or choose another run.out=DIR.")

    def require_writable(self) -> None:
        """Raises BadFile if nothing can be written here, a full disk included; leaves nothing behind."""
        require_writable(self.path, "the run directory", folder=True)

    def create(self, config: str) -> None:
        """Start a run with `config`, the TOML of its complete recipe."""
        self.require_writable()
        with writing(self.path, self.resume_command):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_atomically(self.config, config)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """An existing run. Raises BadFile if the folder holds none."""
        run = cls(Path(path))
        if not run.config.exists():
            raise BadFile(f"'{path}' is not a run directory (it has no config.toml); give --resume the directory of a run.")
        return run

    def read_config(self) -> dict[str, Any]:
        """The recipe as it was saved, section by section. Raises BadFile if it cannot be read."""
        try:
            return tomllib.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadFile(
                f"cannot read the recipe '{self.config}' ({error}); a run directory holds the recipe it was started with."
            ) from error

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """One line. Raises RunFailed if a figure is infinite or not a number: the run has diverged, and JSON cannot hold it."""
        try:
            line = json.dumps(row, allow_nan=False, default=float)
        except ValueError as error:
            wrong = ", ".join(f"{key} = {value}" for key, value in row.items() if isinstance(value, float) and not math.isfinite(value))
            raise RunFailed(f"the run has diverged ({wrong or error}); choose a lower rl.learning_rate.") from error
        self._append(self.metrics, f"{line}\n".encode())
        for follow in self.followers:
            follow(row)

    def append_trajectories(self, groups: Iterable[Group], step: int, phase: str) -> None:
        """One gzip member per call: a cut in the last one leaves the others readable."""
        self._append(self.trajectories, packed(trajectory_row(t, step, phase) for g in groups for t in g.trajectories))

    def write_evaluated(self, when: str, trajectories: Iterable[Trajectory], step: int) -> None:
        """Every held-out rollout of the "base" or "trained" policy (`when`), all or nothing."""
        file = self.path / f"evaluation-{when}.jsonl.gz"
        with writing(file, self.resume_command):
            write_atomically(file, packed(trajectory_row(t, step, "evaluate") for t in trajectories))

    def _append(self, path: Path, data: bytes) -> None:
        with writing(path, self.resume_command):
            append_whole(path, data)

    def lengths(self) -> dict[str, int]:
        return {file.name: file.stat().st_size if file.exists() else 0 for file in (self.metrics, self.trajectories)}

    def cut_back(self, lengths: Mapping[str, int]) -> None:
        """Remove what was written after a checkpoint, so that a resumed run's files equal an uninterrupted run's."""
        for name, length in lengths.items():
            if (self.path / name).exists():
                with writing(self.path / name, self.resume_command):
                    os.truncate(self.path / name, min(length, (self.path / name).stat().st_size))

    def mark(self, step: int) -> None:
        """Record the lengths of the files after a step, for `forget_after`."""
        self._append(self.marks, json.dumps({"step": step, **self.lengths()}).encode() + b"\n")

    def forget_after(self, step: int) -> None:
        """Cut the files back to their lengths after `step`, or to nothing if these were not recorded."""
        lengths = dict.fromkeys(self.lengths(), 0)
        for row in map(json.loads, whole_lines(self.marks)):
            lengths = row if row.pop("step") == step else lengths
        self.cut_back(lengths)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self.write_json(self.summary, summary)

    def write_json(self, file: Path, value: Mapping[str, Any]) -> None:
        with writing(file, self.resume_command):
            write_atomically(file, json.dumps(value, indent=2, default=float) + "\n")

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        yield from map(json.loads, whole_lines(self.metrics))
