"""`zerosearch gap`: how far the simulated engine is from a real one, on the same questions with the same policy.

Over all searches of each side:   documents and words per reply · answer rate, the share of replies with a golden answer in a document ·
                                  redundancy, the mean overlap of two documents of one reply
Over searches that both sides made (same query, same question):   overlap of the words of the two replies
Over the questions:               EM of each, and real − simulated with interval and p

The overlap of two texts is that of their sets of normalised words: |A ∩ B| / |A ∪ B| (Jaccard).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from zerosearch.core.scoring import documents_hold_answer, normalise
from zerosearch.core.statistics import bootstrap_interval, paired_bootstrap
from zerosearch.core.types import Document
from zerosearch.evaluation.outcomes import Outcome, figures
from zerosearch.evaluation.store import Row

Reply = Sequence[str]  # the texts of one reply's documents


def gap(simulated: Sequence[Row], real: Sequence[Row]) -> dict[str, Any]:
    """The report, from the rows of two evaluations of the same questions."""
    shared = [_overlap(a, b) for a, b in _met_by_both(simulated, real)]
    simulated_by, real_by = ({o.id: o for o in map(Outcome.from_row, rows)} for rows in (simulated, real))
    scored = [(a, b) for i, o in simulated_by.items() if i in real_by and (a := o.scores) and (b := real_by[i].scores)]
    return {
        "simulated": _side(simulated),
        "real": _side(real),
        "shared_queries": len(shared),
        "overlap": bootstrap_interval(shared).as_json() if shared else None,
        "em_real_minus_simulated": paired_bootstrap([a.em for a, _ in scored], [b.em for _, b in scored]).as_json() if scored else None,
        "n": len(scored),
    }


def _side(rows: Sequence[Row]) -> dict[str, Any]:
    replies = [(reply, row["question"]["golden_answers"]) for row in rows for _, reply in _searches(row)]
    found = figures([Outcome.from_row(row) for row in rows])
    pairs = [_overlap([a], [b]) for reply, _ in replies for a, b in combinations(reply, 2)]
    answers = [float(documents_hold_answer([Document(text) for text in reply], golds)) for reply, golds in replies]
    return {
        **{key: found.get(key) for key in ("n", "failed", "em", "searches")},
        "replies": len(replies),
        "documents_per_reply": fmean(len(reply) for reply, _ in replies) if replies else None,
        "words_per_document": _mean([len(text.split()) for reply, _ in replies for text in reply]),
        "answer_rate": bootstrap_interval(answers).as_json() if answers else None,
        "redundancy": _mean(pairs),
    }


def _searches(row: Row) -> Iterator[tuple[str, Reply]]:
    for search in row["searches"]:
        yield " ".join(search["query"].split()), [f"{d['title']} {d['text']}".strip() for d in search["documents"]]


def _met_by_both(simulated: Sequence[Row], real: Sequence[Row]) -> list[tuple[Reply, Reply]]:
    """Replies to one query for one question. Before the first reply both sides are alike, so first queries are always shared
    if the policy is greedy."""
    theirs = {(row["question"]["id"], query): reply for row in real for query, reply in _searches(row)}
    ours = {(row["question"]["id"], query): reply for row in simulated for query, reply in _searches(row)}
    return [(reply, theirs[key]) for key, reply in ours.items() if key in theirs]


def _overlap(a: Reply, b: Reply) -> float:
    x, y = (set(normalise(" ".join(texts)).split()) for texts in (a, b))
    return len(x & y) / len(x | y) if x or y else 1.0


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def as_markdown(report: Mapping[str, Any]) -> str:
    simulated, real = report["simulated"], report["real"]
    names = {
        "n": "questions",
        "em": "EM [95%]",
        "searches": "searches per question",
        "documents_per_reply": "documents per reply",
        "words_per_document": "words per document",
        "answer_rate": "replies that hold a golden answer [95%]",
        "redundancy": "overlap of two documents of a reply",
    }
    lines = ["| | simulated | real |", "|---|---:|---:|"]
    lines += [f"| {label} | {_shown(simulated[key])} | {_shown(real[key])} |" for key, label in names.items()]
    difference = report["em_real_minus_simulated"]
    if difference:
        lines += ["", f"EM, real − simulated: {_shown(difference)}, p = {difference['p']:.4f}, n = {report['n']}."]
    lines.append(f"Overlap of the replies to the {report['shared_queries']} queries made on both sides: {_shown(report['overlap'])}.")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "–"
        case {"mean": float(mean), "low": float(low), "high": float(high)}:
            return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
        case int():
            return str(value)
        case _:
            return f"{value:.2f}"
