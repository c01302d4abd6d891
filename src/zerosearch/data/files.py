"""Writing so that a kill or a full disk leaves the old or the new, never a half; and saying in one line what could not be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zerosearch.core.errors import BadFile, RunFailed, ZeroSearchError


@contextmanager
def writing(path: Path, go_on: str = "the same command") -> Iterator[None]:
    """Whatever a full or read-only disk raises in this block becomes RunFailed: the path, the reason, the command to go on with.

    Keep anything but writing out of the block: torch and tokenizers report a failed write as RuntimeError or a bare Exception.
    """
    try:
        yield
    except ZeroSearchError:
        raise
    except Exception as error:
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())[:200]
        raise RunFailed(f"cannot write {path} ({reason}); free the disk, then go on with: {go_on}") from error


def require_writable(path: Path, what: str, folder: bool = False) -> None:
    """Said before hours of work, not after: raises BadFile when the file, or in the folder, nothing can be written, a full disk included.

    Leaves nothing behind.
    """
    made = [parent for parent in ((path, *path.parents) if folder else ()) if not parent.exists()]
    probe = path / f".probe-{os.getpid()}" if folder else path
    try:
        if folder:
            path.mkdir(parents=True, exist_ok=True)
        if probe.is_file() or probe.is_dir():
            probe.open("ab").close()
        elif not probe.exists():  # a pipe or a device is left to whoever reads it
            try:
                probe.write_bytes(b"0" * 4096)
            finally:
                probe.unlink(missing_ok=True)
    except OSError as error:
        raise BadFile(f"cannot write {what} '{path}' ({error.strerror}); make room there, or choose another one.") from error
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def write_atomically(path: Path, content: str | bytes) -> None:
    """All of it or nothing: a reader, or a kill, never meets half a file."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def append_whole(path: Path, data: bytes) -> None:
    """All of it at the end of the file, or the file as it was: a full disk takes what fits, and half a line is worse than none."""
    before = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError:
        with suppress(OSError):
            os.truncate(path, before)
        raise


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that is appended to, without their ends; none when there is no file. One that a kill has cut is left out."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def replace_directory(partial: Path, final: Path) -> None:
    """Put a finished directory in place; one that was there before is moved aside first, then removed."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(partial, final)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def new_directory(final: Path, go_on: str = "the same command") -> Iterator[Path]:
    """A folder to write into, which takes the place of `final` once the block is done, or vanishes when it fails. See `writing`."""
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    with writing(final, go_on):
        try:
            partial.mkdir(parents=True)
            yield partial
            replace_directory(partial, final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
