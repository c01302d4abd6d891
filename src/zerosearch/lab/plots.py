"""Two kinds of pictures as SVG, simple enough to read in a diff: intervals in rows, and curves over steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor

from zerosearch.core.statistics import Estimate

_COLOURS = {"replicates": "#1a7f37", "does not": "#b42318"}
_GREY, _INK = "#8a8f98", "#24292f"
_WIDTH, _ROW, _LEFT = 760, 22, 260


@dataclass(frozen=True, slots=True)
class Interval:
    label: str
    value: Estimate
    verdict: str


@dataclass(frozen=True, slots=True)
class PlotLine:
    values: Sequence[float]
    faint: bool = False


def intervals(title: str, rows: Sequence[Interval]) -> str:
    """A row per interval, around a line at 0; green replicates, red does not, grey is open."""
    low = min([0.0, *(row.value.low for row in rows)])
    high = max([0.0, *(row.value.high for row in rows)])
    low, high = floor(low * 10) / 10, ceil(high * 10) / 10 or 0.1
    height = 60 + _ROW * len(rows)

    def x(value: float) -> float:
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - 30), 1)

    parts = [_text(10, 18, title, bold=True)]
    ticks = [i / 10 for i in range(round(low * 10), round(high * 10) + 1)]
    for tick in ticks if len(ticks) <= 13 else ticks[::2]:
        parts.append(_line(x(tick), 30, x(tick), height - 26, _INK if tick == 0 else "#e1e4e8"))
        parts.append(_text(x(tick), height - 10, f"{tick:g}", "middle"))
    for i, row in enumerate(rows):
        y, colour = 44 + _ROW * i, _COLOURS.get(row.verdict, _GREY)
        parts.append(_text(_LEFT - 10, y + 4, f"{row.label} (n = {row.value.n})", "end"))
        parts.append(_line(x(row.value.low), y, x(row.value.high), y, colour, 2))
        parts.append(f'<circle cx="{x(row.value.mean)}" cy="{y}" r="4" fill="{colour}"/>')
    return _svg(height, title, parts)


def curves(title: str, lines: Sequence[PlotLine]) -> str:
    """Values over steps from 1 on; faint lines first, so that the others are on top."""
    highest = ceil(max([1.0, *(v for line in lines for v in line.values)]) * 2) / 2
    steps, height, left = max([2, *(len(line.values) for line in lines)]), 300, 40

    def x(step: int) -> float:
        return round(left + step / (steps - 1) * (_WIDTH - left - 20), 1)

    def y(value: float) -> float:
        return round(height - 30 - value / highest * (height - 70), 1)

    parts = [_text(10, 18, title, bold=True)]
    for i in range(round(highest * 2) + 1):
        parts += [_line(left, y(i / 2), _WIDTH - 20, y(i / 2), "#e1e4e8"), _text(left - 6, y(i / 2) + 4, f"{i / 2:g}", "end")]
    parts += [_text(x(step - 1), height - 12, str(step), "middle") for step in (1, *range(10, steps + 1, 10))]
    for line in sorted(lines, key=lambda line: not line.faint):
        points = " ".join(f"{x(i)},{y(value)}" for i, value in enumerate(line.values))
        colour, width = ("#c4c9d1", 1) if line.faint else ("#0550ae", 2.5)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    return _svg(height, title, parts)


def _text(x: float, y: float, text: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="{width}"/>'


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="12" fill="{_INK}">'
    )
    background = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"
