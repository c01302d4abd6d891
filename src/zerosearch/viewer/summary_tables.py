"""summary.json → the tables at the top of the report. Any key may be missing, any key may be new."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from zerosearch.viewer.run_files import Record, mapping, number_or_none

_LABELS = {
    "em": "EM",
    "em_one_hop": "EM, one hop",
    "em_two_hop": "EM, two hops",
    "em_sampled": "EM, sampled",
    "cover_em": "Cover EM",
    "f1": "Token F1",
    "wall_s": "Wall time",
    "answer_in_useful": "Useful replies that hold the answer",
    "answer_in_noisy": "Noisy replies that hold the answer",
    "answer_off_target": "Off-target replies that hold the answer",
    "real_engine_off_target": "Off-target, real engine",
    "documents_per_reply": "Documents per reply",
    "malformed_share": "Malformed replies, share",
}
_COUNTS = ("failed", "searches")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, with its 95% interval if one was given."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        return f"{self.mean:.3f}"

    @property
    def interval(self) -> str:
        return "" if self.low is None or self.high is None else f"{self.low:.3f} – {self.high:.3f}"


@dataclass(frozen=True, slots=True)
class Comparison:
    label: str
    base: Figure | None
    trained: Figure | None

    @property
    def change(self) -> str:
        if self.base is None or self.trained is None:
            return ""
        return f"{self.trained.mean - self.base.mean:+.3f}".replace("-", "−")

    @property
    def is_share(self) -> bool:
        """True if every number is a share, so that it can be drawn from 0 to 1; a count may lie in that range by chance."""
        if self.label in map(label, _COUNTS):
            return False
        figures = [figure for figure in (self.base, self.trained) if figure]
        return all(0 <= edge <= 1 for figure in figures for edge in (figure.mean, figure.low or 0, figure.high or 0))


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    seconds: float
    share: float

    @property
    def text(self) -> str:
        return duration(self.seconds)


@dataclass(frozen=True, slots=True)
class Facts:
    title: str
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SummaryView:
    comparisons: Sequence[Comparison]
    question_count: str
    phases: Sequence[Phase]
    facts: Sequence[Facts]


def summary_view(summary: Record) -> SummaryView:
    """Sort the summary into before/after, phases, and everything else as lists of facts."""
    base, trained = mapping(summary.get("base")), mapping(summary.get("trained"))
    keys = [key for key in {**base, **trained} if key not in ("n", "intervals")]
    comparisons = [Comparison(label(key), figure_in(base, key), figure_in(trained, key)) for key in keys]
    seconds = {name: s for name, value in mapping(summary.get("phases")).items() if (s := number_or_none(value)) is not None}
    total = sum(seconds.values()) or 1.0
    shown = {"base", "trained", "phases"}
    rest = {key: value for key, value in summary.items() if key not in shown}
    groups = [Facts(label(key), _rows(mapping(value))) for key, value in rest.items()]
    plain = _rows({key: value for key, value in rest.items() if not mapping(value)})
    counts = dict.fromkeys(str(side["n"]) for side in (base, trained) if "n" in side)
    return SummaryView(
        comparisons=[row for row in comparisons if row.base or row.trained],
        question_count=" and ".join(counts),
        phases=[Phase(label(name), s, s / total) for name, s in seconds.items()],
        facts=[group for group in (Facts("Run", plain), *groups) if group.rows],
    )


def label(key: str) -> str:
    words = key.replace("_", " ")
    return _LABELS.get(key, words[:1].upper() + words[1:])


def duration(seconds: float) -> str:
    """`5 min 32 s`: two units at most."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def figure_in(side: Record, key: str) -> Figure | None:
    """A figure of one policy; its interval is beside it, or under `intervals`."""
    bounds = mapping(side.get("intervals")).get(key)
    if isinstance(bounds, list) and len(bounds := cast(list[object], bounds)) == 2 and not mapping(side.get(key)):
        return _figure({"mean": side.get(key), "low": bounds[0], "high": bounds[1]})
    return _figure(side.get(key))


def _figure(value: object) -> Figure | None:
    interval = mapping(value)
    mean = number_or_none(interval.get("mean", value))
    return None if mean is None else Figure(mean, number_or_none(interval.get("low")), number_or_none(interval.get("high")))


def _rows(facts: Record) -> list[tuple[str, str]]:
    return [(label(key), _text(key, value)) for key, value in facts.items()]


def _text(key: str, value: Any) -> str:
    number = number_or_none(value)
    if number is not None and key.endswith("_s"):
        return duration(number)
    if isinstance(value, float):
        return f"{value:.4g}"
    if mapping(value) and (figure := _figure(value)):
        return f"{figure.text} ({figure.interval})" if figure.interval else figure.text
    return str(value)
