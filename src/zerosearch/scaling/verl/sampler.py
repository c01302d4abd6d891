"""What verl's trainer draws its batches from: verl's replay buffer, which here also sees every rollout.

It writes the run directory as the embedded trainer does (metrics.jsonl, trajectories.jsonl.gz), adds our figures to verl's own, and ends
a run of which too many rollouts fail. Importing it registers our estimators, in the one process that needs them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
import transfer_queue
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

import zerosearch.scaling.verl.estimators  # noqa: F401  (registers them)
from zerosearch.errors import RunFailed
from zerosearch.evaluation import outcomes
from zerosearch.evaluation.outcomes import Outcome
from zerosearch.evaluation.questions import load_questions
from zerosearch.files import append_whole, write_atomically
from zerosearch.rl.train import rollout_metrics, stop_if_too_many_failed
from zerosearch.rundir import RunDirectory
from zerosearch.types import Group, Trajectory, Usage


class RunSampler(ReplayBuffer):
    """`sampler_kwargs.run` is the run directory; the other arguments are verl's. Raises BadFile when the parquet lacks a field."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(poll_interval=0.2, **kwargs)
        self._run, self._recipe = RunDirectory.open(kwargs["sampler_kwargs"]["run"])
        self._trainer = kwargs["refill_fn"].__self__  # verl hands a sampler this method of its trainer and nothing else of it
        load_questions(self._trainer.config.data.train_files)
        self._lengths = self._run.path / "verl" / "lengths.jsonl"  # of the run's files after each step
        self._begun, self._position = False, None  # the latter: of the data loader, after the last step that was sound

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        batch, figures = super().sample(global_steps=global_steps, partition_id=partition_id, batch_size=batch_size)
        rows = transfer_queue.kv_batch_get(keys=batch.keys, partition_id=partition_id, select_fields=["extra_fields"])
        extras = [getattr(row, "data", row) for row in rows["extra_fields"]]
        trajectories: list[Trajectory] = [pickle.loads(extra["trajectory"]) for extra in extras]
        groups = [Group(t.question, (t,)) for t in trajectories]
        if not self._begun:
            self._begun = True
            self._forget_after(global_steps - (partition_id != "val"))
        if partition_id == "val":
            self._run.append_metrics(
                {"kind": "evaluate", "step": global_steps, **outcomes.figures([Outcome.of(t, Usage()) for t in trajectories])}
            )
            self._run.append_trajectories(groups, global_steps, "evaluate")
            return batch, figures
        try:
            stop_if_too_many_failed(groups, self._recipe.rl.max_failed_share, self._run)
        except RunFailed as error:
            self._save(global_steps - 1)
            write_atomically(self._run.path / "verl" / "stopped.txt", str(error))
            raise
        self._position = self._trainer.train_dataloader.state_dict()
        noise_rate = self._recipe.noise_curriculum().noise_rate(global_steps - 1)
        seen = {"noise_rate": noise_rate, **rollout_metrics(trajectories), **_seconds(extras)}
        self._run.append_metrics({"kind": "train", "step": global_steps, **seen})
        if global_steps % self._recipe.run.save_trajectories_every == 0:
            self._run.append_trajectories(groups, global_steps, "train")
        append_whole(self._lengths, json.dumps({"step": global_steps, **self._run.lengths()}).encode() + b"\n")
        return batch, {**figures, **{f"zerosearch/{name}": value for name, value in seen.items()}}

    def _forget_after(self, step: int) -> None:
        """A run that goes on from a checkpoint writes anew what came after it."""
        lengths = dict.fromkeys(self._run.lengths(), 0)
        for line in self._lengths.read_text().splitlines() if self._lengths.exists() else ():
            row = json.loads(line)
            if row.pop("step") == step:
                lengths = row
        self._run.cut_back(lengths)

    def _save(self, step: int) -> None:
        """A checkpoint of the steps that are done, from which the questions of the failed one are asked again."""
        trainer, folder = self._trainer, self._run.checkpoints / f"global_step_{step}"
        if step < 1 or folder.exists():
            return
        trainer.on_sample_end()  # the servers let go of their memory
        trainer.global_steps = step
        trainer._save_checkpoint()
        if self._position is not None:
            torch.save(self._position, folder / "data.pt")


def _seconds(extras: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Where a rollout's time goes, and the slowest one, which all others wait for."""
    parts = {f"seconds_{name}": fmean(e["seconds"][name] for e in extras) for name in ("generating", "searching")}
    return {**parts, "slowest_rollout_s": max(e["seconds"]["rollout"] for e in extras)}
