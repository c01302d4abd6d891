"""Reading what a run left behind. A killed run leaves cut files: what is whole is read, what is cut is said."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from zerosearch.errors import BadFile

Record = dict[str, Any]


@dataclass(slots=True)
class Notes:
    """Remarks about the files that the reader of the report must see."""

    lines: list[str] = field(default_factory=list[str])

    def add(self, line: str) -> None:
        if line not in self.lines:  # a file read twice is remarked on once
            self.lines.append(line)


def read_metrics(path: Path, notes: Notes) -> list[Record]:
    """Every whole line of metrics.jsonl. Raises BadFile when there is none, or when a line before the last is broken."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        raise BadFile(f"{path}: cannot be read; a report needs the metrics of a run, so name the directory of one.") from None
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        record = _object_or_none(line)
        if record is not None:
            records.append(record)
        elif line.strip() and number < len(lines):
            raise BadFile(f"{path}, line {number}: not a JSON object; restore the line or remove it.")
        elif line.strip():
            notes.add(f"The last line of {path.name} is cut and was left out.")
    if not records:
        raise BadFile(f"{path}: no metrics in it; let the run finish at least one step.")
    return records


def read_summary(path: Path) -> Record:
    """summary.json, or nothing if the run has not written one. Raises BadFile when it is not a JSON object."""
    if not path.exists():
        return {}
    summary = _object_or_none(path.read_bytes())
    if summary is None:
        raise BadFile(f"{path}: not a JSON object; remove it and the report is written without it.")
    return summary


def read_trajectories(path: Path, notes: Notes) -> Iterator[Record]:
    """The whole records of trajectories.jsonl.gz, which may be many gzip members in a row, the last one cut."""
    if not path.exists():
        notes.add(f"There is no {path.name}: no trajectories to show.")
        return
    number = 0
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                record = _object_or_none(line)
                if record is None:
                    notes.add(f"{path.name} is cut after record {number:,}; later records were left out.")
                    return
                number += 1
                yield record
    except (OSError, EOFError, zlib.error):
        notes.add(f"{path.name} is cut after record {number:,}; later records were left out.")


def _object_or_none(line: bytes) -> Record | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast(Record, value) if isinstance(value, dict) else None


def mapping(value: object) -> Record:
    """The value if it is a JSON object, else an empty one: the report shows what is there and never stumbles."""
    return cast(Record, value) if isinstance(value, dict) else {}


def mappings(value: object) -> list[Record]:
    """The JSON objects in a list; empty for anything else."""
    return [mapping(item) for item in cast(list[object], value)] if isinstance(value, list) else []


def texts(value: object) -> list[str]:
    """The strings in a list; empty for anything else."""
    return [item for item in cast(list[object], value) if isinstance(item, str)] if isinstance(value, list) else []


def number_or_none(value: object) -> float | None:
    """A finite number, or None: NaN and infinity are not JSON and cannot be drawn."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value)
    return number if abs(number) < float("inf") else None
