"""Useful or noisy: the labellers, their agreement, a judge that fails in every way, and going on after it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from endpoint import Body, said, speaking
from zerosearch.cli import run
from zerosearch.core.types import Document, Quality, Question
from zerosearch.simulator.judge import read_verdict
from zerosearch.simulator.label import by_answer, by_outcome, cohens_kappa, combine, read_labelled
from zerosearch.simulator.searches import SearchesDirectory, SearchExample


def found(name: str, text: str, golds: tuple[str, ...] = ("Peru",), em: float | None = 0.0) -> SearchExample:
    return SearchExample(name, Question("q", "Where is Lima?", golds), "Lima", (Document(text),), 0, "x", em, em, "answered")


SEARCHES = [
    found("a", "Lima lies in Peru.", em=1.0),
    found("b", "Lima is a bean.", em=1.0),
    found("c", "Peru it is."),
    found("d", "Nothing."),
    found("e", "yes and no", golds=("yes",)),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    target = SearchesDirectory(tmp_path / "searches")
    target.begin({"from_rollouts": "x"})
    target.write_searches(SEARCHES)
    return target.path


def test_kappa_by_pencil() -> None:
    assert cohens_kappa("uuuunn", "uuunnn") == pytest.approx(2 / 3)
    assert cohens_kappa("unun", "unun") == 1
    assert cohens_kappa("uunn", "unun") == 0  # half are equal, half would be by chance
    assert cohens_kappa("un", "nu") == -1
    assert cohens_kappa("", "") is None and cohens_kappa("uu", "uu") is None


def test_rules() -> None:
    assert [by_answer(f).quality for f in SEARCHES] == [Quality.USEFUL, Quality.NOISY, Quality.USEFUL, Quality.NOISY, None]
    assert [by_outcome(f).quality for f in SEARCHES[:3]] == [Quality.USEFUL, Quality.USEFUL, Quality.NOISY]
    assert by_outcome(found("f", "", em=None)).quality is None


@pytest.mark.parametrize(("combination", "labels"), [("agree", "un"), ("all", "unnn"), ("any", "uuun")])
def test_combinations(combination: str, labels: str) -> None:
    said = {"answer": {f.id: by_answer(f) for f in SEARCHES}, "outcome": {f.id: by_outcome(f) for f in SEARCHES}}
    labelling = combine(SEARCHES, said, combination)
    assert "".join(v.quality[0] for v in labelling.final.values() if v.quality) == labels
    report = labelling.report()
    assert report["agreement"]["answer, outcome"] == {"kappa": 0.0, "equal": 0.5, "n": 4}
    assert report["labellers"]["answer"]["causes"] == {"the golden answer is a yes or no": 1}


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ('{"reason": "It names Peru.", "verdict": "useful"}', (Quality.USEFUL, "It names Peru.")),
        ('Sure!\n```json\n{"verdict": "Noisy", "reason": "no  country"}\n```', (Quality.NOISY, "no country")),
        ('{"verdict": "useful"} no, wait: {"verdict": "noisy"}', (Quality.NOISY, "")),
        ("The documents are useful.", None),
        ('{"verdict": "perhaps"}', None),
        ('{"verdict": ["useful"]} {broken', None),
        ("", None),
    ],
)
def test_read_verdict(reply: str, verdict: tuple[Quality, str] | None) -> None:
    assert read_verdict(reply) == verdict


def labels(directory: Path, name: str = "labels") -> dict[str, Any]:
    return {row["id"]: row["quality"] for row in map(json.loads, (directory / f"{name}.jsonl").read_text().splitlines())}


def test_by_answer_and_outcome(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["label", str(directory), "--by", "answer,outcome", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["labels"]["useful"] == 1 and report["labels"]["noisy"] == 1 and report["balanced_pairs"] == 2
    assert labels(directory) == {"a": "useful", "b": None, "c": None, "d": "noisy", "e": None}
    assert json.loads((directory / "labels.json").read_text()) == report
    assert [p.quality for p in read_labelled(SearchesDirectory(directory))] == [Quality.USEFUL, Quality.NOISY]


def test_a_judge_that_dies_half_way_is_gone_on_with(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aiohttp import web

    alive = 2

    def judge(body: Body) -> str | web.Response:
        nonlocal alive
        alive -= 1
        if alive < 0:
            return web.Response(status=400, text="gone")
        return json.dumps({"reason": "r", "verdict": "useful" if "Peru" in said(body).split("Documents:")[-1] else "noisy"})

    with speaking(judge) as server:
        command = ["label", str(directory), "--by", "judge,answer", "--judge", server.url, "--concurrency", "1", "--json", "-"]
        assert run(command) == 1
        assert "the judge failed after 2 of 5 searches" in capsys.readouterr().err
        with (directory / "label.judge.jsonl").open("a") as file:
            file.write('{"id": "c", "qual')  # what a kill leaves
        alive, before = 9, len(server.bodies)
        assert run(command) == 0
        assert len(server.bodies) - before == 3  # nothing asked twice
    report = json.loads(capsys.readouterr().out)
    assert report["agreement"]["judge, answer"] == {"kappa": 1.0, "equal": 1.0, "n": 4}
    assert labels(directory, "label.judge") == {"a": "useful", "b": "noisy", "c": "useful", "d": "noisy", "e": "noisy"}


def test_killed_it_goes_on(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """kill -9 while the third search is judged: the first two are not judged again, and the labels are those of a judge left in peace."""
    slow = 0

    def judge(body: Body) -> str:
        nonlocal slow
        slow += 1
        if slow > 2:
            time.sleep(1)
        return json.dumps({"reason": "r", "verdict": "useful" if "Peru" in said(body).split("Documents:")[-1] else "noisy"})

    with speaking(judge) as server:
        command = ["label", str(directory), "--by", "judge", "--judge", server.url, "--concurrency", "1", "--json", "-"]
        started = subprocess.Popen([sys.executable, "-m", "zerosearch", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline, verdicts = time.monotonic() + 300, directory / "label.judge.jsonl"
        while time.monotonic() < deadline and not (verdicts.exists() and verdicts.read_bytes().count(b"\n") >= 2):
            time.sleep(0.01)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        done = verdicts.read_bytes().count(b"\n")
        assert 2 <= done < len(SEARCHES)
        time.sleep(1.1)  # what was asked when it was killed is answered to nobody
        before, slow = len(server.bodies), -99
        assert run(command) == 0
        assert len(server.bodies) - before == len(SEARCHES) - done
    capsys.readouterr()
    assert labels(directory, "label.judge") == {"a": "useful", "b": "noisy", "c": "useful", "d": "noisy", "e": "noisy"}


def test_a_judge_in_prose_is_counted_not_guessed(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(lambda body: "These documents look useful to me.") as server:
        assert run(["label", str(directory), "--by", "judge", "--judge", server.url, "--json", "-"]) == 0
        assert len(server.bodies) == 15  # three tries each
    judged = json.loads(capsys.readouterr().out)["labellers"]["judge"]
    assert judged == {"useful": 0, "noisy": 0, "unlabelled": 5, "causes": {"no verdict in 3 replies": 5}}


def test_a_judge_may_be_asked_about_a_sample(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(lambda body: '{"verdict": "noisy"}') as server:
        assert run(["label", str(directory), "--by", "judge,answer", "--judge", server.url, "--judge-sample", "2", "--json", "-"]) == 0
        assert len(server.bodies) == 2
    assert json.loads(capsys.readouterr().out)["labellers"]["judge"]["causes"] == {"not in the judge's sample": 3}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--by", "judge"], "--by judge needs --judge URL"),
        (["--by", "anser"], "did you mean 'answer'?"),
        (["--by", "answer,answer"], "names a labeller twice"),
        (["--combine", "al"], "did you mean 'all'?"),
    ],
)
def test_bad_options(options: list[str], complaint: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["label", str(directory), *options]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


def test_bad_directories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["label", str(tmp_path)]) == 2
    assert "has no searches.jsonl; make it with: zerosearch collect" in capsys.readouterr().err
    (tmp_path / "searches.jsonl").write_text('{"id": "a"}\n')
    assert run(["label", str(tmp_path)]) == 2
    assert "line 1: not a search" in capsys.readouterr().err
