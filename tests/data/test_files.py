"""All or nothing, on a disk that fills up while a file is being written."""

import subprocess
import sys
from pathlib import Path

import pytest

from full_disk import files_no_larger_than
from zerosearch.core.errors import BadConfig, RunFailed
from zerosearch.data.files import append_whole, begin_folder, new_directory, replace_directory, write_atomically, writing


def test_write_atomically(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    write_atomically(file, "old – text")
    write_atomically(file, "new")
    assert file.read_text() == "new" and list(tmp_path.iterdir()) == [file]
    with pytest.raises(UnicodeEncodeError):  # a failure half-way leaves what was there
        write_atomically(file, "half \udcff")
    assert file.read_text() == "new"


def test_replace_directory(tmp_path: Path) -> None:
    final = tmp_path / "final"
    for text in ("first", "second"):
        partial = tmp_path / ".partial"
        partial.mkdir()
        (partial / f"{text}.txt").write_text(text)
        replace_directory(partial, final)
        assert [file.name for file in final.iterdir()] == [f"{text}.txt"] and list(tmp_path.iterdir()) == [final]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    write_atomically(file, "old")
    with files_no_larger_than(100), pytest.raises(OSError):
        write_atomically(file, "x" * 1000)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_full_disk_takes_no_half_of_what_is_appended(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_whole(file, b"a line\n")
    with files_no_larger_than(100), pytest.raises(OSError):
        append_whole(file, b"x" * 1000)
    assert file.read_bytes() == b"a line\n"
    append_whole(file, b"another\n")
    assert file.read_bytes() == b"a line\nanother\n"


def test_a_full_disk_leaves_no_half_folder(tmp_path: Path) -> None:
    final = tmp_path / "policy"
    with files_no_larger_than(100), pytest.raises(RunFailed) as caught, new_directory(final, "zerosearch x") as partial:
        (partial / "small").write_text("fits")
        (partial / "large").write_text("x" * 1000)
    assert str(caught.value) == f"cannot write {final} (File too large); free the disk, then resume with: zerosearch x"
    assert list(tmp_path.iterdir()) == []
    with new_directory(final) as partial:
        (partial / "small").write_text("fits")
    assert (final / "small").read_text() == "fits"


def test_our_own_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="^mine$"), writing(tmp_path):
        raise RunFailed("mine")


def test_what_torch_says_of_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught, writing(tmp_path / "trainer.pt"):
        raise RuntimeError("PytorchStreamWriter failed\nwriting file")
    assert "(PytorchStreamWriter failed writing file)" in str(caught.value)


def test_a_folder_goes_on_only_with_what_it_was_begun_with(tmp_path: Path) -> None:
    file = tmp_path / "new" / "settings.json"
    begin_folder(file, {"model": "a", "k": 5}, "a tuning")
    (tmp_path / "new" / "rows.jsonl").write_text("{}")
    begin_folder(file, {"model": "a", "k": 5}, "a tuning")
    with pytest.raises(
        BadConfig, match=r"'.*new' was begun with k = 5, but it is now null; use the same settings, or choose another --out\."
    ):
        begin_folder(file, {"model": "a"}, "a tuning")
    with pytest.raises(BadConfig, match="holds something other than a tuning; remove that folder"):
        begin_folder(tmp_path / "settings.json", {}, "a tuning", "remove that folder")


COUNT = """
import sys
import subprocess
import sys
from pathlib import Path
from zerosearch.data.files import locked
file = Path(sys.argv[1])
for _ in range(200):
    with locked(file):
        file.write_text(str(int(file.read_text()) + 1))
"""


def test_one_process_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "count"
    file.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, str(file)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0] and file.read_text() == "600"
