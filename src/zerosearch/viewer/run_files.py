"""Reading what a run left behind. A killed run leaves cut files: whole parts are read, and cuts are reported."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

Record = dict[str, Any]


def read_metrics(path: Path, note: Callable[[str], object]) -> list[Record]:
    """Every whole line of metrics.jsonl; lines that cannot be read are left out and reported."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        note(f"{path.name} cannot be read ({error.strerror}).")
        return []
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        record = object_or_none(line)
        if record is not None:
            records.append(record)
        elif line.strip() and number < len(lines):
            note(f"Line {number:,} of {path.name} is not a JSON object and was left out.")
        elif line.strip():
            note(f"The last line of {path.name} is incomplete and was left out.")
    return records


def read_json(path: Path) -> Record:
    """The JSON object in a file; {} if there is none."""
    try:
        return object_or_none(path.read_bytes()) or {}
    except OSError:
        return {}


def object_or_none(line: bytes) -> Record | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast(Record, value) if isinstance(value, dict) else None


def mapping(value: object) -> Record:
    """The value if it is a JSON object, otherwise an empty one, so that the page shows what is there."""
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
