"""The gap report by pencil."""

from typing import Any

import pytest

from zerosearch.evaluation.sim_vs_real import as_markdown, gap


def row(i: int, em: float, query: str, *documents: str) -> dict[str, Any]:
    return {
        "question": {"id": f"q{i}", "text": "?", "golden_answers": ["Rome"]},
        "scores": {"em": em, "cover_em": em, "f1": em},
        "answer": "x",
        "searches": [{"query": query, "documents": [{"id": "", "title": "", "text": d} for d in documents]}],
        "usage": {"calls": 1, "prompt_tokens": 1, "new_tokens": 1},
        "stop_reason": "answered",
        "cause": "",
        "type": None,
        "hops": None,
    }


def test_by_pencil() -> None:
    simulated = [row(1, 1.0, "capital of Italy", "Rome is big", "Rome is old"), row(2, 0.0, "a", "Romeo loves")]
    real = [row(1, 0.0, "capital  of Italy", "Italy is big"), row(2, 0.0, "b", "Rome")]
    report = gap(simulated, real)
    assert report["simulated"]["documents_per_reply"] == 1.5 and report["simulated"]["words_per_document"] == pytest.approx(8 / 3)
    assert report["simulated"]["answer_rate"]["mean"] == 0.5  # Romeo is not Rome
    assert report["simulated"]["redundancy"] == pytest.approx(2 / 4)  # {rome, is} of {rome, is, big, old}
    assert report["real"]["redundancy"] is None
    # one query was met by both: {rome, is, big, old} and {italy, is, big}
    assert report["shared_queries"] == 1 and report["overlap"]["mean"] == pytest.approx(2 / 5)
    assert report["em_real_minus_simulated"]["mean"] == -0.5 and report["n"] == 2
    text = as_markdown(report)
    assert "| documents per reply | 1.50 | 1.00 |" in text and "| overlap of two documents of a reply | 0.50 | – |" in text


def test_an_agent_that_never_searched() -> None:
    rows = [row(1, 1.0, "q") | {"searches": []}]
    report = gap(rows, rows)
    assert report["overlap"] is None and report["simulated"]["answer_rate"] is None
    assert "0 queries made on both sides: –." in as_markdown(report)
