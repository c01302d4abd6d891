"""`zerosearch index`, `search` and `recall` as a user meets them, and engine options wherever they are taken."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search_server import KEY, SearchServer, serving
from tiny_encoder import write_encoder
from zerosearch.cli import run
from zerosearch.cli.options import engine_table, takes

PASSAGES = ["paris is the capital of france", "lyon is a city", "rome is the capital of italy", "rivers run"]


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "title": text.split()[0], "text": text}) + "\n" for i, text in enumerate(PASSAGES)))
    return str(file)


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    return str(write_encoder(tmp_path / "tiny", " ".join(PASSAGES).split(), positions=256))


@pytest.fixture
def benchmark(tmp_path: Path) -> str:
    rows = [("capital of italy", ["Rome"]), ("capital of france", ["Paris"]), ("which river", ["Nile"]), ("is it so?", ["yes"])]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps({"id": q, "question": q, "golden_answers": golds}) + "\n" for q, golds in rows))
    return str(file)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_index_search_and_recall(corpus: str, encoder: str, benchmark: str, capsys: pytest.CaptureFixture[str]) -> None:
    built = said(capsys, "index", corpus, "--kind", "hybrid", "--encoder", encoder, "--device", "cpu")
    assert {name: row["passages"] for name, row in built.items()} == {"bm25": 4, "dense": 4}
    assert Path(built["dense"]["index_dir"]).name == "corpus.jsonl.tiny.flat"
    assert run(["index", corpus, "--kind", "dense", "--encoder", encoder]) == 0  # found, not built
    assert "encoding" not in capsys.readouterr().err

    options = ["--corpus", corpus, "--encoder", encoder]
    for engine in ("bm25", "dense", "hybrid"):
        result = said(capsys, "search", "capital of italy", "--engine", engine, *options, "--k", "3")
        assert 0 < len(result["documents"]) <= 3 and result["quality"] is None
    assert said(capsys, "search", "capital of italy", *options[:2])["documents"][0]["title"] == "rome"  # a corpus means bm25

    result = said(capsys, "recall", "--benchmark", benchmark, "--engine", "bm25", "--corpus", corpus, "--k", "1,2")
    assert (result["n"], result["left_out_yes_no"], result["failed"]) == (3, 1, 0)
    assert result["recall"]["1"]["mean"] == pytest.approx(2 / 3) and result["engine"] == {"kind": "bm25", "corpus": corpus}


def test_what_is_printed_for_people(corpus: str, benchmark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "capital of italy", "--corpus", corpus, "--k", "1"]) == 0
    assert capsys.readouterr().out == "1. rome\n   rome is the capital of italy\n"
    assert run(["search", "zebra", "--corpus", corpus]) == 0
    assert capsys.readouterr().out == "(no documents)\n"
    assert run(["recall", "--benchmark", benchmark, "--corpus", corpus]) == 0
    printed = capsys.readouterr().err
    assert "recall@5 0.667 [" in printed and "left out: 1 yes/no questions, 0 that no answer can match, 0 failed searches" in printed


def test_recall_by_name_leaves_out_what_no_answer_can_match(
    corpus: str, benchmark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NQ in the wild has golds such as '---'."""
    with Path(benchmark).open("a") as file:
        file.write('{"id": "wild", "question": "what?", "golden_answers": ["---"]}\n')
    Path(benchmark).rename(tmp_path / "nq.jsonl")
    result = said(capsys, "recall", "--benchmark", "nq", "--benchmarks", str(tmp_path), "--corpus", corpus, "--k", "1")
    assert (result["n"], result["left_out_yes_no"], result["excluded"]) == (3, 1, ["wild"])


