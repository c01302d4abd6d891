"""An evaluation from the command line: killed and begun again, repeated, refused; against a real server and real BM25."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from endpoint import Body, said, speaking
from zerosearch.cli import run

CITIES = {"Italy": "Rome", "France": "Paris", "Spain": "Madrid", "Peru": "Lima", "Japan": "Tokyo", "Chile": "Santiago"}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Six questions that BM25 over six passages answers."""
    (tmp_path / "capitals.jsonl").write_text(
        "".join(
            json.dumps({"id": country, "question": f"What is the capital of {country}?", "golden_answers": [city]}) + "\n"
            for country, city in CITIES.items()
        )
    )
    (tmp_path / "corpus.jsonl").write_text(
        "".join(
            json.dumps({"id": c, "title": c, "text": f"The capital of {c} is {city}, a large town."}) + "\n" for c, city in CITIES.items()
        )
    )
    return tmp_path


def reader(body: Body) -> str:
    """Searches, then answers with what the first document says."""
    text = said(body)
    if "<information>" not in text.split("Question:")[-1]:
        country = text.split("capital of ")[-1].split("?")[0]
        return f"<think>look it up</think><search>capital of {country}</search>"
    return f"<answer>{text.split('Doc 1')[-1].split(' is ')[1].split(',')[0]}</answer>"


def evaluate(world: Path, url: str, out: str = "out", *more: str) -> list[str]:
    return [
        "evaluate", "--benchmark", str(world / "capitals.jsonl"), "--policy", url, "--engine", "bm25",
        "--corpus", str(world / "corpus.jsonl"), "--out", str(world / out), "--json", "-", *more,
    ]  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / "trajectories.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def test_the_summary_says_it_all(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(reader) as server:
        assert run(evaluate(world, server.url)) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["benchmark"], result["agent"], result["n"], result["failed"]) == ("capitals", "zerosearch", 6, 0)
    assert result["em"] == {"mean": 1.0, "low": 1.0, "high": 1.0} and result["searches"] == 1.0
    assert result["policy_model"] == "tiny" and result["engine"]["kind"] == "bm25"
    cost = result["cost"]
    assert cost["searches"] == 6 and cost["prompt_tokens"] > cost["new_tokens"] > 0 and cost["wall_s"] > 0
    assert cost["unpriced"] == ["tokens of tiny"]
    summary = json.loads((world / "out" / "summary.json").read_text())
    assert summary == {key: value for key, value in result.items() if key != "cost"}
    first = rows(world / "out")[0]
    assert [s["author"] for s in first["spans"]] == ["prompt", "policy", "environment", "policy"]
    assert first["answer"] == "Rome" and first["searches"][0]["documents"][0]["title"] == "Italy" and first["usage"]["calls"] == 2


def test_repeated_it_gives_the_same_bytes(world: Path) -> None:
    with speaking(reader) as server:
        for out, concurrency in (("a", "1"), ("b", "6")):
            assert run(evaluate(world, server.url, out, "--concurrency", concurrency)) == 0
    for name in ("trajectories.jsonl.gz", "summary.json", "evaluation.json"):
        assert (world / "a" / name).read_bytes() == (world / "b" / name).read_bytes()


