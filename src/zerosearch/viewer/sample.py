"""Which trajectories a report embeds: as many as fit, whole groups spread over the steps, with the same held-out questions per step."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

SPACE = 2_500_000  # bytes of records, as stored in the file


def choose(sizes: Sequence[Mapping[str, Any]], space: int = SPACE) -> list[int]:
    """Record numbers, in the order of the file; a pure function, so that a report can be reproduced.

    Half of the space is for training, one group of samples at a time, evenly spread; half for evaluations, one question at a
    time with all its steps. What one half leaves over, the other may use.
    """
    if sum(row["length"] for row in sizes) <= space:
        return [row["n"] for row in sizes]
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    questions: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in sizes:
        if row["phase"] == "evaluate":
            questions[(row["question_id"],)].append(row)
        else:
            groups[(row["step"], row["question_id"])].append(row)
    kept, used = _fill(list(questions.values()), space // 2)
    more, _ = _fill(list(groups.values()), space - used)
    return sorted(row["n"] for row in (*kept, *more))


def _fill(units: Sequence[Sequence[Mapping[str, Any]]], space: int) -> tuple[list[Mapping[str, Any]], int]:
    kept: list[Mapping[str, Any]] = []
    used = 0
    for i in spread(len(units)):
        size = sum(row["length"] for row in units[i])
        if used + size > space:
            continue
        used += size
        kept += units[i]
        if used > 0.97 * space:
            break
    return kept, used


def spread(n: int) -> list[int]:
    """0 … n-1 in an order whose every beginning is evenly spread: first and last, then the middle, then the quarters."""
    order: dict[int, None] = {}
    parts = 1
    while len(order) < n:
        order |= dict.fromkeys(round(i * (n - 1) / parts) for i in range(parts + 1))
        parts *= 2
    return list(order)
