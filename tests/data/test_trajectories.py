"""Rows are read as they were written, up to where a kill or a bad disk has cut them."""

import gzip
import logging
from pathlib import Path

import pytest

from zerosearch.data.trajectories import packed, read_trajectories


def test_members_in_a_row_are_read_as_one_file(tmp_path: Path) -> None:
    file = tmp_path / "trajectories.jsonl.gz"
    assert list(read_trajectories(file)) == []
    file.write_bytes(packed([{"n": 0}, {"n": 1}]) + packed([{"n": 2}], level=1))
    assert [row["n"] for row in read_trajectories(file)] == [0, 1, 2]
    assert packed([{"n": 0}]) == packed([{"n": 0}])


@pytest.mark.parametrize("damage", ["cut", "not gzip", "not JSON"])
def test_what_is_whole_is_read_and_the_log_says_where_it_ends(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "trajectories.jsonl.gz"
    second = packed([{"n": "second"}])
    after = {"cut": second[: len(second) // 2], "not gzip": b"\x1f\x8b oh", "not JSON": gzip.compress(b'{"n": \n')}[damage]
    file.write_bytes(packed([{"n": "first"}]) + after)
    with caplog.at_level(logging.WARNING):
        assert [row["n"] for row in read_trajectories(file)] == ["first"]
    assert caplog.messages == [f"{file} is cut off after row 1; the rest is ignored."]


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "trajectories.jsonl.gz").mkdir()
    with pytest.raises(OSError):
        list(read_trajectories(tmp_path / "trajectories.jsonl.gz"))
