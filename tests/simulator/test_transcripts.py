"""Every search of every rollout, in order, none invented."""

import gzip
import json
from pathlib import Path

import pytest

from zerosearch.core.errors import BadFile
from zerosearch.core.scoring import normalise
from zerosearch.core.types import Document
from zerosearch.simulator.transcripts import read_transcripts, searches_of


def test_searches_of() -> None:
    text = (
        "Put it between <search> and </search>. <think>a</think><search>first, abandoned <search> Lima  country </search>.\n\n"
        "<information>Doc 1(Title: Lima) Lima lies in Peru.\nDoc 2: More.</information> <search>unanswered</search> "
        "<search></search><information>Doc 1: of nothing</information><information>Doc 1: imagined</information>"
        "<search>cut</search><information>Doc 1: cut off"
    )
    assert list(searches_of(text)) == [("Lima country", (Document("Lima lies in Peru.", title="Lima"), Document("More.")))]
    assert list(searches_of("<answer>x</answer>")) == []


def test_several_rollouts_of_a_question(tmp_path: Path) -> None:
    response = (
        "<search>a</search><information>Doc 1: x</information><search>b</search><information>Doc 1: y</information><answer>G</answer>"
    )
    row = {"id": "q", "question": "?", "golden_answers": ["g"], "response": response, "stop_reason": "stop"}
    file = tmp_path / "rollouts.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps(row | {"response": response.replace("G", "other")}) + "\n")
    found = read_transcripts(file)
    assert [(f.id, f.query, f.turn, f.answer, f.em) for f in found] == [
        ("q/0/0", "a", 0, "G", 1.0), ("q/0/1", "b", 1, "G", 1.0), ("q/1/0", "a", 0, "other", 0.0), ("q/1/1", "b", 1, "other", 0.0),
    ]  # fmt: skip


def test_no_search_at_all(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({"question": "?", "golden_answers": ["g"], "response": "<answer>g</answer>"}) + "\n")
    with pytest.raises(BadFile, match="none of its 1 rollouts has an answered search"):
        read_transcripts(tmp_path / "r.jsonl")


def test_the_375_real_rollouts(shared: Path) -> None:
    """Against their stored `searches`: as many, in order, with the same documents.

    In 7 of the 375 the stored query begins at "between <search> and </search>", where the policy speaks of the tags; ours at the tag of
    the search itself, and everything but that is equal.
    """
    rollouts = queries_with_a_mention = 0
    for file in sorted((shared / "data" / "trajectories").glob("*.jsonl.gz")):
        found = read_transcripts(file)
        with gzip.open(file, "rt") as lines:
            for row in map(json.loads, lines):
                rollouts += 1
                ours = [f for f in found if f.question.id == row["id"]]
                assert [f.turn for f in ours] == list(range(len(row["searches"])))
                for mine, stored in zip(ours, row["searches"], strict=True):
                    query = " ".join(stored["query"].split())
                    queries_with_a_mention += "<search>" in query
                    assert mine.query == query.rpartition("<search>")[2].strip()
                    assert len(mine.documents) == len(stored["docs"])
                    for document, wanted in zip(mine.documents, stored["docs"], strict=True):
                        assert normalise(f"{document.title} {document.text}") == normalise(f"{wanted['title']} {wanted['text']}")
                    assert mine.em == row["metric_score"]["em"]
    assert (rollouts, queries_with_a_mention) == (375, 7)
