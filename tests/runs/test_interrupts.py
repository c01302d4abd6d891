"""Signals to a real run in a process of its own, with a worker process beside it: what is saved, what is said, who is left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forked import Forked, Forker
from micro import micro_recipe
from zerosearch.rl.checkpoint import finished_checkpoints
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.interrupts import run_child

PATIENCE_S = 120.0


@contextmanager
def training(forker: Forker, micro: Path, out: Path, workers: int) -> Iterator[Forked]:
    """A run that would go on for hours, once it has made four steps."""
    recipe = out.with_suffix(".toml")
    recipe.write_text(micro_recipe(micro))
    words = ["train", str(recipe), f"run.out={out}", "rl.steps=100000", f"run.workers={workers}", "run.checkpoint_every=3"]
    with forker.run(words) as process:
        deadline = time.monotonic() + PATIENCE_S
        while steps_of(out) < 4:
            assert process.poll() is None and time.monotonic() < deadline, process.err
            time.sleep(0.02)
        yield process


def steps_of(out: Path) -> int:
    return sum(1 for row in RunDirectory(out).read_metrics() if row["kind"] == "train")


def saved_of(out: Path) -> int:
    return int(finished_checkpoints(RunDirectory(out))[-1].name.removeprefix("step-"))


def alive(session: int) -> list[str]:
    """What is left of a session whose first process has ended; the others have some seconds to notice."""
    deadline = time.monotonic() + 10
    while True:
        listed = subprocess.run(["ps", "-o", "pid=,stat=,args=", "-s", str(session)], capture_output=True, text=True).stdout
        left = [line for line in listed.splitlines() if not line.split()[1].startswith("Z")]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def test_one_ctrl_c_finishes_the_step_and_saves_it(forker: Forker, micro: Path, tmp_path: Path) -> None:
    with training(forker, micro, tmp_path / "run", workers=2) as process:
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process of the job
        process.wait(PATIENCE_S)
        left = alive(process.pid)
    said = process.err
    steps, lines = steps_of(tmp_path / "run"), said.splitlines()
    assert process.returncode == 1 and left == [], (process.returncode, left, said)
    assert lines[-1] == (
        f"zerosearch: stopped after step {steps} of 100000, which is saved; resume with: zerosearch train --resume {tmp_path / 'run'}"
    )
    assert "stopping after this step, which will be saved; interrupt again to stop at once" in lines and "Traceback" not in said
    assert saved_of(tmp_path / "run") == steps


def test_a_second_signal_stops_at_once(forker: Forker, micro: Path, tmp_path: Path) -> None:
    with training(forker, micro, tmp_path / "run", workers=1) as process:
        os.kill(process.pid, signal.SIGTERM)  # does what Ctrl-C does
        time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        process.wait(PATIENCE_S)
    said = process.err
    assert process.returncode == 1 and "Traceback" not in said
    assert said.splitlines()[-1].endswith(f"resume with: zerosearch train --resume {tmp_path / 'run'}")
    assert saved_of(tmp_path / "run") >= 3


def test_killed_it_leaves_no_process_and_loses_what_no_checkpoint_holds(forker: Forker, micro: Path, tmp_path: Path) -> None:
    with training(forker, micro, tmp_path / "run", workers=2) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
        left = alive(process.pid)
    assert left == []
    assert 0 <= steps_of(tmp_path / "run") - saved_of(tmp_path / "run") <= 3  # checkpoint_every
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])["step"] == 1


def test_interrupted_before_it_has_begun(micro: Path, tmp_path: Path) -> None:
    words = ["train", "--resume", str(tmp_path / "fifo")]
    os.mkdir(tmp_path / "fifo")
    os.mkfifo(tmp_path / "fifo" / "config.toml")  # reading it takes for ever
    process = subprocess.Popen([sys.executable, "-m", "zerosearch", *words], stderr=subprocess.PIPE, text=True)
    with open(tmp_path / "fifo" / "config.toml", "w"):  # returns when the other side has opened it
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (1, "zerosearch: interrupted, nothing is left half written; run the same command again.\n")


def test_interrupted_while_the_command_line_is_imported(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import sys, time\nsys.stdout.write('importing\\n')\nsys.stdout.flush()\ntime.sleep(600)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "zerosearch", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE_S) == ("", "") and process.returncode == -signal.SIGINT  # 130, says a shell


def test_a_child_s_exit_code_and_an_interrupt() -> None:
    assert run_child([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    # SIGINT to the parent alone: the child, which would sleep for a minute, is ended too
    parent = "import signal, threading, os; from zerosearch.runs.interrupts import run_child; import sys; "
    parent += "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start(); "
    parent += "print(run_child([sys.executable, '-c', 'import time; time.sleep(60)']))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, timeout=50)
    assert done.stdout.strip() == str(-signal.SIGTERM) and time.monotonic() - started < 30, done.stderr
