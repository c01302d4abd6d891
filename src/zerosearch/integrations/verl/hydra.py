"""Settings as Hydra reads them on a command line: KEY=VALUE, lists in brackets, quotes where a word means something else."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, cast


def overrides(settings: Mapping[str, Any]) -> list[str]:
    return [f"{key}={_value(value)}" for key, value in settings.items()]


def command_line(module: str, settings: Mapping[str, Any]) -> str:
    """The line for a shell, or a scheduler's script."""
    return shlex.join(["python", "-m", module, *overrides(settings)])


def flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} → ("a.b", 1)"""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(cast(dict[str, Any], value), f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_value(item) for item in cast(list[object], value)) + "]"
    if not isinstance(value, str) or re.fullmatch(r"[\w./:@+-]+", value):
        return "null" if value is None else str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
