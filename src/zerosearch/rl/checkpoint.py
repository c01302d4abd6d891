"""Checkpoints: the model as a Hugging Face folder, and everything else that a bitwise equal resume needs, in one atomic step."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zerosearch.core.errors import RunFailed
from zerosearch.data.files import new_directory
from zerosearch.models.lora import has_adapter, load_adapter
from zerosearch.rl.learner import Learner
from zerosearch.runs.directory import RunDirectory


def save_checkpoint(run: RunDirectory, step: int, model: Any, tokenizer: Any, trainer: Mapping[str, Any], keep: int) -> Path:
    """Write `checkpoints/step-…` after `step` finished steps, and remove all but the newest `keep`."""
    final = run.checkpoints / f"step-{step:06d}"
    with new_directory(final, run.resume_command) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        torch.save({"step": step, **trainer, "lengths": run.lengths()}, partial / "trainer.pt")
    for old in finished_checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return final


def finished_checkpoints(run: RunDirectory) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(run.checkpoints.glob("step-*")) if run.checkpoints.exists() else []


def restore(checkpoint: Path, learner: Learner) -> Mapping[str, Any]:
    """Put the checkpoint's weights (the model's, or its adapter's), critic and optimiser into `learner`; returns the rest of its state."""
    state = load_trainer_state(checkpoint)
    if has_adapter(learner.model):
        load_adapter(learner.model, checkpoint)
    else:
        learner.model.load_state_dict(type(learner.model).from_pretrained(checkpoint, dtype=learner.model.dtype).state_dict())
    learner.restore(state)
    return state


def load_trainer_state(checkpoint: Path) -> Mapping[str, Any]:
    try:
        return torch.load(checkpoint / "trainer.pt", weights_only=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise RunFailed(
            f"cannot read {checkpoint / 'trainer.pt'} ({error}); delete that checkpoint to resume from the one before it."
        ) from error


def resume_from_checkpoint(run: RunDirectory, learner: Learner) -> int:
    """Back to the newest checkpoint, if there is one; returns how many steps are done."""
    if not (checkpoints := finished_checkpoints(run)):
        run.cut_back({name: 0 for name in run.lengths()})
        return 0
    state = restore(checkpoints[-1], learner)
    run.cut_back(state["lengths"])
    return int(state["step"])


def roll_back(run: RunDirectory, learner: Learner) -> None:
    """Weights and optimiser as the newest checkpoint has them; the steps go on. Without a checkpoint yet nothing is lost by staying."""
    if checkpoints := finished_checkpoints(run):
        restore(checkpoints[-1], learner)
