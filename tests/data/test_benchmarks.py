"""Question sets by name and by file: which file is taken, what is left out, what a wrong name is told."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from zerosearch.core.errors import BadConfig, BadFile
from zerosearch.core.scoring import exact_match, usable_golds
from zerosearch.data.benchmarks import HUB_FILES, load_benchmark


def row(i: int, golds: object = ("Rome",)) -> dict[str, Any]:
    return {"id": f"q{i}", "question": f"Question {i}?", "golden_answers": golds, "metadata": {"type": "x"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = "".join(json.dumps(row(i)) + "\n" for i in range(20)) + json.dumps(row(20, ["---", "The"])) + "\n"
    (tmp_path / "nq.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "mine.jsonl").write_text(json.dumps(row(1)) + "\n")
    return tmp_path


def test_a_name_is_looked_for_in_the_folder(folder: Path) -> None:
    nq = load_benchmark("nq", str(folder))
    assert (nq.name, nq.source) == ("nq", str(folder / "nq.jsonl.gz"))
    assert load_benchmark("mine", str(folder)).questions[0].id == "q1"
    assert load_benchmark(str(folder / "nq.jsonl.gz")) == nq


def test_a_question_no_answer_can_match_is_excluded_and_named(folder: Path) -> None:
    nq = load_benchmark("nq", str(folder))
    assert len(nq.questions) == 20 and nq.excluded == ("q20",)
    (folder / "bad.jsonl").write_text(json.dumps(row(1, ["---"])) + "\n")
    with pytest.raises(BadFile, match="none of its 1 questions has a golden answer that can be matched"):
        load_benchmark("bad", str(folder))


def test_a_sample_is_a_function_of_the_seed(folder: Path) -> None:
    a, b, c = (load_benchmark("nq", str(folder), limit=5, seed=seed) for seed in (0, 0, 1))
    assert len(a.questions) == 5 and a == b and a.fingerprint() == b.fingerprint() != c.fingerprint()
    assert a.fingerprint() != load_benchmark("nq", str(folder)).fingerprint()


@pytest.mark.parametrize(
    ("name", "told"), [("hotpot", "unknown benchmark 'hotpot'; did you mean 'hotpotqa'?"), ("musik", "'musique'"), ("xyz", "choose one of")]
)
def test_an_unknown_name_is_told_the_nearest(name: str, told: str, folder: Path) -> None:
    for where in ("", str(folder)):
        with pytest.raises(BadConfig) as caught:
            load_benchmark(name, where)
        assert told in str(caught.value) and "\n" not in str(caught.value)


def test_files_and_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such file"):
        load_benchmark(str(tmp_path / "none.jsonl"))
    with pytest.raises(BadFile, match="there is no folder"):
        load_benchmark("nq", str(tmp_path / "none"))


def test_the_hub_out_of_reach_is_one_line(tmp_path: Path) -> None:
    """Tests run with the hub switched off."""
    with pytest.raises(BadFile, match="cannot download the benchmark 'musique' .* give a folder that holds musique.jsonl"):
        load_benchmark("musique", str(tmp_path))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [row(1, ["Rome", "Roma"]), row(2, ["x"])]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "nq.parquet")
    loaded = load_benchmark("nq", str(tmp_path))
    assert [q.golden_answers for q in loaded.questions] == [("Rome", "Roma"), ("x",)]
    assert loaded.questions[0].metadata == {"type": "x"}
    (tmp_path / "bad.parquet").write_bytes(b"rubbish")
    with pytest.raises(BadFile, match="cannot be read"):
        load_benchmark("bad", str(tmp_path))
    with pytest.raises(BadFile, match="no such file"):
        load_benchmark(str(tmp_path / "none.parquet"))
    parquet.write_table(
        pyarrow.Table.from_pylist(rows[:0] or [], schema=pyarrow.schema([("id", pyarrow.string())])), tmp_path / "e.parquet"
    )
    with pytest.raises(BadFile, match="the file is empty"):
        load_benchmark("e", str(tmp_path))


@pytest.mark.parametrize("name", HUB_FILES)
def test_every_question_of_the_seven_sets_is_taken_with_every_alias(name: str, shared: Path) -> None:
    """The first alias counts no more than the last: 2Wiki has up to several dozen of them for an answer."""
    loaded = load_benchmark(name, str(shared / "data" / "qa"))
    assert len(loaded.questions) == {"bamboogle": 62, "nq": 499, "popqa": 501}.get(name, 500) and not loaded.excluded
    with gzip.open(shared / "data" / "qa" / f"{name}.jsonl.gz", "rt") as lines:
        golds = {row["id"]: row["golden_answers"] for row in map(json.loads, lines)}
    assert {question.id: list(question.golden_answers) for question in loaded.questions} == golds
    for question in loaded.questions:
        first, *_, last = usable_golds(question.golden_answers * 2)
        assert exact_match(first, question.golden_answers) and exact_match(last, question.golden_answers), question.id
