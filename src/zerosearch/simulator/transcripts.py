"""Searches from stored transcripts: JSON lines of question, golden_answers and response, or our own rollouts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zerosearch.core.errors import BadFile, BadInput
from zerosearch.core.scoring import score
from zerosearch.core.types import Document, Question, Scores
from zerosearch.data.questions import golds_field, read_objects, text_field
from zerosearch.engines.documents import parse_documents
from zerosearch.evaluation.rescore import last_answer, policy_text
from zerosearch.simulator.searches import SearchExample

# a search and what the environment appended right after it; punctuation may follow in the token that closed the search. A search
# without a reply found nothing, and a block that was cut off is not what the engine returned.
_REPLY = re.compile(r"</search>[^\w<]*<information>(?P<documents>.*?)</information>", re.DOTALL)
_MOST_DOCUMENTS = 100


def searches_of(response: str) -> Iterator[tuple[str, tuple[Document, ...]]]:
    """(query, documents) of every search that was answered, in order.

    As in `grammar.parse_turn`, the query begins at the last opening tag before the closing one.
    """
    read_to = 0
    for match in _REPLY.finditer(response):
        _, opened, query = response[read_to : match.start()].rpartition("<search>")
        read_to, query = match.end(), " ".join(query.split())
        if opened and query:
            yield query, parse_documents(match["documents"], _MOST_DOCUMENTS).documents


def read_transcripts(path: Path) -> list[SearchExample]:
    """Every search of every rollout, in the order of the file. Raises BadFile, naming the line, or if there is no search at all."""
    found: list[SearchExample] = []
    seen: dict[str, int] = {}
    rows = 0
    for line, row in read_objects(path):
        rows += 1
        rollout = searches_in_row(row) if "spans" in row and "searches" in row else _foreign(row, path, line)
        question = rollout[0].question if rollout else None
        if question is not None:
            sample = seen[question.id] = seen.get(question.id, -1) + 1  # a file may hold several rollouts of a question
            found += [replace(f, id=f"{question.id}/{sample}/{f.turn}") for f in rollout]
    if not found:
        raise BadFile(f"{path}: none of its {rows} rollouts has an answered search (<search>…</search><information>…).")
    return found


def _foreign(row: Mapping[str, Any], path: Path, line: int) -> list[SearchExample]:
    text, golds = text_field(row, "question", path, line), golds_field(row, path, line)
    response = text_field(row, "response", path, line)
    question = Question(str(row.get("id", line)), text, golds)
    answer = last_answer(policy_text(response))
    try:
        scores: Scores | None = score(answer, golds)
    except BadInput:  # golds that normalise to nothing: the outcome is unknown, but the searches are kept
        scores = None
    stop = str(row.get("stop_reason", ""))
    return [
        SearchExample("", question, query, documents, turn, answer, scores.em if scores else None, scores.f1 if scores else None, stop)
        for turn, (query, documents) in enumerate(searches_of(response))
    ]


def searches_in_row(row: Mapping[str, Any]) -> list[SearchExample]:
    """The searches of a row of `trajectories.jsonl.gz`, except those answered by a simulator."""
    question = row["question"]
    scores = row["scores"] or {"em": None, "f1": None}
    real = [s for s in row["searches"] if s["quality"] is None]
    return [
        SearchExample(
            id=f"{question['id']}/{row['sample']}/{turn}",
            question=Question(question["id"], question["text"], tuple(question["golden_answers"])),
            query=search["query"],
            documents=tuple(Document(d["text"], d["title"], d["id"]) for d in search["documents"]),
            turn=turn,
            answer=row["answer"],
            em=scores["em"],
            f1=scores["f1"],
            stop_reason=row["stop_reason"],
        )
        for turn, search in enumerate(real)
    ]
