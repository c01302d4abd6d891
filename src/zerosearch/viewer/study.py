"""study.json → the claims table: what the paper says, what was measured here, and the verdict. Any key may be missing."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zerosearch.viewer.run_files import Record, mapping, mappings, number_or_none, read_json, text_of

_LONGEST_CURVE = 2000
_MAKE = "zerosearch study --page-only --out DIR"


def study(folders: Sequence[Path]) -> dict[str, Any]:
    """The claims of each study."""
    return {"studies": [_study(folder) for folder in folders]}


def _study(folder: Path) -> dict[str, Any]:
    """`{"title", "about", "claims": [{"id", "claim", "test", "paper", "ours", "interval", "n", "verdict", "note", "plot"}]}`.

    `paper` and `ours` are numbers or words. A plot is `{"x": […], "series": [{"label", "values", "low"?, "high"?}]}`, or bars:
    `{"bars": [{"label", "mean", "low"?, "high"?}]}`; `title` and `y_label` may be added.
    """
    found = read_json(folder / "study.json")
    claims = [_claim(claim, i) for i, claim in enumerate(mappings(found.get("claims")), start=1)]
    return {
        "name": folder.resolve().name,
        "title": text_of(found.get("title")) or folder.resolve().name,
        "about": text_of(found.get("about")) if claims else f"This study.json has no claims; {_MAKE} writes them from its runs.",
        "claims": claims,
    }


def _claim(claim: Record, number: int) -> dict[str, Any]:
    interval = claim.get("interval")
    bounds = [number_or_none(v) for v in interval] if isinstance(interval, list) and len(interval) == 2 else [None, None]
    plot = mapping(claim.get("plot"))
    return {
        "id": text_of(claim.get("id")) or str(number),
        **{key: text_of(claim.get(key)) for key in ("claim", "test", "note")},
        "paper": _words(claim.get("paper")),
        "ours": _words(claim.get("ours")),
        "low": bounds[0],
        "high": bounds[1],
        "n": _words(claim.get("n")),
        "verdict": text_of(claim.get("verdict")),
        "plot_title": text_of(plot.get("title")),
        "bars": [
            {"label": text_of(bar.get("label")), **{key: number_or_none(bar.get(key)) for key in ("mean", "low", "high")}}
            for bar in mappings(plot.get("bars"))
            if number_or_none(bar.get("mean")) is not None
        ],
        "chart": _chart(plot, f"claim-{number}"),
    }


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
    return {"id": name, "y_label": text_of(plot.get("y_label")), "x": x, "series": series}


def _numbers(value: object) -> list[float | None]:
    return [number_or_none(v) for v in value[:_LONGEST_CURVE]] if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]


def _words(value: object) -> str:
    """A number in four digits, text as it is, a table as its parts."""
    number = number_or_none(value)
    if number is not None:
        return f"{number:.4g}".replace("-", "−") if math.isfinite(number) else ""
    if parts := mapping(value):
        return ", ".join(f"{key} {_words(part)}" for key, part in parts.items())
    return text_of(value)
