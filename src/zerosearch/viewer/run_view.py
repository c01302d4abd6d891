"""A run as the viewer sees it: a directory whose files may be missing, half written, or from an older version."""

import json
import os
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zerosearch.core.curriculum import NoiseCurriculum
from zerosearch.core.errors import BadFile, ZeroSearchError
from zerosearch.viewer.index import Index, cache_file
from zerosearch.viewer.run_files import Record, mapping, read_json, read_metrics, text_of

_DEPTH = 3  # folders below the given one
_MAX_RUNS = 50
_LIVE_S = 120.0  # a run without a summary whose files changed this recently is taken to be running


class Run:
    """`key` names it in an address: the shortest end of its path that distinguishes it from the others."""

    def __init__(self, path: Path, key: str = "", keep_index: bool = False) -> None:
        self.path = path
        self.key = key or path.resolve().name
        self.is_evaluation = (path / "evaluation.json").exists()
        trajectories = path / "trajectories.jsonl.gz"
        held_out = [path / f"evaluation-{when}.jsonl.gz" for when in ("base", "trained")]
        self.index = Index([trajectories, *held_out], cache_file(trajectories) if keep_index else None)
        self._config: tuple[tuple[int, int], Record] = ((-1, -1), {})
        self._metrics: tuple[tuple[int, int], list[Record], list[str]] = ((-1, -1), [], [])

    @property
    def metrics(self) -> list[Record]:
        return self._read()[1]

    @property
    def notes(self) -> list[str]:
        """Remarks about the files that a viewer of the run must see."""
        index = self.index
        notes = [*self._read()[2]]
        notes += [f"{name} ends in the middle of a record; complete records are shown." for name in index.cut]
        if index.unreadable:
            notes.append(f"{index.unreadable:,} records of {self.path.name} cannot be read and are left out.")
        if index.broken:
            notes.append(f"The trajectories of {self.key} {index.broken}.")
        elif not len(index) and index.read_share == 1.0:
            notes.append(f"{self.key} has no trajectories yet.")
        return notes

    @property
    def state(self) -> tuple[int, int, int]:
        """Changes when anything shown of the run does."""
        return (*_stamp(self.path / "metrics.jsonl"), self.index.version + _stamp(self.path / "summary.json")[0])

    @property
    def is_live(self) -> bool:
        newest = max(_stamp(self.path / name)[1] for name in ("metrics.jsonl", "trajectories.jsonl.gz"))
        return not (self.path / "summary.json").exists() and time.time() - newest / 1e9 < _LIVE_S

    @property
    def summary(self) -> Record:
        return read_json(self.path / "summary.json")

    @property
    def figures(self) -> Record:
        """The final figures of its policy. An evaluation's summary holds them beside its settings."""
        if not self.is_evaluation:
            return mapping(self.summary.get("trained"))
        settings = read_json(self.path / "evaluation.json")
        return {name: value for name, value in self.summary.items() if name not in settings and not name.startswith("by_")}

    @property
    def config_text(self) -> str:
        file = self.path / ("evaluation.json" if self.is_evaluation else "config.toml")
        try:
            return file.read_text("utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def config(self) -> Record:
        """config.toml as it is; {} if it is not TOML."""
        stamp = _stamp(self.path / "config.toml")
        if stamp != self._config[0]:
            try:
                self._config = (stamp, {} if self.is_evaluation else tomllib.loads(self.config_text))
            except tomllib.TOMLDecodeError:
                self._config = (stamp, {})
        return self._config[1]

    @property
    def steps(self) -> int | None:
        """How many steps the run is to have."""
        steps = mapping(self.config.get("rl")).get("steps")
        return steps if isinstance(steps, int) else None

    @property
    def same_but_seed(self) -> str:
        """The recipe without what differs between seeds of one experiment; runs that share it are drawn as one band."""
        config = self.config
        if not config:
            return self.key
        rest = {name: {k: v for k, v in mapping(table).items() if not isinstance(v, str) or "/" not in v} for name, table in config.items()}
        run = {k: v for k, v in mapping(rest.pop("run", {})).items() if k not in ("seed", "out")}
        return json.dumps([rest, run], sort_keys=True, default=str)

    def planned_noise(self) -> list[tuple[int, float]]:
        """(step, noise rate) over the whole run, from the recipe; [] if that depends on the rewards, or the recipe is not ours."""
        try:
            steps, seed = int(self.config["rl"]["steps"]), int(self.config["run"].get("seed", 0))
            curriculum = NoiseCurriculum(**self.config.get("curriculum", {}), steps=steps, seed=seed)
            every = max(1, steps // 500)
            return [] if curriculum.schedule == "adaptive" else [(s + 1, curriculum.noise_rate(s)) for s in range(0, steps, every)]
        except (ZeroSearchError, KeyError, ValueError, TypeError):
            return []

    def tokenizer_file(self) -> Path | None:
        """The newest checkpoint's, or else that of the model it began with, if that is on this machine."""
        model = text_of(mapping(self.config.get("policy")).get("model"))
        found = sorted(self.path.glob("checkpoints/step-*/tokenizer.json"))
        candidates = [*found[-1:], *([Path(model) / "tokenizer.json"] if model else []), self.path / "policy" / "tokenizer.json"]
        return next((file for file in candidates if file.is_file()), None)

    def _read(self) -> tuple[tuple[int, int], list[Record], list[str]]:
        stamp = _stamp(self.path / "metrics.jsonl")
        if stamp != self._metrics[0]:
            notes: list[str] = []
            self._metrics = (stamp, read_metrics(self.path / "metrics.jsonl", notes.append), notes)
        return self._metrics

    def about(self) -> dict[str, Any]:
        """The run in one line of the page."""
        done = max((row["step"] for row in self.metrics if isinstance(row.get("step"), int)), default=0)
        return {
            "key": self.key,
            "path": str(self.path),
            "kind": "evaluation" if self.is_evaluation else "training",
            "step": done,
            "steps": self.steps,
            "live": self.is_live,
            "trajectories": len(self.index),
            "read_share": round(self.index.read_share, 3),
            "notes": self.notes,
        }


def is_run(path: Path) -> bool:
    return any((path / name).exists() for name in ("config.toml", "metrics.jsonl", "evaluation.json"))


def is_study(path: Path) -> bool:
    return (path / "study.json").exists()


def find(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The runs and studies at a path: the folder itself, or else those below it.

    Raises BadFile for a folder that is neither and contains none, or that may not be read.
    """
    runs: list[Path] = []
    studies: list[Path] = []
    for path in paths:
        try:
            found = [*_below(path, _DEPTH)] if path.is_dir() else []
        except PermissionError as error:
            raise BadFile(f"'{error.filename or path}' may not be read (permission denied); ask its owner.") from error
        if not found:
            raise BadFile(f"'{path}' is not a run directory (no config.toml, metrics.jsonl, evaluation.json or study.json); give one.")
        studies += [folder for folder in found if is_study(folder)]
        runs += [folder for folder in found if is_run(folder)]
    return list(dict.fromkeys(runs))[:_MAX_RUNS], list(dict.fromkeys(studies))


def _below(path: Path, depth: int) -> list[Path]:
    with os.scandir(path):  # raises, unlike `glob`
        pass
    if is_run(path):
        return [path, *([path / "real_engine"] if is_run(path / "real_engine") else [])]
    found = [path] if is_study(path) else []
    for folder in sorted(path.iterdir()) if depth else []:
        if folder.is_dir() and not folder.name.startswith("."):
            found += _below(folder, depth - 1)
    return found


def open_runs(paths: Sequence[Path], keep_index: bool = False) -> list[Run]:
    """Each path with the shortest end that no other shares."""
    parts = [path.resolve().parts for path in paths]
    keys: list[str] = []
    for mine in parts:
        depth = next((d for d in range(1, len(mine)) if sum(other[-d:] == mine[-d:] for other in parts) == 1), len(mine))
        keys.append("/".join(mine[-depth:]))
    return [Run(path, key, keep_index) for path, key in zip(paths, keys, strict=True)]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
        return found.st_size, found.st_mtime_ns
    except OSError:
        return 0, 0
