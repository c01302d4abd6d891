"""study.json → the claims table: what the paper says, what came out here, and the verdict. Any key may be missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zerosearch.viewer.run_files import Record, mapping, mappings, number_or_none, read_json, text_of

_LONGEST_CURVE = 2000


def study(folders: Sequence[Path]) -> dict[str, Any]:
    """The claims of each study."""
    return {"studies": [_study(folder) for folder in folders]}


def _study(folder: Path) -> dict[str, Any]:
    """`{"title", "about", "claims": [{"id", "claim", "paper", "ours", "interval", "n", "verdict", "plot"}]}`.

    `paper` and `ours` are numbers or words. A plot is `{"x": […], "series": [{"label", "values", "low"?, "high"?}]}`, or bars:
    `{"bars": [{"label", "mean", "low"?, "high"?}]}`.
    """
    found = read_json(folder / "study.json")
    return {
        "name": folder.resolve().name,
        "title": text_of(found.get("title")) or folder.resolve().name,
        "about": text_of(found.get("about")),
        "claims": [_claim(claim, i) for i, claim in enumerate(mappings(found.get("claims")) or _arms(found), start=1)],
    }


def _arms(found: Record) -> list[Record]:
    """Of a study that has only its arms yet, arms → seeds → figures: each arm's mean EM, from its lowest seed to its highest."""
    rows: list[Record] = []
    for name, seeds in mapping(found.get("arms")).items():
        values = [em for figures in mapping(seeds).values() if (em := number_or_none(mapping(figures).get("em"))) is not None]
        if values:
            low, high = min(values), max(values)
            ours = sum(values) / len(values)
            rows.append({"id": name, "claim": "held-out EM, mean of the seeds", "ours": ours, "interval": [low, high], "n": len(values)})
    return rows


def _claim(claim: Record, number: int) -> dict[str, Any]:
    interval = claim.get("interval")
    bounds = [number_or_none(v) for v in interval] if isinstance(interval, list) and len(interval) == 2 else [None, None]
    plot = mapping(claim.get("plot"))
    return {
        "id": text_of(claim.get("id")) or str(number),
        "claim": text_of(claim.get("claim")),
        "paper": _words(claim.get("paper")),
        "ours": _words(claim.get("ours")),
        "low": bounds[0],
        "high": bounds[1],
        "n": _words(claim.get("n")),
        "verdict": text_of(claim.get("verdict")),
        "bars": [bar for bar in map(_bar, mappings(plot.get("bars"))) if bar["mean"] is not None],
        "chart": _chart(plot, f"claim-{number}"),
    }


def _bar(bar: Record) -> dict[str, Any]:
    return {"label": text_of(bar.get("label")), **{key: number_or_none(bar.get(key)) for key in ("mean", "low", "high")}}


def _chart(plot: Record, name: str) -> dict[str, Any] | None:
    x = _numbers(plot.get("x"))
    series: list[dict[str, Any]] = []
    for colour, line in enumerate(mappings(plot.get("series"))):
        for key, style in (("values", "line"), ("low", "low"), ("high", "high")):
            values = _numbers(line.get(key))
            if x and len(values) == len(x):
                text = text_of(line.get("label"))
                series.append({"label": text, "values": values, "style": style, "colour": colour, "dash": colour})
    if not series:
        return None
    return {
        "id": name,
        "title": text_of(plot.get("title")),
        "y_label": text_of(plot.get("y_label")),
        "caption": "",
        "x": x,
        "series": series,
    }


def _numbers(value: object) -> list[float | None]:
    return [number_or_none(v) for v in value[:_LONGEST_CURVE]] if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]


def _words(value: object) -> str:
    """A number in four digits, words as they are, a table as its parts."""
    number = number_or_none(value)
    if number is not None:
        return f"{number:.4g}" if math.isfinite(number) else ""
    if parts := mapping(value):
        return ", ".join(f"{key} {_words(part)}" for key, part in parts.items())
    return text_of(value)
