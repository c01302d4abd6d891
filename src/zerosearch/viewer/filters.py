"""The filters of a table of trajectories, as SQL."""

from dataclasses import dataclass
from typing import Any

from zerosearch.core.errors import BadConfig

SORTS = ("n", "step", "question", "em", "reward", "advantage", "searches", "tokens")


@dataclass(frozen=True, slots=True)
class Filter:
    """The filters of a table of trajectories; None or "" matches anything. `score` is right, wrong or unscored, `noise` a `drawn`."""

    text: str = ""
    phase: str = ""
    step_from: int | None = None
    step_to: int | None = None
    score: str = ""
    noise: str = ""
    stop: str = ""
    searches: int | None = None  # -4: four or more
    question_id: str | None = None
    sort: str = "n"
    descending: bool = False

    def where(self) -> tuple[str, list[Any]]:
        """An SQL condition and its values. Raises BadConfig for an unknown value."""
        found: list[tuple[str, Any]] = []
        if self.text:
            found.append(("instr(folded, ?)", self.text.casefold()))  # twice as fast as LIKE, and needs no escaping
        for column, value in (("phase", self.phase), ("drawn", self.noise), ("stop_reason", self.stop)):
            if value:
                found.append((f"{column} = ?", value))
        if self.question_id is not None:
            found.append(("question_id = ?", self.question_id))
        if self.step_from is not None:
            found.append(("step >= ?", self.step_from))
        if self.step_to is not None:
            found.append(("step <= ?", self.step_to))
        if self.searches is not None:
            found.append(("searches >= ?", -self.searches) if self.searches < 0 else ("searches = ?", self.searches))
        if self.score not in ("", *_SCORES):
            raise BadConfig(f"score = {self.score!r} is not known; choose right, wrong or unscored.")
        conditions = [condition for condition, _ in found] + ([_SCORES[self.score]] if self.score else [])
        return " AND ".join(conditions) or "1", [value for _, value in found]


_SCORES = {"right": "em = 1", "wrong": "em < 1", "unscored": "em IS NULL"}
