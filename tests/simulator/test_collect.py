"""Real searches from the command line: kept, gone on with after kill -9, stopped by a budget; and out of stored transcripts."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from endpoint import Body, said, speaking
from forked import Forker
from zerosearch.cli import run

CITIES = {"Italy": "Rome", "France": "Paris", "Spain": "Madrid", "Peru": "Lima"}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    questions = [{"id": c, "question": f"What is the capital of {c}?", "golden_answers": [city]} for c, city in CITIES.items()]
    passages = [{"id": c, "title": c, "text": f"The capital of {c} is {city}, a large town."} for c, city in CITIES.items()]
    for name, rows in (("questions", questions), ("corpus", passages)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def reader(body: Body) -> str:
    text = said(body)
    if "<information>" not in text.split("Question:")[-1]:
        return f"<search>capital of {text.split('capital of ')[-1].split('?')[0]}</search>"
    return f"<answer>{text.split('Doc 1')[-1].split(' is ')[1].split(',')[0]}</answer>"


def command(world: Path, url: str, *more: str) -> list[str]:
    return [
        "collect", "--questions", str(world / "questions.jsonl"), "--policy", url, "--engine", "bm25",
        "--corpus", str(world / "corpus.jsonl"), "--out", str(world / "out"), "--concurrency", "1", *more,
    ]  # fmt: skip


def searches(world: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (world / "out" / "searches.jsonl").read_text().splitlines()]


def test_collect(world: Path) -> None:
    with speaking(reader) as server:
        assert run(command(world, server.url)) == 0
        asked = len(server.bodies)
        assert run(command(world, server.url)) == 0
        assert len(server.bodies) == asked  # nothing is asked twice
    rows = searches(world)
    assert [(r["id"], r["query"]) for r in rows] == [(f"{c}/0/0", f"capital of {c}") for c in CITIES]
    assert rows[0]["question"] == {"id": "Italy", "text": "What is the capital of Italy?", "golden_answers": ["Rome"]}
    assert rows[0]["documents"][0]["text"] == "The capital of Italy is Rome, a large town."
    assert rows[0]["outcome"] == {"answer": "Rome", "em": 1.0, "f1": 1.0, "stop_reason": "answered"}


def test_killed_it_goes_on(forker: Forker, world: Path) -> None:
    """kill -9 after two questions: what was asked by then is not asked again, and the end is as if nothing had happened."""
    with speaking(reader) as server:
        assert run(command(world, server.url)) == 0
        whole, asked = searches(world), len(server.bodies)
        os.rename(world / "out", world / "whole")

        slow = 0

        def slowly(body: Body) -> str:
            nonlocal slow
            slow += 1
            if slow > 4:
                time.sleep(1)
            return reader(body)

    with speaking(slowly) as server:
        timings = world / "out" / "rollouts" / "timings.jsonl"
        with forker.run(command(world, server.url)):
            deadline = time.monotonic() + 300
            while time.monotonic() < deadline and not (timings.exists() and timings.read_bytes().count(b"\n") >= 2):
                time.sleep(0.01)
        done = timings.read_bytes().count(b"\n")
        assert 2 <= done < len(CITIES)
        before, slow = len(server.bodies), -99
        assert run(command(world, server.url)) == 0
        assert len(server.bodies) - before == asked - 2 * done
    assert searches(world) == whole
    tape = [json.loads(line)["query"] for line in (world / "out" / "tape.jsonl").read_text().splitlines()]
    assert sorted(tape) == sorted(f"capital of {c}" for c in CITIES)  # each paid for once


def test_a_spent_budget_stops_and_more_of_it_goes_on(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(reader) as server:
        assert run(command(world, server.url, "--max-searches", "2")) == 1
        error = capsys.readouterr().err
        assert "the search budget is spent: 2 of max_searches = 2" in error and "What was found is kept" in error
        assert len(searches(world)) == 2
        assert run(command(world, server.url, "--max-searches", "4")) == 0
        assert len(searches(world)) == 4
        asked = len(server.bodies)
        tape = str(world / "out" / "tape.jsonl")
        replayed = [str(world / "again") if a == str(world / "out") else a for a in command(world, server.url, "--replay", tape)]
        assert run(replayed) == 0 and len(server.bodies) == 2 * asked - 2  # two turns a question; the spent one was asked one turn more
    assert (world / "again" / "searches.jsonl").read_text() == (world / "out" / "searches.jsonl").read_text()


def test_from_rollouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    response = "<search>a</search><information>Doc 1: x</information><answer>g</answer>"
    file = tmp_path / "rollouts.jsonl"
    file.write_text(json.dumps({"id": "q", "question": "?", "golden_answers": ["g"], "response": response}) + "\n")
    assert run(["collect", "--from-rollouts", str(file), "--out", str(tmp_path / "out"), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == {"searches": 1, "questions": 1, "failed": []}
    assert searches(tmp_path)[0]["documents"] == [{"text": "x", "title": "", "id": ""}]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "say what to collect"),
        (["--from-rollouts", "x", "--policy", "y"], "with --from-rollouts nothing is searched for"),
        (["--from-rollouts", "/nowhere.jsonl"], "no such file"),
        (["--questions", "/nowhere.jsonl", "--policy", "p", "--engine", "bm25", "--corpus", "c"], "no such file"),
    ],
)
def test_bad_options(options: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["collect", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_refusals(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(reader) as server:
        simulated = [a.replace("bm25", "simulated") for a in command(world, server.url, "--simulator", server.url)]
        assert run(simulated) == 2
        assert "collect needs a real engine" in capsys.readouterr().err
        assert run(command(world, server.url)) == 0
        assert run(command(world, server.url, "--limit", "2")) == 2
    assert "was begun with fingerprint" in capsys.readouterr().err
    mistyped = ["/nowhere" if a == server.url else str(world / "new") if a == str(world / "out") else a for a in command(world, server.url)]
    assert run(mistyped) == 2 and not (world / "new").exists()
    assert "there is no folder '/nowhere'" in capsys.readouterr().err
    (world / "bare.jsonl").write_text('{"id": "1", "question": "?"}\n')
    assert run(["collect", "--questions", str(world / "bare.jsonl"), "--policy", "p", "--out", str(world / "new")]) == 2
    assert "no field 'golden_answers'" in capsys.readouterr().err
