"""The quickstart's world learned on verl: Ray, FSDP2 on two CPU ranks, our sampler as the server. Held-out EM before and after.

    python benchmarks/quickstart_verl.py --quickstart runs/quickstart --out runs/quickstart_verl --steps 30 --json -

`--quickstart` holds a quickstart's world, policy and simulator (made here if it does not). Run it with the Python of `make test-verl`
(`.venv-verl/bin/python`). The recipe is the quickstart's apart from the number of steps; verl's critic-free trainer runs it.
Must: EM rises by 0.2 in 25 minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from zerosearch.config.recipe import make_recipe, to_toml
from zerosearch.lab.quickstart import Lab, Scale
from zerosearch.runs.directory import RunDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from verl_on_cpu import environment, overrides  # the back end is kept with the tests


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quickstart", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart_verl"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", default="-")
    options = parser.parse_args()

    lab, console = Lab(options.quickstart, options.seed, Scale(rl_steps=options.steps)), Console(stderr=True)
    lab.write_worlds()
    lab.pretrain(console)
    lab.tune_both(console)
    table = lab.recipe("simulated", options.out).model_dump()
    table["questions"]["held_out_limit"] = options.held_out
    table["run"] |= {"checkpoint_every": options.steps, "evaluate_every": options.steps}
    table["rl"]["warmup_steps"] = 0
    options.out.mkdir(parents=True, exist_ok=True)
    recipe, run = options.out / "recipe.toml", options.out / "run"
    recipe.write_text(to_toml(make_recipe(table)))

    started = time.perf_counter()
    command = [sys.executable, "-m", "zerosearch", "train", str(recipe), *overrides(), "--out", str(run)]
    with (options.out / "log.txt").open("w") as log:
        code = subprocess.run(command, env=environment(options.out / "figures.jsonl"), stdout=log, stderr=subprocess.STDOUT).returncode
    seconds = time.perf_counter() - started
    rows = [row for row in RunDirectory(run).read_metrics() if row["kind"] == "evaluate"]
    before, after = rows[0]["em"]["mean"], rows[-1]["em"]["mean"]
    result = {
        "benchmark": "quickstart_verl",
        "exit_code": code,
        "steps": options.steps,
        "em_before": before,
        "em_after": after,
        "n": rows[-1]["n"],
        "interval_after": [rows[-1]["em"]["low"], rows[-1]["em"]["high"]],
        "wall_s": round(seconds, 1),
        "must": "+0.2 in 1500 s",
        "machine": platform.processor() or platform.machine(),
    }
    text = json.dumps(result, indent=2)
    if options.json == "-":
        print(text)
    else:
        Path(options.json).write_text(text + "\n")
    sys.exit(0 if code == 0 and after - before >= 0.2 and seconds <= 1500 else 1)


if __name__ == "__main__":
    main()
