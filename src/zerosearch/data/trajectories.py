"""Rollouts in a file, written and read here: one JSON object per line, gzipped, as `trajectories.jsonl.gz` of every run holds them."""

import gzip
import json
import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zerosearch.core.types import Author, Trajectory

log = logging.getLogger(__name__)

Row = dict[str, Any]


def read_trajectories(path: Path) -> Iterator[Row]:
    """The complete rows of a file, which may be many gzip members in a row; none if there is no file.

    A kill may have cut the last member: the complete rows are read, and the log says where they end. Raises OSError if it may not be read.
    """
    if not path.exists():
        return
    number = 0
    with gzip.open(path, "rb") as lines:
        try:
            for line in lines:
                yield json.loads(line)
                number += 1
        except (gzip.BadGzipFile, EOFError, zlib.error, ValueError):
            log.warning("%s is cut off after row %s; the rest is ignored.", path, f"{number:,}")


def packed(rows: Iterable[Row], level: int = 3) -> bytes:
    """Rows as one gzip member, to write or append; the same bytes for the same rows."""
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), compresslevel=level, mtime=0)


def trajectory_row(trajectory: Trajectory, step: int, phase: str) -> dict[str, Any]:
    """A trajectory as a JSON object: the layout of `trajectories.jsonl.gz`."""
    t = trajectory
    return {
        "step": step,
        "phase": phase,
        "question": {"id": t.question.id, "text": t.question.text, "golden_answers": list(t.question.golden_answers)},
        "type": t.question.metadata.get("type"),
        "sample": t.sample,
        "spans": _span_rows(t),
        "searches": [
            {
                "turn": s.turn,
                "query": s.query,
                "quality": s.result.quality,
                "remark": s.result.remark,
                "documents": [d.as_json() for d in s.result.documents],
            }
            for s in t.searches
        ],
        "stop_reason": t.stop_reason,
        "cause": t.cause,
        "answer": t.answer,
        "malformed_turns": t.malformed_turns,
        "scores": asdict(t.scores) if t.scores else None,
        "reward": t.reward,
        "advantage": t.advantage,
    }


def _span_rows(trajectory: Trajectory) -> list[dict[str, Any]]:
    """Each span's tokens; and their advantages, if the policy's tokens have their own."""
    rows: list[dict[str, Any]] = []
    advantages = iter(trajectory.token_advantages)
    told = len(trajectory.token_advantages) == trajectory.policy_token_count > 0  # not when documents were trained on, too
    for span in trajectory.spans:
        row = {
            "author": span.author,
            "text": span.text,
            "token_ids": list(span.token_ids),
            "logprobs": [round(x, 5) for x in span.logprobs],
        }
        if told and span.author is Author.POLICY:
            row["advantages"] = [round(next(advantages), 4) for _ in span.token_ids]
        rows.append(row)
    return rows
