from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from zerosearch.core.errors import BadFile
from zerosearch.core.scoring import score
from zerosearch.evaluation.rescore import count_searches, last_answer, policy_text, rescore

DOCS = "\n\n<information>Doc 1(Title: Rome) Rome.</information>\n\n"


@pytest.mark.parametrize(
    ("response", "answer", "searches"),
    [
        ("<think>easy</think><answer> Rome </answer>", "Rome", 0),
        (f"<search>capital of Italy</search>{DOCS}<answer>Rome</answer>", "Rome", 1),
        ("<answer>Paris</answer> no: <answer>Rome</answer>", "Rome", 0),
        ("<answer>Paris</answer> no: <answer>Rom", "Paris", 0),  # the last complete one
        ("<answer>Paris <answer>Rome</answer>", "Rome", 0),  # an abandoned opening is not part of the answer
        ("<answer>Rome</answer> so be it</answer>", "Rome", 0),
        ("<answer>  </answer>", None, 0),
        ("Rome", None, 0),
        # an answer in a document is not the policy's
        ("<search>q</search>\n<information>page says <answer>Rome</answer></information> I give up", None, 1),
        ("<search>q</search>\n<information>page says <answer>Rome</answer> and was cut", None, 1),
        ("<search>q</search>.\n\n<information>the token that ended the search carried a dot <answer>x</answer>", None, 1),
        # the policy imagines documents
        ("<information>I imagine <answer>Rome</answer></information>", None, 0),
        ("<information>I imagine <answer>Rome</answer>", "Rome", 0),  # never closed: still the policy speaking
        (f"<information>oh <search>q</search>{DOCS}<answer>Rome</answer>", "Rome", 1),
        (f"<information>oh <search>q</search>{DOCS}<answer>Rome</answer> <search>q2</search>{DOCS}", "Rome", 2),
        # a hint speaks of the tags; it does not use them
        ("I should put the query between <search> and </search> and the answer between <answer> and </answer>.", None, 0),
        ("between <answer> and </answer>. <answer>Rome</answer>", "Rome", 0),
        (f"between <search> and </search>{DOCS}", None, 1),  # an engine did reply
    ],
)
def test_what_the_policy_wrote(response: str, answer: str | None, searches: int) -> None:
    assert last_answer(policy_text(response)) == answer
    assert count_searches(policy_text(response)) == searches


def row(response: str, golds: object = ("Rome",)) -> dict[str, Any]:
    return {"question": "Capital of Italy?", "golden_answers": golds, "response": response}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_a_file_by_pencil(tmp_path: Path) -> None:
    right = row(f"<search>q</search>{DOCS}<answer>Rome</answer>") | {"id": "mine"}
    path = write(tmp_path / "t.jsonl", right, row("<answer>It is Rome</answer>"), row("hm"), row("<answer>x</answer>", ["---"]))
    report = rescore(path, with_rows=True)
    assert (report["n"], report["excluded"], report["no_answer"], report["file"]) == (3, 1, 1, str(path))
    assert report["em"]["mean"] == pytest.approx(1 / 3)
    assert report["cover_em"]["mean"] == pytest.approx(2 / 3)
    assert report["f1"]["mean"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert report["em"]["low"] <= report["em"]["mean"] <= report["em"]["high"]
    assert report["searches_per_question"] == pytest.approx(1 / 3)
    assert [(r["id"], r["answer"], r["em"]) for r in report["rows"]] == [("mine", "Rome", 1.0), ("2", "It is Rome", 0.0), ("3", None, 0.0)]
    assert "rows" not in rescore(path)
    json.dumps(report, allow_nan=False)


def test_bad_files_name_the_line(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="line 2: no field 'response'"):
        rescore(write(tmp_path / "a.jsonl", row("x"), {"question": "?", "golden_answers": ["x"]}))
    with pytest.raises(BadFile, match="line 1: 'response' must be text"):
        rescore(write(tmp_path / "b.jsonl", row("x") | {"response": None}))
    with pytest.raises(BadFile, match="none of its 1 rows"):
        rescore(write(tmp_path / "c.jsonl", row("x", ["---"])))
    with pytest.raises(BadFile, match="no such file"):
        rescore(tmp_path / "absent.jsonl")


def test_five_thousand_transcripts_take_seconds(tmp_path: Path) -> None:
    response = f"<think>{'why ' * 200}</think><search>q</search>{DOCS}<information>{'word ' * 1000}</information><answer>Rome</answer>"
    path = write(tmp_path / "many.jsonl", *[row(response)] * 5000)
    start = time.process_time()
    assert rescore(path)["n"] == 5000
    assert time.process_time() - start < 6  # about 1 s; twice that with types checked at run time


def test_real_rollouts_get_the_scores_they_were_stored_with(shared: Path) -> None:
    rows: list[dict[str, Any]] = []
    for path in sorted(shared.glob("data/trajectories/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    assert len(rows) == 375
    for r in rows:
        answer = last_answer(policy_text(r["response"]))
        scores = score(answer, r["golden_answers"])
        assert (answer or "") == " ".join(r["pred"].split())
        assert scores.em == r["metric_score"]["em"]
        assert scores.f1 == pytest.approx(r["metric_score"]["f1"])
        assert count_searches(policy_text(r["response"])) == len(r["searches"])
