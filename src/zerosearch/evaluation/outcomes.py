"""One finished question, and the figures of many. The same whether a question was just answered or its row was read from a file."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Self

from zerosearch.core.statistics import Estimate, bootstrap_interval
from zerosearch.core.types import Scores, Span, Trajectory, Usage
from zerosearch.data.trajectories import trajectory_row

SCORES = ("em", "cover_em", "f1")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`scores` is None if the question failed: `stop_reason` and `cause` say why, and it enters no mean."""

    id: str
    question: str
    scores: Scores | None
    answered: bool
    searches: int
    usage: Usage
    stop_reason: str
    cause: str = ""
    kind: str | None = None
    hops: str | None = None

    @classmethod
    def of(cls, trajectory: Trajectory, usage: Usage) -> Self:
        return cls.from_row(row_of(trajectory, usage))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=row["question"]["id"],
            question=row["question"]["text"],
            scores=Scores(**row["scores"]) if row["scores"] else None,
            answered=row["answer"] is not None,
            searches=len(row["searches"]),
            usage=Usage(**row["usage"]),
            stop_reason=row["stop_reason"],
            cause=row["cause"],
            kind=row["type"],
            hops=row["hops"],
        )


def row_of(trajectory: Trajectory, usage: Usage) -> dict[str, Any]:
    """A row of an evaluation's trajectories.jsonl.gz: that of a training run, with token counts instead of tokens, and the usage.

    The last digits of log-probs depend on what else was in the batch; without them a repeated evaluation is identical to the byte.
    """
    bare = replace(trajectory, spans=tuple(Span(s.author, (), s.text) for s in trajectory.spans))
    row = trajectory_row(bare, 0, "evaluate")
    for span, full in zip(row["spans"], trajectory.spans, strict=True):
        span["tokens"] = len(full.token_ids)
    said = {name: None if (value := trajectory.question.metadata.get(name)) is None else str(value) for name in ("type", "hops")}
    return {**row, **said, "usage": asdict(usage)}


def estimate(outcomes: Sequence[Outcome], score: str) -> Estimate:
    """The mean of one score over those that did not fail, with its 95% interval. Raises BadInput if there is none."""
    return bootstrap_interval([getattr(o.scores, score) for o in outcomes if o.scores])


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Means with 95% intervals, and exact match by the questions' `type` and `hops` if they have them."""
    sound = [o for o in outcomes if o.scores]
    result: dict[str, Any] = {"n": len(sound), "failed": len(outcomes) - len(sound)}
    if not sound:
        return result
    return result | {
        **{score: estimate(sound, score).as_json() for score in SCORES},
        "searches": fmean(o.searches for o in sound),
        "answered": fmean(o.answered for o in sound),
        "policy_tokens": fmean(o.usage.new_tokens for o in sound),
        "prompt_tokens": fmean(o.usage.prompt_tokens for o in sound),
        **_em_by("by_type", sound, lambda o: o.kind),
        **_em_by("by_hops", sound, lambda o: o.hops),
    }


def _em_by(name: str, sound: Sequence[Outcome], key: Callable[[Outcome], str | None]) -> dict[str, Any]:
    groups: dict[str, list[float]] = defaultdict(list)
    for outcome in sound:
        if outcome.scores and (group := key(outcome)) is not None:
            groups[group].append(outcome.scores.em)
    return {name: {group: {"em": fmean(values), "n": len(values)} for group, values in sorted(groups.items())}} if groups else {}
