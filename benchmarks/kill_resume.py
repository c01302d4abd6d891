"""A run killed with SIGKILL at random moments and resumed each time, against the same run left alone: weights equal to the bit?

    OMP_NUM_THREADS=1 python benchmarks/kill_resume.py --kills 20 --json -

The run is a real one in the micro world, small enough to be killed often: a policy, a simulator, GRPO, a checkpoint per step, two worker
processes. Each moment is drawn uniformly from 0.1 s after a start to 0.6 of what the whole run takes: imports, rollouts, updates and the
writing of checkpoints are all hit. A run that ends before all kills are done is compared, and started again. `ratio` is the share
of weights, and of rows of metrics (without times), that are equal: 1 is all.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from micro import micro_recipe
from zerosearch.cli.options import write_json
from zerosearch.lab.tiny import tiny_world

TIMES = ("seconds", "rollout_s", "tokens_per_s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--algorithm", default="grpo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = killed_and_not(Path(scratch), options)
    write_json(result, options.json)


def killed_and_not(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    tiny_world(folder)
    simulated = {"kind": "simulated", "model": str(folder / "simulator"), "template": "micro", "max_new_tokens": 60}
    recipe = folder / "recipe.toml"
    recipe.write_text(micro_recipe(folder, **simulated))
    settings = [
        f"rl.steps={options.steps}",
        "rl.questions_per_step=4",
        "rl.group_size=4",
        f"run.workers={options.workers}",
        f"rl.algorithm={options.algorithm}",
    ]
    alone, killed = folder / "alone", folder / "killed"
    begin = [sys.executable, "-m", "zerosearch", "train", str(recipe), *settings]
    started = time.monotonic()
    subprocess.run([*begin, "--out", str(alone)], check=True, capture_output=True)
    whole_s = time.monotonic() - started

    rng, moments, resumed_at = random.Random(options.seed), list[float](), list[int]()
    while len(moments) < options.kills:
        resuming = (killed / "config.toml").exists()
        command = [sys.executable, "-m", "zerosearch", "train", "--resume", str(killed)] if resuming else [*begin, "--out", str(killed)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        moment = rng.uniform(0.1, whole_s * 0.6)
        try:
            process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            moments.append(round(moment, 2))
            resumed_at.append(len(rows_of(killed)))
        if (killed / "summary.json").exists():  # it ended before all kills were done: start again
            require_equal(alone, killed)
            subprocess.run(["rm", "-rf", str(killed)], check=True)
    resuming = (killed / "config.toml").exists()
    command = [sys.executable, "-m", "zerosearch", "train", "--resume", str(killed)] if resuming else [*begin, "--out", str(killed)]
    subprocess.run(command, check=True, capture_output=True)
    return {
        **require_equal(alone, killed),
        "ratio_of": "weights and rows that are equal",
        "kills": len(moments),
        "killed_after_s": moments,
        "steps_done_at_kill": resumed_at,
        "steps": options.steps,
        "algorithm": options.algorithm,
        "workers": options.workers,
        "machine": f"{platform.machine()}, {platform.platform()}",
        "torch": torch.__version__,
    }


def require_equal(alone: Path, killed: Path) -> dict[str, Any]:
    """Exits with the differences, if there are any."""
    ours, theirs = (load_file(sorted((run / "checkpoints").glob("step-*"))[-1] / "model.safetensors") for run in (killed, alone))
    same = [torch.equal(ours[name], theirs[name]) for name in theirs]
    rows = [a == b for a, b in zip(rows_of(killed), rows_of(alone), strict=True)]
    if not all(same) or not all(rows):
        sys.exit(f"{same.count(False)} of {len(same)} weights and {rows.count(False)} of {len(rows)} rows of metrics differ")
    return {"ratio": 1.0, "weights": len(same), "rows": len(rows)}


def rows_of(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    lines = [line for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if file.exists() else []
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


if __name__ == "__main__":
    main()
