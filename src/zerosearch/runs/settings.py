"""The [run] section of a recipe."""

from typing import Literal, Self

from pydantic import model_validator

from zerosearch.core.errors import one_of
from zerosearch.core.settings import Name, Natural, Positive, Section

TRACKER_NAMES = ("tensorboard", "wandb", "trackio")


class RunConfig(Section):
    """What is kept of a run, and who works on it. A killed run loses what came after its last checkpoint: at most one step by default.

    A checkpoint holds the model and two moments of the optimiser; with billions of parameters writing it takes minutes, so set
    `checkpoint_every` higher there. `engine=verl` on the command line says the same as `run.trainer=verl`.
    """

    out: Name = "runs/run"  # The run directory.
    seed: Natural = 0  # Everything random is a function of it.
    checkpoint_every: Positive = 1  # Steps between checkpoints.
    keep_checkpoints: Positive = 2  # How many of them are kept.
    evaluate_every: Natural = 0  # Steps between evaluations while training; 0 is none.
    evaluate_questions: Positive = 200  # Held-out questions of each.
    save_trajectories_every: Positive = 1  # Steps between those whose rollouts are kept.
    workers: Natural = 0  # Processes; 0 is one per core on a CPU (at most 4), one on a GPU.
    trainer: Literal["embedded", "verl"] = "embedded"  # This process, or verl on a cluster.
    trackers: str = ""  # Who gets the metrics too: tensorboard, wandb, trackio, module:name; commas between them.

    @property
    def tracker_names(self) -> tuple[str, ...]:
        return tuple(filter(None, (name.strip() for name in self.trackers.split(","))))

    @model_validator(mode="after")
    def _trackers_exist(self) -> Self:
        for name in self.tracker_names:
            if ":" not in name:  # otherwise it is the user's own
                one_of("tracker", name, TRACKER_NAMES)
        return self
