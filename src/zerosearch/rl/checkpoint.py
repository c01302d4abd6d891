"""Checkpoints: the model as a Hugging Face folder, and everything else that a bitwise equal resume needs, in one atomic step."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zerosearch.errors import RunFailed
from zerosearch.files import new_directory
from zerosearch.rundir import RunDirectory


def save_checkpoint(run: RunDirectory, step: int, model: Any, tokenizer: Any, optimizers: list[torch.optim.Optimizer], keep: int) -> Path:
    """Write `checkpoints/step-…` after `step` finished steps, and remove all but the newest `keep`."""
    final = run.checkpoints / f"step-{step:06d}"
    with new_directory(final, run.go_on) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        torch.save({"step": step, "optimizers": [o.state_dict() for o in optimizers], "lengths": run.lengths()}, partial / "trainer.pt")
    for old in finished_checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return final


def finished_checkpoints(run: RunDirectory) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(run.checkpoints.glob("step-*")) if run.checkpoints.exists() else []


def load_trainer_state(checkpoint: Path) -> Mapping[str, Any]:
    try:
        return torch.load(checkpoint / "trainer.pt", weights_only=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise RunFailed(
            f"cannot read {checkpoint / 'trainer.pt'} ({error}); delete that checkpoint to go on from the one before."
        ) from error
