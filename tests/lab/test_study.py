"""The matrix: what is run for a claim, in which order, once; that it goes on; and one small study from nothing."""

import json
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from zerosearch.cli import run
from zerosearch.config.recipe import open_run
from zerosearch.core.errors import BadConfig, RunFailed
from zerosearch.lab.claims import ARMS, CLAIMS, arms_of
from zerosearch.lab.findings import collect, findings
from zerosearch.lab.quickstart import Scale
from zerosearch.lab.study import ORIGINS, Job, Study, run_all, study

QUIET = Console(quiet=True)
TINY = Scale(
    pretraining_steps=6,
    demonstration_steps=4,
    simulator_steps=4,
    pairs=120,
    probes=6,
    rl_steps=2,
    questions_per_step=2,
    group_size=2,
    test_questions=12,
)


def names(*claims: str, seeds: int) -> list[str]:
    return [job.name for job in Study(Path("nowhere")).jobs(claims, seeds)]


def test_each_run_once_and_after_what_it_needs() -> None:
    assert names("masking", "searches", seeds=1) == [
        "base of seed 0",
        "policy of seed 0",
        "simulator of seed 0",
        "grpo, seed 0",
        "unmasked, seed 0",
    ]
    real = Study(Path("nowhere")).jobs(["real-engine"], 1)[-1]
    assert real.name == "real, seed 0" and [need.name for need in real.needs] == ["policy"]  # it needs no simulator


def test_collapse_asks_for_twenty_runs_of_five_worlds() -> None:
    jobs = names("collapse", seeds=3)
    assert sum(job.startswith("grpo,") for job in jobs) == 20
    assert sum(job.startswith("base of") for job in jobs) == 5


def test_every_arm_serves_a_claim_and_every_claim_has_its_arms() -> None:
    used = {arm for claim in CLAIMS.values() for test in claim.tests for arm in arms_of(test)}
    assert used == set(ARMS)
    assert {arm.policy for arm in ARMS.values()} | {arm.simulator for arm in ARMS.values()} <= set(ORIGINS)


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_differs_from_the_common_recipe_in_what_it_says(arm: str, tmp_path: Path) -> None:
    (tmp_path / "seeds" / "seed-0").mkdir(parents=True)
    (tmp_path / "seeds" / "seed-0" / "prompted.txt").write_text("{query} {quality}")
    common, own = (Study(tmp_path).recipe(name, 0, 0).model_dump() for name in ("grpo-long" if ARMS[arm].long else "grpo", arm))
    for section, values in ARMS[arm].changes.items():
        assert {key: own[section][key] for key in values} == dict(values)
    differing = {section for section in own if own[section] != common[section]} - {"run"}
    models = {"policy"} if ARMS[arm].policy != "policy" else {"engine"} if ARMS[arm].simulator != "simulator" else set()
    assert differing == set(ARMS[arm].changes) | models


@pytest.mark.filterwarnings("ignore:.*use of fork")  # of Python 3.12 and later, when threads of other tests are still about
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])  # three processes that import torch
def test_jobs_run_in_order_and_a_failure_stops_only_what_needs_it(tmp_path: Path, start: str) -> None:
    a, b, c, d = (tmp_path / name for name in "abcd")
    jobs = [
        Job("a", a, (), partial(Path.touch, a)),
        Job("b", b, (), partial(Path.read_text, b)),  # there is no such file
        Job("c", c, (b,), partial(Path.touch, c)),
        Job("d", d, (a,), partial(Path.touch, d)),
    ]
    failures = run_all(jobs, 2, QUIET, start)
    assert a.exists() and d.exists() and not c.exists()
    assert set(failures) == {"b", "c"} and "FileNotFoundError" in failures["b"] and "needs" in failures["c"]
    assert run_all([jobs[0], jobs[3]], 2, QUIET, start) == {}


def test_a_claim_nobody_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["study", "maskin", "--out", str(tmp_path / "study")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "did you mean 'masking'" in line and not (tmp_path / "study").exists()
    with pytest.raises(BadConfig, match="did you mean 'collapse'"):
        study(["colapse"], 1, tmp_path, QUIET)


@pytest.mark.slow
def test_a_small_study_from_nothing_that_goes_on_after_a_stop(tmp_path: Path) -> None:
    class Impatient(Console):
        """Ctrl-C when the first run is done."""

        def print(self, *objects: object, **options: object) -> None:
            if "grpo, seed 0: done" in str(objects[0]):
                raise KeyboardInterrupt

    with pytest.raises(RunFailed, match=r"resume with: zerosearch study masking --seeds 1 --out"):
        study(["masking"], 1, tmp_path, Impatient(stderr=True), TINY)
    folder = Study(tmp_path, TINY)
    before = (folder.run_folder("grpo", 0) / "metrics.jsonl").read_bytes()
    assert study(["masking"], 1, tmp_path, QUIET, TINY) == {}
    assert (folder.run_folder("grpo", 0) / "metrics.jsonl").read_bytes() == before
    run_directory, recipe = open_run(folder.run_folder("unmasked", 0))
    assert run_directory.summary.exists() and not recipe.rl.mask_observations
    data = collect(folder)
    assert set(data["arms"]) == {"grpo", "unmasked"} and len(data["arms"]["grpo"]["0"]["reward"]) == 2
    assert json.loads(json.dumps(data)) == data
    assert [f.verdict for f in findings(CLAIMS["masking"], data)] == ["not decidable at this scale"]
