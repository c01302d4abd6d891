"""Before verl starts: is it there, in a version we know, with as many GPUs as the recipe asks. Then: start it, merge a checkpoint."""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from zerosearch.config.recipe import ClusterConfig, Recipe
from zerosearch.core.errors import BadConfig, BadFile, BadInput, RunFailed
from zerosearch.core.install import not_installed, pip_line
from zerosearch.integrations.verl.files import prepare
from zerosearch.integrations.verl.settings import MODULE, command_line, overrides, verl_settings
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.interrupts import run_child

OLDEST, NEWEST = (0, 9, 1), (0, 10)  # this one and later, before that one


def require_verl() -> None:
    """Raises BadInput, with the line that mends it, when verl or Ray is absent, or verl is not of the range we know."""
    if missing := next((name for name in ("verl", "ray") if find_spec(name) is None), None):
        raise BadInput(not_installed("engine=verl", missing, "verl"))
    require_version(importlib.metadata.version("verl"))


def require_version(version: str) -> None:
    if not OLDEST <= tuple(map(int, re.findall(r"\d+", version)[:3])) < NEWEST:
        raise BadInput(f"verl {version} is installed; this works with 0.9.1 and later, before 0.10; install one with {pip_line('verl')}.")


def require_gpus(cluster: ClusterConfig, found: Sequence[float]) -> None:
    """`found` are the GPUs of each node that is there. Raises BadConfig when the recipe asks for more."""
    if sum(gpus >= cluster.gpus_per_node for gpus in found) < cluster.nodes:
        there = " and ".join(f"{gpus:g}" for gpus in found) or "none"
        raise BadConfig(
            f"the recipe asks for {cluster.nodes} × {cluster.gpus_per_node} GPUs (cluster.nodes, cluster.gpus_per_node), found {there}; "
            "ask for fewer, or start Ray on each node first: ray start --head, ray start --address=HEAD:6379."
        )


def gpus_of_nodes() -> list[float]:
    """Of the Ray cluster that is running, or of this machine where none is."""
    import ray  # pyright: ignore[reportMissingImports]
    import torch

    try:
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        return [torch.cuda.device_count()]
    try:
        return [node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"]]
    finally:
        ray.shutdown()


def checkpoints_of(run: Path) -> list[Path]:
    """verl's finished checkpoints, oldest first: up to the one that its tracker file names, which is written last."""
    tracker = run / "checkpoints" / "latest_checkpointed_iteration.txt"
    newest = int(tracker.read_text()) if tracker.exists() else 0
    steps = {int(p.name.rpartition("_")[2]): p for p in tracker.parent.glob("global_step_*")}
    return [steps[step] for step in sorted(steps) if step <= newest]


def require_same_world(run: RunDirectory, recipe: Recipe) -> None:
    """Raises BadConfig when a checkpoint was written by another number of GPUs: its parts fit no other."""
    for checkpoint in checkpoints_of(run.path)[-1:]:
        parts = sorted(checkpoint.glob("actor/model_world_size_*_rank_0.pt"))
        if parts and (size := int(parts[0].name.split("_")[3])) != recipe.cluster.gpus:
            raise BadConfig(
                f"{checkpoint} was written by {size} GPUs, the recipe now asks for {recipe.cluster.gpus}; resume with {size}, "
                f"or start again from its weights: zerosearch export hf {checkpoint} --out DIR."
            )


def run_verl(recipe: Recipe, console: Console, resume: bool = False) -> dict[str, Any]:
    """Train on verl as the recipe says, or resume from its newest checkpoint; returns the summary it also writes.

    Raises BadInput for what can be mended before anything is written, RunFailed when verl stops before the last step.
    """
    run = RunDirectory(Path(recipe.run.out))
    settings = verl_settings(recipe, run.path)
    if resume:
        require_same_world(run, recipe)
    require_verl()
    if settings.get("trainer.device", settings.get("++trainer.device")) != "cpu":  # the tests' back end has none
        require_gpus(recipe.cluster, gpus_of_nodes())
    if not resume:
        prepare(recipe, run)
    stopped = run.path / "verl" / "stopped.txt"
    stopped.unlink(missing_ok=True)
    console.print(command_line(MODULE, settings), soft_wrap=True, highlight=False)
    if code := run_child([sys.executable, "-m", MODULE, *overrides(settings)]):
        why = stopped.read_text() if stopped.exists() else f"verl ended with exit code {code}; look at what it printed"
        raise RunFailed(why if run.resume_command in why else f"{why}; then resume with: {run.resume_command}")
    rows = [row for row in run.read_metrics() if row["kind"] == "train"]
    summary = {"seed": recipe.run.seed, "trainer": "verl", "steps": len(rows), "last": rows[-1] if rows else {}}
    run.write_summary(summary)
    return summary


def export_hf(checkpoint: Path, out: Path) -> None:
    """verl's checkpoint (global_step_N, its actor/, or a run: its newest) as a Hugging Face folder. Raises BadInput, RunFailed."""
    require_verl()
    newest = checkpoints_of(checkpoint)[-1:]
    actor = next((p for p in (*(c / "actor" for c in newest), checkpoint / "actor", checkpoint) if (p / "huggingface").is_dir()), None)
    if actor is None:
        raise BadFile(f"'{checkpoint}' holds no checkpoint of verl's; give a folder global_step_N, or the run's.")
    where = ["--local_dir", str(actor), "--target_dir", str(out)]
    where += ["--backend", "fsdp" if any(actor.glob("model_world_size_*")) else "megatron"]
    done = subprocess.run([sys.executable, "-m", "verl.model_merger", "merge", *where], capture_output=True, text=True, check=False)
    if done.returncode or not (out / "config.json").exists():
        raise RunFailed(f"verl could not merge {actor}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1][:300]}")
