"""The [run] section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from zerosearch.core.errors import one_of
from zerosearch.core.settings import Name, Natural, Positive, Section

TRACKER_NAMES = ("tensorboard", "wandb", "trackio")


class RunConfig(Section):
    """`workers` is how many processes share the rollouts and the gradient; 0 is one per core on a CPU (at most 4), one on a GPU.

    A killed run loses what came after its last checkpoint: at most one step by default. A checkpoint holds the model and two moments
    of the optimiser; with billions of parameters writing it takes minutes, so set `checkpoint_every` higher there. `trackers`: who
    gets the metrics beside the run directory, names with commas between (tracking.py).
    `trainer`: this process, or verl on a cluster; `engine=verl` on the command line says the same.
    """

    out: Name = "runs/run"
    seed: Natural = 0
    checkpoint_every: Positive = 1
    keep_checkpoints: Positive = 2
    evaluate_every: Natural = 0
    evaluate_questions: Positive = 200
    save_trajectories_every: Positive = 1
    workers: Natural = 0
    trainer: Literal["embedded", "verl"] = "embedded"
    trackers: str = ""

    @property
    def tracker_names(self) -> tuple[str, ...]:
        return tuple(filter(None, (name.strip() for name in self.trackers.split(","))))

    @model_validator(mode="after")
    def _trackers_exist(self) -> RunConfig:
        for name in self.tracker_names:
            if ":" not in name:  # else it is one of the user's
                one_of("tracker", name, TRACKER_NAMES)
        return self