def test_record_and_replay(corpus: str, benchmark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = str(tmp_path / "tape.jsonl")
    options = ["recall", "--benchmark", benchmark, "--corpus", corpus]
    first = said(capsys, *options, "--record", tape)
    Path(corpus).unlink()  # nothing but the tape is needed
    again = said(capsys, *options, "--replay", tape)
    assert again["recall"] == first["recall"]
    assert run([*options, "--replay", tape, "--k", "7"]) == 1  # no such search was recorded
    assert "3 of 3 searches failed; the first: not in the recording" in capsys.readouterr().err.splitlines()[-1]


def test_a_budget_is_an_exit_code_and_a_line(corpus: str, benchmark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recall", "--benchmark", benchmark, "--corpus", corpus, "--max-searches", "2", "--json", "-"]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["failed"] == 1
    assert "1 of 3 searches failed; the first: the search budget is spent: 2 of max_searches = 2" in output.err.splitlines()[-1]


@pytest.fixture
def server() -> Iterator[SearchServer]:
    with serving(SearchServer()) as server:
        yield server


def test_a_key_comes_from_the_environment_and_stays_there(server: SearchServer, tmp_path: Path) -> None:
    words = ["search", "capital", "--engine", "serpapi", "--url", f"{server.url}/serpapi", "--record", "tape.jsonl"]

    def outcome(key: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SERPAPI_API_KEY": key}
        return subprocess.run([sys.executable, "-m", "zerosearch", *words], env=environment, cwd=tmp_path, capture_output=True, text=True)

    wrong = outcome("sk-wrong")
    assert wrong.returncode == 1 and wrong.stderr.count("\n") == 1 and "sk-wrong" not in wrong.stderr
    assert "status 401" in wrong.stderr and "check the key in $SERPAPI_API_KEY" in wrong.stderr
    right = outcome(KEY)
    assert right.returncode == 0 and right.stdout.startswith("1. Paris\n   Paris is the capital of France.")
    assert KEY not in right.stdout + right.stderr + "".join(p.read_text() for p in tmp_path.iterdir())


WRONG = {
    "no engine": (["search", "x"], "say what to search: --engine bm25 --corpus FILE"),
    "mistyped engine": (["search", "x", "--engine", "srper"], "unknown engine 'srper'; did you mean 'serper'?"),
    "no corpus": (["search", "x", "--engine", "bm25"], "--engine bm25 needs --corpus"),
    "no encoder": (["search", "x", "--engine", "dense", "--corpus", "c"], "--engine dense needs --encoder"),
    "no simulator": (["search", "x", "--engine", "simulated"], "--engine simulated needs --simulator"),
    "no url": (["recall", "--benchmark", "b", "--engine", "searxng"], "--engine searxng needs --url"),
    "no server": (["search", "x", "--engine", "mcp"], "--engine mcp needs --command or --url"),
    "both tapes": (["search", "x", "--engine", "serper", "--record", "a", "--replay", "b"], "record and replay exclude each other"),
    "no price": (["search", "x", "--engine", "serper", "--max-usd", "1"], "max_usd = 1 needs usd_per_search"),
    "no tape": (["search", "x", "--engine", "serper", "--replay", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    "index kind": (["search", "x", "--corpus", "c", "--encoder", "e", "--index-kind", "hsnw"], "received 'hsnw'"),
    "no such corpus": (["index", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    "index of what": (["index", "c.jsonl", "--kind", "bm52"], "unknown kind 'bm52'; did you mean 'bm25'?"),
    "index without encoder": (["index", "c.jsonl", "--kind", "dense"], "--kind dense needs --encoder"),
    "depths": (["recall", "--benchmark", "b", "--corpus", "c", "--k", "1,many"], "--k '1,many' is not a list of numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_ends_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, what = WRONG[name]
    assert run(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and what in lines[0], lines


def test_an_index_of_another_corpus_says_so(corpus: str, encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["index", corpus, "--kind", "dense", "--encoder", encoder, "--index-dir", str(tmp_path / "index")]) == 0
    Path(corpus).write_text('{"text": "another corpus"}\n')
    capsys.readouterr()
    assert run(["search", "x", "--corpus", corpus, "--encoder", encoder, "--index-dir", str(tmp_path / "index")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "built from another corpus, or the corpus has changed" in line


# ---- the options themselves


def test_a_command_that_takes_an_engine_has_all_its_options() -> None:
    @takes(source=engine_table)
    def command(word: str, source: dict[str, Any], loud: bool = False) -> tuple[str, dict[str, Any], bool]:
        return word, source, loud

    names = list(inspect.signature(command).parameters)
    assert names == ["word", "loud", *inspect.signature(engine_table).parameters]
    defaults = {name: p.default for name, p in inspect.signature(engine_table).parameters.items()}
    assert command(word="w", loud=True, **defaults) == ("w", {}, True)
    assert command(word="w", loud=True, **{**defaults, "url": "http://a.test", "engine": "searxng"})[1] == {
        "kind": "searxng",
        "url": "http://a.test",
    }


@pytest.mark.parametrize(
    ("options", "table"),
    [
        ({"corpus": "c"}, {"kind": "bm25", "corpus": "c"}),
        ({"corpus": "c", "encoder": "e"}, {"kind": "dense", "corpus": "c", "encoder": "e"}),
        ({"simulator": "m"}, {"kind": "simulated", "model": "m"}),
        ({"simulator": "http://a.test/v1", "template": "micro"}, {"kind": "simulated", "url": "http://a.test/v1", "template": "micro"}),
        ({"command": "run it"}, {"kind": "mcp", "command": "run it"}),
    ],
)
def test_the_engine_that_is_meant(options: dict[str, str], table: dict[str, str]) -> None:
    assert engine_table(**options) == table  # pyright: ignore[reportArgumentType]


UNWRITABLE = {
    "evaluate --json": ["evaluate", "--benchmark", "b.jsonl", "--policy", "p", "--corpus", "c", "--json", "/proc/no.json"],
    "evaluate --out": ["evaluate", "--benchmark", "b.jsonl", "--policy", "p", "--corpus", "c", "--out", "/proc/no"],
    "tune --out": ["tune", "d", "--model", "m", "--out", "/proc/no"],
    "card --html": ["card", "m", "--searches", "d", "--html", "/proc/no.html"],
    "a folder": ["rescore", "x.jsonl", "--json", "/"],
    "--record in no place": ["evaluate", "--benchmark", "b.jsonl", "--policy", "p", "--corpus", "c", "--record", "/proc/no/tape.jsonl"],
    "--record is a folder": ["recall", "--benchmark", "b.jsonl", "--corpus", "c", "--record", "/"],
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_cannot_be_written_is_said_before_the_work(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything else that is wrong with the command: none of the files it reads is there."""
    assert run(UNWRITABLE[name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot write the " in line and UNWRITABLE[name][-1].removesuffix("/tape.jsonl") in line


def test_looking_whether_it_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("old")
    for file in (kept, tmp_path / "new.json"):
        assert run(["rescore", str(tmp_path / "nowhere.jsonl"), "--json", str(file)]) == 2
    assert run(["tune", "d", "--model", "m", "--out", str(tmp_path / "a" / "b")]) == 2
    assert run(["recall", "--benchmark", "nowhere.jsonl", "--corpus", "c", "--record", str(tmp_path / "new" / "tape.jsonl")]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"] and kept.read_text() == "old"
