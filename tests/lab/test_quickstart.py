"""The quickstart, every phase of it, at a scale that teaches nothing: what it leaves, that it repeats, that a kill loses nothing."""

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from zerosearch.cli import run
from zerosearch.core.errors import BadConfig, BadFile
from zerosearch.lab.quickstart import Lab, Scale, quickstart

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
    page = (finished / "report.html").read_text()
    assert "<html" in page and len(page) < 5_000_000
    assert summary["simulator"]["n"] == 6 and all(isinstance(value, float | int) for value in summary["simulator"].values())
    examples = json.loads((finished / "card.json").read_text())["examples"]
    assert len(examples) == 6 and {"query", "useful", "noisy", "real"} <= set(examples[0])
    with gzip.open(finished / "evaluation-trained.jsonl.gz") as file:
        assert len(file.readlines()) == 12  # every held-out question


def test_its_simulator_is_what_tune_makes_of_its_searches(finished: Path, tmp_path: Path) -> None:
    again = tmp_path / "simulator"
    options = ["--template", "micro", "--optimizer", "muon", "--steps", "4", "--held-out", "0", "--seed", "5", "--device", "cpu"]
    assert run(["tune", str(finished / "searches"), "--model", str(finished / "base"), "--out", str(again), *options]) == 0
    assert (again / "model.safetensors").read_bytes() == (finished / "simulator" / "model.safetensors").read_bytes()
    reports = [json.loads((folder / "tuning.json").read_text()) for folder in (again, finished / "simulator")]
    assert reports[0] == reports[1] and reports[0]["pairs"] % 2 == 0 and 0 < reports[0]["pairs"] <= TINY.pairs


def test_its_card_is_what_card_makes(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--searches", str(finished / "searches"), "--limit", "4", "--max-new-tokens", "40", "--json", "-"]
    assert run(["card", str(finished / "simulator"), *options]) == 0
    theirs, ours = json.loads(capsys.readouterr().out), json.loads((finished / "card.json").read_text())
    assert theirs.keys() == ours.keys()
    assert all(theirs[part].keys() == ours[part].keys() for part in ("figures", "style", "speed"))
    assert (ours["guard_redraws"], ours["guarded"], theirs["guard_redraws"]) == (2, "noisy", 0)
    figures = ours["figures"]
    assert figures["answer_in_useful"]["n"] == figures["answer_off_target"]["n"] == figures["answer_in_useful_unseen"]["n"] == TINY.probes
    assert figures["answer_in_useful_seen"] is None and figures["answer_first_hop"]["n"] <= TINY.probes


def test_the_same_seed_gives_the_same_worlds_and_models(finished: Path, tmp_path: Path) -> None:
    again = Lab(tmp_path, 5, TINY)
    again.write_worlds()
    again.pretrain(QUIET)
    again.demonstrate(lambda *said: None)
    for folder in ("world", "base", "policy"):
        files = sorted((tmp_path / folder).iterdir())
        assert len(files) >= 4 and all(file.read_bytes() == (finished / folder / file.name).read_bytes() for file in files)


@pytest.mark.slow  # its phases one by one: above, and two runs of one seed in tests/rl/test_train.py
def test_the_same_seed_gives_the_same_summary(finished: Path, tmp_path: Path) -> None:
    again = quickstart(tmp_path / "again", 5, TINY, QUIET)
    assert without_times(json.loads(json.dumps(again))) == without_times(json.loads((finished / "summary.json").read_text()))


STOPPED = """
import os, re, signal, sys
from pathlib import Path
from rich.console import Console
from zerosearch.core.errors import RunFailed
from zerosearch.lab.quickstart import Scale, quickstart

class Deadly(Console):
    '''Sends its own process a signal at the first step that a phase reports.'''
    def print(self, *objects, **options):
        if re.match(re.escape(phase) + r": \\d", str(objects[0])):
            signal.raise_signal(number)

for phase, number in MOMENTS:
    if pid := os.fork():  # torch is imported once for all of them
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(f"{phase}: {status}")
        continue
    try:
        quickstart(Path(sys.argv[1]), 5, SCALE, Deadly(stderr=True))
    except RunFailed as error:
        assert str(error).endswith(f"resume with: zerosearch quickstart --out {sys.argv[1]} --seed 5"), error
        os._exit(1)
    os._exit(0)
"""


KILL, CTRL_C = int(signal.SIGKILL), int(signal.SIGINT)
MOMENTS = [
    ("base model", KILL),
    ("policy (demonstrations)", CTRL_C),
    ("policy (demonstrations)", KILL),
    ("simulator", KILL),
    ("evaluating the base policy", CTRL_C),
    ("reinforcement learning", CTRL_C),
    ("reinforcement learning", KILL),
    ("evaluating the trained policy", KILL),
]


@pytest.mark.slow
def test_stopped_and_killed_in_every_phase_it_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    script = STOPPED.replace("SCALE", repr(TINY)).replace("MOMENTS", repr(MOMENTS))
    done = subprocess.run([sys.executable, "-c", script, str(out)], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{phase}: {1 if number == CTRL_C else -9}" for phase, number in MOMENTS], done.stderr
    assert "Traceback" not in done.stderr and "Error" not in done.stderr, done.stderr
    summary = quickstart(out, 5, TINY, QUIET)
    assert without_times(json.loads(json.dumps(summary))) == without_times(json.loads((finished / "summary.json").read_text()))


def test_another_seed_is_refused(finished: Path) -> None:
    before = sorted(finished.iterdir())
    with pytest.raises(BadConfig, match="was begun with seed = 5, but it is now 6"):
        quickstart(finished, 6, TINY, QUIET)
    assert sorted(finished.iterdir()) == before


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadFile, match="cannot write the run directory"):
        quickstart(tmp_path / "file" / "run", 5, TINY, QUIET)