def test_nothing_is_asked_twice(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(reader) as server:
        assert run(evaluate(world, server.url)) == 0
        before, asked = (world / "out" / "trajectories.jsonl.gz").read_bytes(), len(server.bodies)
        assert run(evaluate(world, server.url)) == 0
    assert len(server.bodies) == asked and (world / "out" / "trajectories.jsonl.gz").read_bytes() == before


def test_killed_it_goes_on(world: Path) -> None:
    """kill -9 after the third answer; what was asked by then is not asked again, and the end is as if nothing had happened."""
    delay = 0.0

    def slowly(body: Body) -> str:
        time.sleep(delay)
        return reader(body)

    with speaking(slowly) as server:
        assert run(evaluate(world, server.url, "whole")) == 0
        command = [sys.executable, "-m", "zerosearch", *evaluate(world, server.url, "killed", "--concurrency", "1")]
        delay = 0.15
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        timings = world / "killed" / "timings.jsonl"
        deadline = time.monotonic() + 300  # it only has to start, but the machine may be busy
        while time.monotonic() < deadline and not (timings.exists() and timings.read_bytes().count(b"\n") >= 3):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = timings.read_bytes().count(b"\n")
        assert 3 <= done < 6
        with (world / "killed" / "trajectories.jsonl.gz").open("ab") as file:
            file.write(gzip.compress(b'{"half": ')[:-9])  # a kill in the middle of a row
        delay, before = 0.0, len(server.bodies)
        assert run(evaluate(world, server.url, "killed", "--concurrency", "1")) == 0
        assert len(server.bodies) - before == 2 * (6 - done)
    for name in ("trajectories.jsonl.gz", "summary.json"):
        assert (world / "whole" / name).read_bytes() == (world / "killed" / name).read_bytes()


def test_failed_questions_are_listed_and_asked_again(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = True

    def sometimes(body: Body) -> str | web.Response:
        return web.Response(status=400, text="too long") if broken and "of Peru?" in said(body) else reader(body)

    with speaking(sometimes) as server:
        assert run(evaluate(world, server.url)) == 1
        captured = capsys.readouterr()
        result = json.loads(captured.out)
        assert (result["n"], result["failed"], result["em"]["mean"]) == (5, 1, 1.0)
        (failure,) = result["failures"]
        assert failure["id"] == "Peru" and failure["stop_reason"] == "policy_failed" and "status 400: too long" in failure["cause"]
        last = captured.err.splitlines()[-1]
        assert "1 question failed, the first ('Peru') with policy_failed" in last and "asks them again" in last
        broken, before = False, len(server.bodies)
        assert run(evaluate(world, server.url)) == 0
        assert len(server.bodies) - before == 2
    assert json.loads(capsys.readouterr().out)["failures"] == []


def test_another_configuration_is_refused(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(reader) as server:
        assert run(evaluate(world, server.url)) == 0
        capsys.readouterr()
        for more, named in (
            (["--agent", "direct"], 'agent = "zerosearch"'),
            (["--seed", "3"], "seed = 0"),
            (["--temperature", "1"], "temperature = 0.0"),
            (["--limit", "3"], "questions = 6"),
            (["--policy-style", "completions"], 'policy_style = "chat"'),
        ):
            assert run(evaluate(world, server.url, "out", *more)) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert f"was begun with {named}" in line and "another --out" in line
        (world / "other").mkdir()
        (world / "other" / "thesis.tex").write_text("mine")
        assert run(evaluate(world, server.url, "other")) == 2
        assert "holds something else" in capsys.readouterr().err


@pytest.mark.parametrize("agent", ["zerosearch", "direct", "cot", "rag", "ra-agent", "search-o1", "r1"])
@pytest.mark.parametrize("style", ["chat", "completions"])
def test_every_agent_in_both_styles(agent: str, style: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(body: Body) -> str:
        if "What helps:" in said(body):
            return "The capital is Rome, it says."
        searched = "</search>" in said(body).split("Question:")[-1]  # the prompt itself speaks of the tags
        return "<answer>Rome</answer>" if agent in ("direct", "cot", "r1", "rag") or searched else "<search>capital</search>"

    with speaking(answer) as server:
        assert run(evaluate(world, server.url, "out", "--agent", agent, "--policy-style", style, "--policy-model", "big")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["em"]["mean"] == pytest.approx(1 / 6) and result["n"] == 6
    assert result["searches"] == (0 if agent in ("direct", "cot", "r1") else 1)
    assert all(body["model"] == "big" for body in server.bodies)
    assert all(("messages" in body) == (style == "chat") for body in server.bodies)


def test_a_server_that_fails_at_everything(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(lambda body: web.Response(status=401, text="who are you?")) as server:
        assert run(evaluate(world, server.url)) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "none of 6 questions could be scored" in line and "status 401" in line and "OPENAI_API_KEY" in line
    assert json.loads((world / "out" / "summary.json").read_text())["failed"] == 6


def test_nobody_there_is_said_before_anything_is_written(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(evaluate(world, "http://127.0.0.1:9/v1")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "connection refused" in line and "is the server running?" in line
    assert not (world / "out").exists()


def wrong(world: Path) -> dict[str, tuple[list[str], str]]:
    benchmark = ["--benchmark", str(world / "capitals.jsonl")]
    corpus = ["--engine", "bm25", "--corpus", str(world / "corpus.jsonl")]
    url = ["--policy", "http://127.0.0.1:9/v1", "--policy-model", "m"]
    return {
        "benchmark": (["evaluate", "--benchmark", "hotpot", *url, *corpus], "did you mean 'hotpotqa'?"),
        "agent": (["evaluate", *benchmark, *url, *corpus, "--agent", "search-o2"], "did you mean 'search-o1'?"),
        "style": (["evaluate", *benchmark, *url, *corpus, "--policy-style", "complete"], "did you mean 'completions'?"),
        "prompt": (["evaluate", *benchmark, *url, *corpus, "--agent", "rag", "--prompt", str(world / "prompt.txt")], "{documents}"),
        "distil": (["evaluate", *benchmark, *url, *corpus, "--agent", "search-o1", "--distil-prompt", "x"], "is no file"),
        "engine": (["evaluate", *benchmark, *url], "say what to search"),
        "prices": (["evaluate", *benchmark, *url, *corpus, "--prices", str(world / "prompt.txt")], "no valid TOML"),
        "compare": (["compare", str(world)], "holds neither an evaluation nor a training run"),
        "cost": (["cost", str(world / "nowhere")], "holds neither a training run nor an evaluation"),
        "gap": (["gap", *benchmark, *url, "--simulator", "./nowhere", "--corpus", str(world / "corpus.jsonl")], "nowhere"),
    }


@pytest.mark.parametrize("name", ["benchmark", "agent", "style", "prompt", "distil", "engine", "prices", "compare", "cost", "gap"])
def test_wrong_input_ends_in_one_line(name: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "prompt.txt").write_text("Just answer {question} =")
    arguments, told = wrong(world)[name]
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_prompt_from_a_file_reaches_the_policy(world: Path) -> None:
    (world / "prompt.txt").write_text("Hey. {question} Use tags.")
    with speaking(lambda body: "<answer>Rome</answer>") as server:
        assert run(evaluate(world, server.url, "out", "--agent", "cot", "--prompt", str(world / "prompt.txt"))) == 0
    assert server.bodies[0]["messages"][0]["content"].startswith("Hey. What is the capital of")


def test_ask_an_endpoint(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(reader) as server:
        command = ["ask", "What is the capital of Peru?", "--policy", server.url, "--corpus", str(world / "corpus.jsonl"), "--json", "-"]
        assert run(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["answer"] == "Lima" and result["searches"][0]["query"] == "capital of Peru"


def test_gap_between_a_simulated_engine_and_bm25(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def policy_or_simulator(body: Body) -> str:
        text = said(body)
        if not text.startswith("You stand in for "):
            return reader(body)
        city = "nowhere" if "Query: capital of Peru" in text else text.rsplit("Answer: ", 1)[1].split("\n")[0]
        return "\n".join(f"Doc {i}: The capital is {city}, they say." for i in range(1, 6))

    with speaking(policy_or_simulator) as server:
        command = evaluate(world, server.url, "gap")
        assert run(["gap", *command[1:], "--simulator", server.url]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["simulated"]["em"]["mean"] == pytest.approx(5 / 6) and report["real"]["em"]["mean"] == 1.0
    assert report["simulated"]["answer_rate"]["mean"] == pytest.approx(5 / 6) and report["real"]["answer_rate"]["mean"] == 1.0
    assert report["em_real_minus_simulated"]["mean"] == pytest.approx(1 / 6)
    assert report["simulated"]["redundancy"] == 1.0 and report["shared_queries"] == 6 and 0 < report["overlap"]["mean"] < 1
    assert (world / "gap" / "simulated" / "summary.json").exists() and (world / "gap" / "real" / "summary.json").exists()


def test_compare_and_cost_after_evaluate(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guess: Callable[[Body], str] = lambda body: "<answer>Rome</answer>"  # noqa: E731
    for out, agent, answer in (("a", "direct", guess), ("b", "zerosearch", reader)):
        with speaking(answer) as server:
            assert run(evaluate(world, server.url, out, "--agent", agent)) == 0
    capsys.readouterr()
    assert run(["compare", str(world / "a"), str(world / "b"), "--json", str(world / "table.json")]) == 0
    printed = capsys.readouterr().out
    assert "| capitals | direct | 6 | 0.167 [" in printed and "| capitals | zerosearch − direct | 6 | +0.833 [" in printed
    table = json.loads((world / "table.json").read_text())
    assert [row["label"] for row in table["rows"]] == ["direct", "zerosearch"]
    (pair,) = table["pairs"]
    assert pair["em"]["mean"] == pytest.approx(5 / 6) and pair["em"]["p"] < 0.05 and pair["n"] == 6 and pair["searches"] == 1.0

    (world / "prices.toml").write_text(PRICES)
    assert run(["cost", str(world / "b"), "--prices", str(world / "prices.toml"), "--queries", "600", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    tokens = report["prompt_tokens"] * 1 / 1e6 + report["new_tokens"] * 2 / 1e6
    assert report["usd"]["tokens"] == pytest.approx(tokens, abs=1e-6) and report["unpriced"] == []
    assert report["api_usd"] == {"google": pytest.approx(0.06)} and report["projected"]["api_usd"] == {"google": 6.0}
    assert run(["cost", str(world / "b")]) == 0
    assert "| paper: serpapi, 64,000 queries | | $586.67 |" in capsys.readouterr().out


PRICES = """
[usd_per_1000_searches]
bm25 = 0
google = 10
[usd_per_hour]
cpu_core = 0
gpu = 1
[usd_per_million_tokens]
tiny = { prompt = 1, new = 2 }
[paper]
queries = 100
api = "google"
hours = 1
gpus = { "3B" = 1 }
"""
