"""Real searches in a file, a JSON object per line: what a simulator is labelled, tuned and measured on.

    {"id": "q7/0/1", "question": {"id": "q7", "text": …, "golden_answers": […]}, "query": …, "turn": 1,
     "documents": [{"text": …, "title": …, "id": …}], "outcome": {"answer": …, "em": 0.0, "f1": 0.4, "stop_reason": …}}

DIR/
├── collect.json            where the searches come from; restarted with any other origin, the directory is refused
├── rollouts/               collected by a policy: an evaluation's directory, a row per question as soon as it is done
├── tape.jsonl              collected by a policy: every search that was paid for (engines/search_log.py)
├── searches.jsonl          the searches, in the order of the questions
├── label.LABELLER.jsonl    one labeller's verdicts
├── labels.jsonl            the joint labels
└── labels.json             counts, agreement, balance
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from zerosearch.core.errors import BadFile
from zerosearch.core.types import Document, Question
from zerosearch.data.files import begin_folder, write_atomically
from zerosearch.data.questions import read_objects


@dataclass(frozen=True, slots=True)
class SearchExample:
    """One search against a real engine. `turn` counts the searches of its rollout from 0.

    `em` and `f1` are the scores of the rollout's answer, None when it was never scored.
    """

    id: str
    question: Question
    query: str
    documents: tuple[Document, ...]
    turn: int
    answer: str | None
    em: float | None
    f1: float | None
    stop_reason: str

    def as_row(self) -> dict[str, Any]:
        q = self.question
        return {
            "id": self.id,
            "question": {"id": q.id, "text": q.text, "golden_answers": list(q.golden_answers)},
            "query": self.query,
            "turn": self.turn,
            "documents": [document.as_json() for document in self.documents],
            "outcome": {"answer": self.answer, "em": self.em, "f1": self.f1, "stop_reason": self.stop_reason},
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        question, outcome = row["question"], row["outcome"]
        return cls(
            id=str(row["id"]),
            question=Question(str(question["id"]), str(question["text"]), tuple(map(str, question["golden_answers"]))),
            query=str(row["query"]),
            documents=tuple(Document(str(d["text"]), str(d["title"]), str(d["id"])) for d in row["documents"]),
            turn=int(row["turn"]),
            answer=outcome["answer"],
            em=outcome["em"],
            f1=outcome["f1"],
            stop_reason=str(outcome["stop_reason"]),
        )


class SearchesDirectory:
    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.origin = self.path / "collect.json"
        self.rollouts = self.path / "rollouts"
        self.recording = self.path / "tape.jsonl"
        self.searches = self.path / "searches.jsonl"
        self.labels = self.path / "labels.jsonl"
        self.label_report = self.path / "labels.json"

    def said_by(self, labeller: str) -> Path:
        return self.path / f"label.{labeller}.jsonl"

    def begin(self, origin: Mapping[str, Any]) -> None:
        """Create the directory, or resume it.

        Raises BadConfig if it was begun from another origin, BadFile if it cannot be written.
        """
        try:
            begin_folder(self.origin, origin, "searches")
        except OSError as error:
            raise BadFile(f"cannot write '{error.filename or self.path}' ({error.strerror}); choose another --out.") from error

    def write_searches(self, found: Iterable[SearchExample]) -> None:
        write_atomically(self.searches, "".join(json.dumps(f.as_row()) + "\n" for f in found))

    def read_searches(self) -> list[SearchExample]:
        """Raises BadFile if there are none, or one is malformed (names the line)."""
        if not self.searches.exists():
            raise BadFile(f"'{self.path}' has no searches.jsonl; make it with: zerosearch collect --out {self.path}.")
        if not self.searches.stat().st_size:
            raise BadFile(f"{self.searches} has no searches; collect some first.")
        found: list[SearchExample] = []
        for line, row in read_objects(self.searches):
            try:
                found.append(SearchExample.from_row(row))
            except (KeyError, TypeError, ValueError) as error:
                raise BadFile(f"{self.searches}, line {line}: not a search ({type(error).__name__}: {error}); collect again.") from error
        return found
