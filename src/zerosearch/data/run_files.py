"""Reading what a run left behind. A killed run leaves cut files: what is whole is read, what is cut is said."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

Record = dict[str, Any]


@dataclass(slots=True)
class Notes:
    """Remarks about the files that whoever looks at the run must see."""

    lines: list[str] = field(default_factory=list[str])

    def add(self, line: str) -> None:
        if line not in self.lines:  # a file read twice is remarked on once
            self.lines.append(line)


def read_metrics(path: Path, notes: Notes) -> list[Record]:
    """Every whole line of metrics.jsonl; what cannot be read is left out and remarked on."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        notes.add(f"{path.name} cannot be read ({error.strerror}).")
        return []
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        record = object_or_none(line)
        if record is not None:
            records.append(record)
        elif line.strip() and number < len(lines):
            notes.add(f"Line {number:,} of {path.name} is no JSON object and was left out.")
        elif line.strip():
            notes.add(f"The last line of {path.name} is cut and was left out.")
    return records


def read_json(path: Path) -> Record:
    """The JSON object in a file; {} when there is none."""
    try:
        return object_or_none(path.read_bytes()) or {}
    except OSError:
        return {}


def read_trajectories(path: Path, notes: Notes) -> Iterator[Record]:
    """The whole records of trajectories.jsonl.gz, which may be many gzip members in a row, the last one cut."""
    if not path.exists():
        notes.add(f"There is no {path.name}: no trajectories to show.")
        return
    try:
        file = path.open("rb")
    except OSError as error:
        notes.add(f"{path.name} cannot be read ({error.strerror}).")
        return
    number = 0
    try:
        with file, gzip.open(file, "rb") as lines:
            for line in lines:
                record = object_or_none(line)
                if record is None:
                    notes.add(f"{path.name} is cut after record {number:,}; later records were left out.")
                    return
                number += 1
                yield record
    except (OSError, EOFError, zlib.error):
        notes.add(f"{path.name} is cut after record {number:,}; later records were left out.")


def object_or_none(line: bytes) -> Record | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast(Record, value) if isinstance(value, dict) else None


def mapping(value: object) -> Record:
    """The value if it is a JSON object, else an empty one: the page shows what is there and never stumbles."""
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


def text_of(value: object) -> str:
    """A string as it is, a number as its digits, "" for anything else."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
