"""Write so that a kill or a full disk leaves the old file or the new one, never half a file; report failed writes in one line."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from zerosearch.core.errors import BadConfig, BadFile, RunFailed, ZeroSearchError, one_line


@contextmanager
def writing(path: Path, resume_command: str = "the same command") -> Iterator[None]:
    """Whatever a full or read-only disk raises in this block becomes RunFailed: the path, the reason, the command that resumes.

    Keep anything but writing out of the block: torch and tokenizers report a failed write as RuntimeError or a bare Exception.
    """
    try:
        yield
    except ZeroSearchError:
        raise
    except Exception as error:
        reason = (isinstance(error, OSError) and error.strerror) or one_line(error)
        raise RunFailed(f"cannot write {path} ({reason}); free the disk, then resume with: {resume_command}") from error


def require_writable(path: Path, what: str, folder: bool = False) -> None:
    """Check before hours of work: raises BadFile if the file, or anything in the folder, cannot be written, a full disk included.

    Leaves nothing behind.
    """
    made = [parent for parent in ((path, *path.parents) if folder else ()) if not parent.exists()]
    probe = path / f".probe-{os.getpid()}" if folder else path
    try:
        if folder:
            path.mkdir(parents=True, exist_ok=True)
        if probe.is_file() or probe.is_dir():
            probe.open("ab").close()
        elif not probe.exists():  # a pipe or a device is not probed: its reader would see it
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


@contextmanager
def new_file(final: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `final` once the block is done: readers never see half a file, even after a kill."""
    partial = final.with_name(f".{final.name}.partial")
    try:
        yield partial
        os.replace(partial, final)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write the whole file or nothing (`new_file`)."""
    with new_file(path) as partial:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())


def append_whole(path: Path, data: bytes) -> None:
    """Append all of it or leave the file as it was: a full disk takes what fits, and half a line is worse than none."""
    before = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError:
        with suppress(OSError):
            os.truncate(path, before)
        raise


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that is appended to, without line ends; none if there is no file. A line that a kill has cut is left out."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def replace_directory(partial: Path, final: Path) -> None:
    """Put a finished directory in place; an earlier one is moved aside first, then removed."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(partial, final)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def new_directory(final: Path, resume_command: str = "the same command") -> Iterator[Path]:
    """A folder to write into, which takes the place of `final` once the block is done, or is removed if it fails. See `writing`."""
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    with writing(final, resume_command):
        try:
            partial.mkdir(parents=True)
            yield partial
            replace_directory(partial, final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def locked(path: Path) -> FileLock:
    """`with locked(path):` by one process at a time. The lock is a file beside `path`, never removed: else two processes could hold it.

    Raises OSError if it cannot be made.
    """
    return FileLock(path.with_name(f".{path.name}.lock"), poll_interval=0.01)


def begin_folder(description: Path, settings: Mapping[str, Any], what: str, otherwise: str = "choose another --out") -> None:
    """Make the folder that holds `description`, a JSON file of the settings `what` is made with; or resume it if they are the same.

    Raises BadConfig if it was begun with other settings or holds something else, OSError if it cannot be written.
    """
    folder = description.parent
    if description.exists():
        before = json.loads(description.read_text())
        for key in {**before, **settings}:
            if before.get(key) != settings.get(key):
                raise BadConfig(
                    f"'{folder}' was begun with {key} = {json.dumps(before.get(key))}, but it is now {json.dumps(settings.get(key))}; "
                    f"use the same settings, or {otherwise}."
                )
    elif folder.exists() and any(folder.iterdir()):
        raise BadConfig(f"'{folder}' holds something other than {what}; {otherwise}.")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(description, json.dumps(settings, indent=2) + "\n")
