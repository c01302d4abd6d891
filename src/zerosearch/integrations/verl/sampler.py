"""What verl's trainer draws its batches from: verl's replay buffer, which here also sees every rollout.

It writes the run directory as the embedded trainer does (metrics.jsonl, trajectories.jsonl.gz), adds our figures to verl's own, and ends
a run of which too many rollouts fail. Importing it registers our estimators, in the one process that needs them.
"""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
import pickle
from statistics import fmean
from typing import Any

import torch
import transfer_queue
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

import zerosearch.integrations.verl.estimators  # noqa: F401  (registers them)
from zerosearch.config.build import load_curriculum
from zerosearch.config.recipe import open_run
from zerosearch.core.errors import RunFailed
from zerosearch.core.types import Group, Trajectory, Usage
from zerosearch.data.files import write_atomically
from zerosearch.data.questions import load_questions
from zerosearch.evaluation import outcomes
from zerosearch.rl.rollouts import rollout_metrics, stop_if_too_many_failed


class RunSampler(ReplayBuffer):
    """`sampler_kwargs.run` is the run directory; the other arguments are verl's. Raises BadFile when the parquet lacks a field."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(poll_interval=0.2, **kwargs)
        self._run, self._recipe = open_run(kwargs["sampler_kwargs"]["run"])
        self._trainer = kwargs["refill_fn"].__self__  # verl hands a sampler this method of its trainer and nothing else of it
        for file in (self._trainer.config.data.train_files, self._trainer.config.data.val_files):
            load_questions(file)
        self._curriculum = load_curriculum(self._recipe, None)
        self._begun, self._position = False, None  # the latter: of the data loader, after the last step that was sound

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        batch, figures = super().sample(global_steps=global_steps, partition_id=partition_id, batch_size=batch_size)
        rows = transfer_queue.kv_batch_get(keys=batch.keys, partition_id=partition_id, select_fields=["extra_fields"])
        extras = [getattr(row, "data", row) for row in rows["extra_fields"]]
        trajectories: list[Trajectory] = [pickle.loads(extra["trajectory"]) for extra in extras]
        groups = [Group(t.question, (t,)) for t in trajectories]
        if not self._begun:
            self._begun = True
            self._run.forget_after(global_steps - (partition_id != "val"))  # a run that goes on writes anew what came after its checkpoint
        if partition_id == "val":
            found = outcomes.figures([outcomes.Outcome.of(t, Usage()) for t in trajectories])
            self._run.append_metrics({"kind": "evaluate", "step": global_steps, **found})
            self._run.append_trajectories(groups, global_steps, "evaluate")
            return batch, figures
        try:
            stop_if_too_many_failed(groups, self._recipe.rl.max_failed_share, self._run)
        except RunFailed as error:
            self._save(global_steps - 1)
            write_atomically(self._run.path / "verl" / "stopped.txt", str(error))
            raise
        self._position = self._trainer.train_dataloader.state_dict()
        noise_rate = self._curriculum(global_steps - 1, ())
        # where a rollout's time goes, and the slowest one, which all others wait for
        spent = {f"seconds_{name}": fmean(e["seconds"][name] for e in extras) for name in ("generating", "searching")}
        spent["slowest_rollout_s"] = max(e["seconds"]["rollout"] for e in extras)
        seen = {"noise_rate": noise_rate, **rollout_metrics(trajectories), **spent}
        self._run.append_metrics({"kind": "train", "step": global_steps, **seen})
        if global_steps % self._recipe.run.save_trajectories_every == 0:
            self._run.append_trajectories(groups, global_steps, "train")
        self._run.mark(global_steps)
        return batch, {**figures, **{f"zerosearch/{name}": value for name, value in seen.items()}}

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
