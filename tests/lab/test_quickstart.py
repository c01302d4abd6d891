"""The quickstart, every phase of it, at a scale that teaches nothing: what it leaves, that it repeats, that a kill loses nothing."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from zerosearch.lab.quickstart import Scale, quickstart

TINY = Scale(
    pretraining_steps=6,
    demonstration_steps=4,
    simulator_steps=4,
    pairs=120,
    probes=6,
    rl_steps=3,
    questions_per_step=2,
    group_size=2,
    test_questions=12,
)
QUIET = Console(quiet=True)


def without_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if key not in ("wall_s", "phases", "cost")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quickstart") / "run"
    quickstart(out, 5, TINY, QUIET)
    return out


def test_the_summary_says_it_all(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert set(summary) == {"seed", "wall_s", "phases", "base", "trained", "simulator", "versions", "cost"}
    for when in ("base", "trained"):
        assert {"em", "em_one_hop", "em_two_hop", "em_sampled", "n"} <= set(summary[when])
        assert summary[when]["n"] == 12
    assert {"answer_in_useful", "answer_in_noisy", "answer_off_target"} <= set(summary["simulator"])
    assert summary["wall_s"] == pytest.approx(sum(summary["phases"].values()), abs=0.1)
    assert {"config.toml", "metrics.jsonl", "trajectories.jsonl.gz", "report.html"} <= {f.name for f in finished.iterdir()}
    assert "<html" in (finished / "report.html").read_text()


def test_the_same_seed_gives_the_same_summary(finished: Path, tmp_path: Path) -> None:
    again = quickstart(tmp_path / "again", 5, TINY, QUIET)
    assert without_times(json.loads(json.dumps(again))) == without_times(json.loads((finished / "summary.json").read_text()))


@pytest.mark.slow
def test_killed_in_every_phase_it_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    script = f"from pathlib import Path; from zerosearch.lab.quickstart import *; import sys; quickstart(Path(sys.argv[1]), 5, {TINY!r})"
    for seconds in (6, 9, 11, 13, 16, 20):
        process = subprocess.Popen([sys.executable, "-c", script, str(out)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    summary = quickstart(out, 5, TINY, QUIET)
    assert without_times(json.loads(json.dumps(summary))) == without_times(json.loads((finished / "summary.json").read_text()))
