"""Memory of one update against sequence length and batch: cut into micro-batches with a token budget, it stays flat as the batch grows.

    OMP_NUM_THREADS=1 python benchmarks/rl_memory.py --json -

Each point is a separate process: the rise of its peak resident memory over what it held before the update, in MiB. The budget is
`rl.microbatch_tokens` (on a CPU at most 4,096 padded tokens); "whole" is the same update with all rollouts in one part.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
from pathlib import Path

from zerosearch.cli.options import write_json

sys.path.insert(0, str(Path(__file__).parent))

LENGTHS, BATCHES = (128, 256, 512, 1024), (4, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=2048, help="micro-batch, in padded tokens")
    parser.add_argument("--json", type=Path, default="-")
    parser.add_argument("--point", nargs=4, metavar=("BATCH", "LENGTH", "BUDGET", "CHECKPOINTED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        batch, length, budget, checkpointed = map(int, options.point)
        print(measure(batch, length, budget, bool(checkpointed)))
        return
    points = [(batch, 256) for batch in BATCHES] + [(8, length) for length in LENGTHS if length != 256]
    rows = []
    for batch, length in points:
        row = {"batch": batch, "length": length}
        for name, budget, checkpointed in (("micro", options.budget, 0), ("micro_checkpointed", options.budget, 1), ("whole", 1 << 30, 0)):
            row[f"{name}_mib"] = point(batch, length, budget, checkpointed)
        rows.append(row)
    filled = [row for row in rows if row["length"] == 256 and row["batch"] * row["length"] >= options.budget]  # what could be cut
    result = {
        "rows": rows,
        "budget": options.budget,
        "growth_over_batch_micro": filled[-1]["micro_mib"] / filled[0]["micro_mib"],
        "growth_over_batch_whole": filled[-1]["whole_mib"] / filled[0]["whole_mib"],
        "batch_growth": filled[-1]["batch"] / filled[0]["batch"],
        "machine": f"{platform.machine()}, {platform.platform()}, 1 thread",
    }
    write_json(result, options.json)


def point(batch: int, length: int, budget: int, checkpointed: int) -> float:
    command = [sys.executable, __file__, "--point", *map(str, (batch, length, budget, checkpointed))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(batch: int, length: int, budget: int, checkpointed: bool) -> float:
    import torch
    from updates import random_model, rollouts

    from zerosearch.rl.learner import Learner
    from zerosearch.rl.settings import RLConfig
    from zerosearch.rl.train import learn

    class Uncut(Learner):
        """Without the limit set for a CPU's caches, so that "whole" is really one part."""

        @property
        def _most_tokens(self) -> int:
            return self.config.microbatch_tokens

    torch.set_num_threads(1)
    model = random_model()
    rl = RLConfig(kl_coefficient=0.0, microbatch_tokens=budget, gradient_checkpointing=checkpointed)
    learner = Uncut(model, None, rl, 1.0, 0)
    learn(rollouts(2, 64, 2, 2048), 0, 0, learner)  # creates the optimiser's state and loads libraries
    groups = rollouts(batch, length, 4, 2048)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    learn(groups, 1, 0, learner)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


if __name__ == "__main__":
    main()
