from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from zerosearch.core.errors import BadFile, BadInput
from zerosearch.core.types import Question
from zerosearch.data.questions import load_questions

ROME: dict[str, Any] = {"id": "q1", "question": "Capital of Italy?", "golden_answers": ["Rome", "Roma"], "source": "pencil"}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def numbered(n: int) -> list[dict[str, Any]]:
    return [ROME | {"id": f"q{i}"} for i in range(n)]


def test_a_question_and_its_metadata(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", ROME)
    assert load_questions(path) == [Question("q1", "Capital of Italy?", ("Rome", "Roma"), {"source": "pencil"})]


def test_gzip_a_bare_gold_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl.gz"
    path.write_bytes(gzip.compress(("\n" + json.dumps(ROME | {"golden_answers": "Rome"}) + "\n\n").encode()))
    assert load_questions(path)[0].golden_answers == ("Rome",)


def test_limit_takes_the_first_and_a_seed_samples_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", *numbered(50))
    assert [q.id for q in load_questions(path, limit=3)] == ["q0", "q1", "q2"]
    sample = [int(q.id[1:]) for q in load_questions(path, limit=10, seed=1)]
    assert len(set(sample)) == 10 and sample == sorted(sample) != list(range(10))
    assert sample == [int(q.id[1:]) for q in load_questions(path, limit=10, seed=1)]
    assert len(load_questions(path, limit=99, seed=1)) == 50
    with pytest.raises(BadInput, match="limit must be at least 1, received 0"):
        load_questions(path, limit=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "line 2: not JSON, received '{not json'"),
        ("[1]", "line 2: received a list instead of a JSON object"),
        ({"id": "q2", "golden_answers": ["x"]}, "line 2: no field 'question'; the fields are golden_answers, id"),
        ({"id": "q2", "question": "?"}, "line 2: no field 'golden_answers'"),
        ({"question": "?", "golden_answers": ["x"]}, "line 2: no field 'id'"),
        ({"id": 2, "question": "?", "golden_answers": ["x"]}, "line 2: 'id' must be text, received '2'"),
        ({"id": "q2", "question": "?", "golden_answers": []}, "line 2: 'golden_answers' is empty"),
        ({"id": "q2", "question": "?", "golden_answers": [1]}, "line 2: 'golden_answers' must be a list of text"),
        ({"id": "q2", "question": "?", "golden_answers": None}, "line 2: 'golden_answers' must be a list of text"),
        ({"id": "q2", "question": "?", "golden_answers": ["---"]}, "line 2: no golden answer is left"),
        (ROME, "line 2: id 'q1' is already on line 1"),
    ],
)
def test_a_bad_line_is_one_helpful_line(tmp_path: Path, line: object, message: str) -> None:
    path = write(tmp_path / "q.jsonl", ROME, line)
    with pytest.raises(BadFile) as caught:
        load_questions(path)
    assert f"{path}, {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such file"):
        load_questions(tmp_path / "absent.jsonl")
    with pytest.raises(BadFile, match="the file is empty"):
        load_questions(write(tmp_path / "empty.jsonl"))
    with pytest.raises(BadFile, match="cannot be read"):
        load_questions(tmp_path)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps(ROME).encode())[:-12])
    with pytest.raises(BadFile, match="is the file whole"):
        load_questions(cut)
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(BadFile, match="line 1: not JSON"):
        load_questions(binary)
