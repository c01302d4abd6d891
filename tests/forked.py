"""`zerosearch` commands in processes of their own, forked from one that has imported torch: what takes 4 s of CPU is done once for all."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_FORKER = """
import gc, json, os, sys

gc.disable()
import zerosearch.api.training, zerosearch.config.evaluation
from zerosearch.__main__ import main

gc.freeze()
gc.enable()
for line in sys.stdin:
    words, environment, files = json.loads(line)
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    os.setsid()
    opened = [os.open(file, os.O_RDWR | os.O_CREAT) for file in (os.devnull, *files)]
    print(os.getpid(), flush=True)
    for number, file in enumerate(opened):
        os.dup2(file, number)
    os.environ.update(environment)
    sys.argv = ["zerosearch", *words]
    sys.exit(main())
"""


class Forked:
    """A command that runs, or has run. It leads a session of its own, as under a terminal."""

    def __init__(self, pid: int, out: Path, err: Path, forker: subprocess.Popen[bytes]) -> None:
        self.pid, self._out, self._err, self._forker = pid, out, err, forker
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(TimeoutError):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit code, or minus the signal. Raises TimeoutError."""
        if self.returncode is None:
            assert self._forker.stdout
            if not select.select([self._forker.stdout], [], [], timeout)[0]:
                raise TimeoutError(f"it still runs after {timeout:g} s; it has said: {self.err}")
            self.returncode = _number(self._forker)
        return self.returncode

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()


class Forker:
    """Starts commands, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._started = folder, 0
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def run(self, words: Sequence[str], environment: Mapping[str, str] = {}) -> Iterator[Forked]:
        """`zerosearch WORDS…`; what is left of it, and of the processes that it started, is killed at the end."""
        if self._process is None:
            self._process = subprocess.Popen([sys.executable, "-c", _FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdin
        self._started += 1
        out, err = (self._folder / f"{self._started}.{name}" for name in ("out", "err"))
        self._process.stdin.write(json.dumps([words, dict(environment), [str(out), str(err)]]).encode() + b"\n")
        forked = Forked(_number(self._process), out, err, self._process)
        try:
            yield forked
        finally:
            with suppress(ProcessLookupError):
                os.killpg(forked.pid, signal.SIGKILL)
            forked.wait(60.0)

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()


def _number(forker: subprocess.Popen[bytes]) -> int:
    """The next line of the forker, a number."""
    assert forker.stdout
    return int(forker.stdout.readline())
