"""A gzip file that grows, is cut, or is one long member: every whole line once, and every line again from anywhere."""

import gzip
import random
import zlib
from pathlib import Path

import pytest

from zerosearch.viewer.gzip_index import Archive, IndexedLine


def lines_of(n: int, words: int) -> list[bytes]:
    rng = random.Random(0)
    return [b" ".join(str(rng.random()).encode() for _ in range(rng.randrange(words) + 1)) for _ in range(n)]


def assert_all_can_be_read(archive: Archive, lines: list[IndexedLine]) -> None:
    for line in random.Random(1).sample(lines, 40):
        assert archive.read(line.start, len(line.data)) == line.data


@pytest.mark.parametrize("per_member", [1, 7, 4000])
def test_members_of_any_length(tmp_path: Path, per_member: int) -> None:
    lines = lines_of(4000, 100)  # 4 MB: several points within one member
    file = tmp_path / "t.gz"
    members = [b"".join(line + b"\n" for line in lines[i : i + per_member]) for i in range(0, len(lines), per_member)]
    file.write_bytes(b"".join(gzip.compress(member, 1) for member in members))
    archive = Archive(file)
    found = list(archive.new_lines())
    assert [line.data for line in found] == lines and not archive.cut
    assert len(archive.points) > 3
    assert_all_can_be_read(archive, found)


def test_what_is_appended_is_given_once(tmp_path: Path) -> None:
    file = tmp_path / "t.gz"
    archive = Archive(file)
    assert list(archive.new_lines()) == []
    for i in range(3):
        with file.open("ab") as out:
            out.write(gzip.compress(f"line {i}\n".encode()))
        assert [line.data for line in archive.new_lines()] == [f"line {i}".encode()]
    assert archive.read(7, 6) == b"line 1"


def test_a_member_that_arrives_in_pieces(tmp_path: Path) -> None:
    lines = lines_of(300, 40)
    whole, file = gzip.compress(b"\n".join(lines) + b"\n"), tmp_path / "t.gz"
    archive, found = Archive(file), list[IndexedLine]()
    for end in (5, len(whole) // 3, len(whole) - 3, len(whole)):
        file.write_bytes(whole[:end])
        found += archive.new_lines()
        assert archive.cut == (end < len(whole))
    assert [line.data for line in found] == lines
    assert_all_can_be_read(archive, found)


def test_rubbish_after_whole_members(tmp_path: Path) -> None:
    file = tmp_path / "t.gz"
    file.write_bytes(gzip.compress(b"good\n") + b"this is no gzip")
    archive = Archive(file)
    assert [line.data for line in archive.new_lines()] == [b"good"]
    assert archive.cut and archive.broken
    assert list(archive.new_lines()) == []


def test_a_file_that_is_replaced_under_our_feet(tmp_path: Path) -> None:
    file = tmp_path / "t.gz"
    file.write_bytes(gzip.compress(b"a line that is long enough\n"))
    archive = Archive(file)
    (line,) = archive.new_lines()
    file.write_bytes(b"\x00" * 40)
    with pytest.raises(OSError, match="has changed"):
        archive.read(line.start, len(line.data))
    file.write_bytes(zlib.compress(b"")[:0])
    with pytest.raises(OSError, match="shorter"):
        archive.read(line.start, len(line.data))
