#!/usr/bin/env python3
# ruff: noqa: E501 - a page of Markdown, whose tables have long rows
"""docs/scaling.md from docs/scaling.json (what was measured) and zerosearch.integrations.verl.size (what is assumed, and the arithmetic).

python scripts/scaling_page.py            # writes docs/scaling.md; a test makes it again and compares
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from zerosearch.integrations.verl.size import GPUS, MODELS, Assumed, Step, Workload, best_split, least_gpus, search_s

DOCS = Path(__file__).resolve().parents[1] / "docs"
POLICY, SIMULATOR, GPU = "7b", "14b", "h100"
TOTALS = (8, 64, 512)


def page(measured: dict[str, Any]) -> str:
    policy, simulator, gpu, assumed, work = MODELS[POLICY], MODELS[SIMULATOR], GPUS[GPU], Assumed(), Workload()
    one = search_s(simulator, gpu, work, assumed)
    fixed = [best_split(policy, simulator, gpu, total, work) for total in TOTALS]
    grown = [best_split(policy, simulator, gpu, total, replace(work, rollouts=round(work.rollouts * total / 8))) for total in TOTALS]
    cores = [_cores(step, measured) for step in grown]
    return f"""# Scaling on paper

Made by `scripts/scaling_page.py` from `docs/scaling.json` and `src/zerosearch/integrations/verl/size.py`; do not edit. **Nothing on this page was run on a
GPU.** The CPU costs are measured, the GPU's come from data sheets and stated assumptions; `zerosearch size` does the same for other sizes.

## Measured, on {measured["machine"]}

| part | cost |
|---|---|
| a simulated search through a loopback endpoint: prompt, HTTP, parsing (`benchmarks/simulated_search.py`) | {measured["search_cpu_ms"]:.2f} CPU ms |
| a rollout of two searches beside policy and engine (`benchmarks/rollout_loop.py`) | {measured["rollout_cpu_ms"]:.2f} CPU ms |
| a step of verl on two CPU ranks, micro model, beside rolling out, log-probs, update and hand-over | {measured["verl_rest_s"]:.2f} s |

## Assumed

A {POLICY.upper()} policy, a {SIMULATOR.upper()} simulator, {GPU.upper()} GPUs of {gpu.flops / 1e12:.0f} TFLOP/s in bfloat16, {gpu.bandwidth / 1e12:.2f} TB/s and {gpu.memory / 1e9:.0f} GB, {gpu.network / 1e9:.0f} GB/s between nodes. Of
these peaks a program reaches {assumed.training:.0%} when it trains, {assumed.reading:.0%} when it reads prompts, {assumed.decoding:.0%} of the bandwidth when it decodes, {assumed.rows} rows per GPU at
most. {assumed.overhead_s:.0f} s of a step go to waking servers, gathering the batch and the controller. The slowest rollout takes {work.longest:g} times the mean one.

{_lengths(work)}

Training keeps {18} bytes per parameter (weights 2, gradients 4, masters 4, moments 8) on the trainer's GPUs: at least {least_gpus(policy, gpu)} for {POLICY.upper()}. A search takes
{1000 * one:.1f} ms of a simulator's GPU in full batches: **{1 / one:.0f} searches/s a GPU**.

## The paper's batch, {work.rollouts} rollouts per step

{_table(fixed)}

More GPUs soon help no more: the turns of the slowest rollout come one after the other, whatever is idle meanwhile.

## A batch that grows with the GPUs

{_table(grown)}

Agent workers, from the measured costs: {", ".join(f"{c:.2f}" for c in cores)} cores' worth of Python at {", ".join(map(str, TOTALS))} GPUs while rolling out; the recipes' 8 processes a run
are enough up to where that passes 8.

## What becomes the limit

- **The slowest rollout**, first and for most shapes: {grown[0].slowest_rollout_s:.0f} s against {grown[0].policy_s:.0f} s of decoding and {grown[0].simulator_s:.0f} s of the simulator at {TOTALS[0]} GPUs. What shortens it: fewer and
  shorter turns (`rollout.max_turns`, `max_turn_tokens`), a simulator with small batches; or verl's asynchronous trainer, which we have not tried.
- **The simulator**, when it has too few GPUs: the split above gives it as many as make it no slower than the rest. {1 / one:.0f} searches/s a GPU is the figure to
  plan with; with shorter replies it grows in proportion.
- **The weight hand-over** is {grown[-1].hand_over_s:.1f} s whatever the number of GPUs, as long as each server's copy comes over one link of {gpu.network / 1e9:.0f} GB/s; it is
  {grown[-1].hand_over_s / grown[-1].seconds:.1%} of a step at {TOTALS[-1]} GPUs.
- **Learning** falls with the GPUs only while each has enough rollouts: at {TOTALS[-1]} GPUs and {work.rollouts} rollouts a trainer's GPU would see less than one.

## What was not run

GPUs of any kind · vLLM and SGLang inside verl (the settings are composed by verl's own configuration, and the requests are in their form) · several
hosts · Megatron · LoRA on verl · Slurm, KubeRay and SkyPilot examples · the recipes for a cluster (`zerosearch recipes`). What ran is verl 0.9.1's own trainer on two
CPU processes; see [On a cluster](cluster.md).
"""


def _lengths(work: Workload) -> str:
    names = {
        "searches": "searches per rollout",
        "prompt": "prompt",
        "turn": "a turn of the policy",
        "observation": "an observation",
        "simulator_prompt": "the simulator's prompt",
        "simulator_reply": "its reply",
    }
    values = asdict(work)
    cells = [f"{values[key]:g}" for key in names]
    return "\n".join(("| " + " | ".join(names.values()) + " |", "|" + "---|" * len(names), "| " + " | ".join(cells) + " |"))


def _table(steps: list[Step]) -> str:
    rows = [
        f"| {s.gpus + s.simulators} | {s.gpus} + {s.simulators} | {s.seconds:.0f} | {s.policy_s:.0f} / {s.simulator_s:.0f} / {s.slowest_rollout_s:.0f} | "
        f"{s.learning_s:.0f} | {s.hand_over_s:.1f} | {s.searches / s.rollout_s:,.0f} | {s.tokens / s.seconds:,.0f} | {s.limit} |"
        for s in steps
    ]
    head = "| GPUs | trainer + simulator | step, s | rolling out: policy / simulator / slowest, s | learning, s | hand-over, s | searches/s | tokens/s | limit |"
    return "\n".join((head, "|" + "---|" * 9, *rows))


def _cores(step: Step, measured: dict[str, Any]) -> float:
    seconds = step.searches * (measured["search_cpu_ms"] + measured["rollout_cpu_ms"] / 2) / 1000
    return seconds / step.rollout_s


if __name__ == "__main__":
    (DOCS / "scaling.md").write_text(page(json.loads((DOCS / "scaling.json").read_text())))
