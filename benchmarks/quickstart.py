"""The quickstart over several seeds: held-out exact match before and after, the card, and the result of training on the real engine.

    python benchmarks/quickstart.py --seeds 0,1,2 --compare --out runs/benchmark --json -

Each seed is a separate run in OUT/seed-N and is not run again if it is already there. "ratio" is the mean held-out EM of the policies
trained on the simulator over that of the policies trained on the real engine for as many steps.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from statistics import fmean

from rich.console import Console

from zerosearch.cli.options import write_json
from zerosearch.lab.quickstart import compare_with_real_engine, quickstart

FIGURES = ("em", "em_one_hop", "em_two_hop", "em_sampled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--compare", action="store_true", help="also train on the real engine")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    console = Console(stderr=True)

    rows = []
    for seed in map(int, options.seeds.split(",")):
        out = options.out / f"seed-{seed}"
        finished = out / "summary.json"
        summary = json.loads(finished.read_text()) if finished.exists() else quickstart(out, seed, console=console)
        if options.compare:
            real = out / "real_engine" / "summary.json"
            summary["real_engine"] = (
                json.loads(real.read_text())["trained"] if real.exists() else compare_with_real_engine(out, seed, console=console)
            )
        rows.append(summary)

    result = {
        "seeds": [row["seed"] for row in rows],
        "base": {name: fmean(row["base"][name] for row in rows) for name in FIGURES},
        "trained": {name: fmean(row["trained"][name] for row in rows) for name in FIGURES},
        "trained_em_by_seed": [row["trained"]["em"] for row in rows],
        "worst_type": [min(row["trained"]["by_type"].items(), key=lambda item: item[1]) for row in rows],
        "simulator": {
            name: fmean(row["simulator"][name] for row in rows)
            for name in ("answer_in_useful", "answer_in_noisy", "answer_off_target", "real_engine_off_target")
        },
        "wall_s": [row["wall_s"] for row in rows],
        "n": rows[0]["trained"]["n"],
        "machine": f"{platform.machine()}, {platform.platform()}",
        "versions": rows[0]["versions"],
    }
    if options.compare:
        real_em = fmean(row["real_engine"]["em"] for row in rows)
        result |= {"real_engine": {name: fmean(row["real_engine"][name] for row in rows) for name in FIGURES}}
        result |= {
            "simulated_minus_real_em": result["trained"]["em"] - real_em,
            "ratio": result["trained"]["em"] / real_em,
            "ratio_of": "held-out EM",
        }
    write_json(result, options.json)


if __name__ == "__main__":  # the quickstart starts processes, which import this file again
    main()
