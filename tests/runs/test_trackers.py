"""Trackers: the real ones, each with what it wrote read back, and ones that cannot be reached."""

import json
import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from forked import Forker
from micro import micro_recipe
from zerosearch.config.recipe import Recipe, load_recipe, to_toml
from zerosearch.core.errors import BadConfig
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.settings import TRACKER_NAMES
from zerosearch.runs.trackers import TRACKERS, flat, tracked


def test_a_row_as_numbers() -> None:
    row = {
        "kind": "evaluate",
        "step": 20,
        "em": {"mean": 0.5, "low": 0.4, "high": 0.6},
        "n": 300,
        "by_type": {"born": {"em": 0.25, "n": 4}},
        "alarm": "kl = 3 is above 1",
    }
    assert flat(row) == {"evaluate/em": 0.5, "evaluate/n": 300.0, "evaluate/by_type/born/em": 0.25, "evaluate/by_type/born/n": 4.0}


def test_every_name_has_a_tracker() -> None:
    assert set(TRACKER_NAMES) == set(TRACKERS)


def test_all_three_get_every_step_and_stdout_stays_json(forker: Forker, micro: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(micro_recipe(micro))
    run = tmp_path / "run"
    words = ["train", str(tmp_path / "recipe.toml"), "--out", str(run), "--json", "-", "run.trackers=tensorboard,wandb,trackio"]
    with forker.run(words, {"TRACKIO_DIR": str(tmp_path / "trackio")}) as done:
        assert done.wait(300) == 0, done.err
    assert "cannot be reached" not in done.err and "could not be" not in done.err, done.err
    assert json.loads(done.out)["seed"] == 3
    rewards = [row["reward"] for row in RunDirectory(run).read_metrics()]
    assert len(rewards) == 3

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf's and TensorBoard's own
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run / "tensorboard"))
        events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/reward")] == [(i + 1, pytest.approx(r)) for i, r in enumerate(rewards)]

    (offline,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    sent = offline.read_bytes()  # values are written as JSON
    assert b"train/reward" in sent and all(json.dumps(reward).encode() in sent for reward in rewards)

    with sqlite3.connect(tmp_path / "trackio" / "zerosearch.db") as database:
        kept = [json.loads(row[0]) for row in database.execute("select metrics from metrics order by step")]
    database.close()
    assert [row["train/reward"] for row in kept] == pytest.approx(rewards)


class Dead:
    def __init__(self, run: Path, recipe: Recipe) -> None:
        raise ConnectionError("no route to host")


class Dies:
    def __init__(self, run: Path, recipe: Recipe) -> None:
        self.rows = 0

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self.rows += 1
        if self.rows == 2:
            raise TimeoutError("gone")

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("kind", "lines"), [(Dead, "cannot be reached (ConnectionError"), (Dies, "can no longer be reached (TimeoutError")]
)
def test_the_run_goes_on_without_a_tracker(micro: Path, tmp_path: Path, kind: Any, lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text(micro_recipe(micro))
    recipe = load_recipe(tmp_path / "recipe.toml", ["run.trackers=wandb"])
    run = RunDirectory(tmp_path / "run")
    run.create(to_toml(recipe))
    with tracked(run, recipe.run.tracker_names, recipe.model_dump(), Console(stderr=True), {"wandb": kind}):
        for step in (1, 2, 3):
            run.append_metrics({"kind": "train", "step": step, "reward": 0.5})
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 3]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and lines in said[0] and "the run continues" in said[0]


def test_a_mistyped_tracker_names_the_nearest(micro: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(micro_recipe(micro))
    with pytest.raises(BadConfig, match="did you mean 'tensorboard'"):
        load_recipe(tmp_path / "recipe.toml", ["run.trackers=tensorbord"])
