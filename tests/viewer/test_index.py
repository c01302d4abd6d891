"""Filters, pages and relatives of trajectories; and an index that follows its file."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zerosearch.core.errors import BadConfig
from zerosearch.viewer.filters import Filter
from zerosearch.viewer.index import Index, cache_file


def row(step: int, question: str, em: float | None = 1.0, drawn: Sequence[str] = (), sample: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "step": step,
        "phase": "train",
        "question": {"id": question, "text": f"Where is {question}, 100%?", "golden_answers": ["Peru"]},
        "sample": sample,
        "spans": [
            {"author": "prompt", "text": "?", "token_ids": [1, 2]},
            {"author": "policy", "text": "x", "token_ids": [3], "logprobs": [-1.5]},
        ],
        "searches": [{"query": f"{question}?", "quality": q} for q in drawn],
        "stop_reason": "answered",
        "answer": "Peru",
        "scores": None if em is None else {"em": em, "f1": em},
        "reward": em,
    } | more


def write(file: Path, rows: Sequence[dict[str, Any]], mode: str = "wb") -> None:
    with file.open(mode) as out:
        out.write(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode(), mtime=0))


@pytest.fixture
def filled(tmp_path: Path) -> Index:
    rows = [
        row(1, "Lima", 1.0, ["useful"]),
        row(1, "Lima", 0.0, ["noisy"], 1),
        row(2, "Lima", None, ["useful", "noisy"], stop_reason="search_failed"),
        row(2, "Cusco", 0.5, [], reward=-2.0),
        row(3, "Óbidos", 1.0, ["useful"] * 5, phase="evaluate"),
    ]
    write(tmp_path / "t.gz", rows)
    made = Index([tmp_path / "t.gz"])
    made.refresh()
    return made


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [0, 1, 2, 3, 4]),
        (Filter(text="lima"), [0, 1, 2]),
        (Filter(text="ÓBIDOS"), [4]),
        (Filter(text="100%?"), [0, 1, 2, 3, 4]),
        (Filter(text="%"), [0, 1, 2, 3, 4]),
        (Filter(text="_ima"), []),
        (Filter(text="' OR 1 --"), []),
        (Filter(score="right"), [0, 4]),
        (Filter(score="wrong"), [1, 3]),
        (Filter(score="unscored"), [2]),
        (Filter(step_from=2, step_to=2), [2, 3]),
        (Filter(phase="evaluate"), [4]),
        (Filter(noise="noisy"), [1]),
        (Filter(noise="useful and noisy"), [2]),
        (Filter(noise="no search"), [3]),
        (Filter(stop="search_failed"), [2]),
        (Filter(searches=1), [0, 1]),
        (Filter(searches=-4), [4]),
        (Filter(sort="reward"), [3, 1, 0, 4, 2]),  # what has none comes last, either way
        (Filter(sort="reward", descending=True), [4, 0, 1, 3, 2]),
    ],
)
def test_filters(filled: Index, wanted: Filter, found: list[int]) -> None:
    total, rows = filled.page(wanted)
    assert ([r["n"] for r in rows], total) == (found, len(found))


def test_pages(filled: Index) -> None:
    assert [r["n"] for r in filled.page(Filter(), 2, 2)[1]] == [2, 3]
    assert filled.page(Filter(), 99, 2) == (5, [])


@pytest.mark.parametrize("wanted", [Filter(score="good"), Filter(sort="n; DROP TABLE rows")])
def test_words_that_mean_nothing(filled: Index, wanted: Filter) -> None:
    with pytest.raises(BadConfig, match="is not known"):
        filled.page(wanted)


def test_tokens_are_counted_and_records_are_whole(filled: Index) -> None:
    assert filled.page(Filter())[1][0]["tokens"] == 3
    record = filled.record(1)
    assert record and record["sample"] == 1 and record["spans"][1]["logprobs"] == [-1.5]
    assert filled.record(5) is None


def test_relatives(filled: Index) -> None:
    assert [r["n"] for r in filled.group(1)] == [0, 1]
    assert [r["n"] for r in filled.same_question(1)] == [1, 2]  # the same sample where there is one
    assert filled.contrasts(5)[0]["query"] == "Lima?"
    assert filled.searches_by_step() == [(1, 1, 2), (2, 0, 1)]


def test_rows_without_token_ids_have_counts(tmp_path: Path) -> None:
    write(tmp_path / "t.gz", [row(0, "Lima", spans=[{"author": "policy", "text": "x", "tokens": 12}])])
    made = Index([tmp_path / "t.gz"])
    made.refresh()
    assert made.page(Filter())[1][0]["tokens"] == 12


def test_an_older_or_foreign_record(tmp_path: Path) -> None:
    rows: list[Any] = [
        {},
        {"question": None, "scores": [], "step": "x", "sample": 2**70, "searches": [None]},
        [1],
        {"question": {"text": "\ud800"}},
    ]
    (tmp_path / "t.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode() + b"{broken\n"))
    made = Index([tmp_path / "t.gz"])
    made.refresh()
    assert len(made) == 2 + 1 and made.unreadable == 2
    assert made.page(Filter(text="?"))[0] == 1  # the lone surrogate became one


def test_it_follows_the_file_and_a_resume_that_cuts_it_back(tmp_path: Path) -> None:
    file = tmp_path / "t.gz"
    write(file, [row(1, "a")])
    length = file.stat().st_size
    made = Index([file])
    made.refresh()
    write(file, [row(2, "b"), row(2, "c")], "ab")
    made.refresh()
    assert [r["question_id"] for r in made.page(Filter())[1]] == ["a", "b", "c"]
    version = made.version
    made.refresh()
    assert made.version == version  # nothing new
    with file.open("r+b") as out:
        out.truncate(length)
    made.refresh()
    assert [r["question_id"] for r in made.page(Filter())[1]] == ["a"]


def test_numbers_stay_while_the_first_file_grows(tmp_path: Path) -> None:
    files = [tmp_path / "t.gz", tmp_path / "held.gz"]
    write(files[0], [row(1, "a")])
    write(files[1], [row(9, "z")])
    made = Index(files)
    made.refresh()
    before = made.page(Filter(text="z"))[1][0]["n"]
    write(files[0], [row(2, "b")], "ab")
    made.refresh()
    record = made.record(before)
    assert len(made) == 3 and record and record["step"] == 9


def test_an_index_is_kept_and_goes_on(tmp_path: Path) -> None:
    file, cache = tmp_path / "t.gz", tmp_path / "cache" / "i.sqlite"
    write(file, [row(1, "a"), row(1, "b")])
    Index([file], cache, 0.0).refresh()
    write(file, [row(2, "c")], "ab")
    again = Index([file], cache, 0.0)
    assert len(again) == 2  # nothing was read yet
    again.refresh()
    record = again.record(2)
    assert len(again) == 3 and record and record["question"]["id"] == "c"
    write(file, [row(7, "x"), row(7, "y"), row(7, "z")])  # another run in the same place
    other = Index([file], cache, 0.0)
    assert len(other) == 0


def test_a_cache_that_is_rubbish_or_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path / "t.gz", [row(1, "a")])
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 1000)
    for cache in (tmp_path / "rubbish", tmp_path / "t.gz" / "below a file"):
        made = Index([tmp_path / "t.gz"], cache, 0.0)
        made.refresh()
        assert len(made) == 1


def test_the_cache_is_per_file(tmp_path: Path) -> None:
    assert cache_file(tmp_path / "a" / "t.gz") != cache_file(tmp_path / "b" / "t.gz")
