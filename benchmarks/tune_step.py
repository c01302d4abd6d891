"""A step of `zerosearch tune` against a bare transformers loop on the same examples: CPU seconds per pass, packed against padded.

    python benchmarks/tune_step.py --json -

Both tune the same small llama with AdamW on the same examples, with the lengths of searches. The bare loop pads each batch to its
longest example and does nothing else: forward, backward, clip, step. Ours is the Trainer on packed rows, with logging. A pass
is compared, not a step, so that packing is not credited with reading more in each. The two take turns; the median of the rounds counts.
Must: ratio ≤ 1.15; aim: ≤ 1.0, by packing.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from zerosearch.cli.options import write_json
from zerosearch.simulator.packing import Example, PackedRows
from zerosearch.simulator.tune import TuneSettings, fit_packed


def build() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096, hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=1024,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def examples_of(n: int) -> list[Example]:
    """Prompts of 60–120 tokens, replies of 40–260."""
    rng = random.Random(0)
    lengths = [(rng.randint(60, 120), rng.randint(40, 260)) for _ in range(n)]
    return [Example(tuple(rng.choices(range(4096), k=prompt + reply)), prompt) for prompt, reply in lengths]


def bare(examples: list[Example], batch: int, passes: int) -> float:
    """CPU seconds of that many passes."""
    model = build().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    started = time.process_time()
    for start in [*range(0, len(examples), batch)] * passes:
        rows = examples[start : start + batch]
        width = max(len(e.ids) for e in rows)
        ids = torch.tensor([[*e.ids, *[0] * (width - len(e.ids))] for e in rows])
        labels = torch.tensor([[*e.labels, *[-100] * (width - len(e.ids))] for e in rows])
        mask = torch.tensor([[1] * len(e.ids) + [0] * (width - len(e.ids)) for e in rows])
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.process_time() - started


def steps_of(examples: list[Example], batch: int) -> tuple[int, int]:
    """(packed rows per step, steps per pass): rows as long as the longest example, and enough per step to match the bare loop's steps."""
    rows = len(PackedRows(examples, max(len(e.ids) for e in examples)))
    batch_rows = math.ceil(rows / math.ceil(len(examples) / batch))
    return batch_rows, math.ceil(rows / batch_rows)


def ours(examples: list[Example], batch: int, passes: int) -> float:
    """CPU seconds of that many passes."""
    batch_rows, steps = steps_of(examples, batch)
    settings = TuneSettings("", steps=passes * steps, batch_rows=batch_rows, learning_rate=1e-4, save_every=10**6, log_every=10)
    model = build().train()
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        fit_packed(model, examples, [], settings, Path(folder), 0, lambda *_: None)
        return time.process_time() - started


def a_pass(run: Callable[[list[Example], int, int], float], examples: list[Example], batch: int) -> float:
    """CPU seconds of one pass: half of what three take more than one, so that starting and saving are left out."""
    return (run(examples, batch, 3) - run(examples, batch, 1)) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    torch.set_num_threads(1)  # on one thread CPU seconds are those of an idle machine, however busy this one is
    examples = examples_of(options.examples)
    bare(examples[: options.batch], options.batch, 1)  # warm
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(options.rounds):
        times["bare"].append(a_pass(bare, examples, options.batch))
        times["ours"].append(a_pass(ours, examples, options.batch))
    medians = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "benchmark": "tune_step",
        "ratio": medians["ours"] / medians["bare"],
        "must": 1.15,
        "cpu_seconds": times,
        "examples": options.examples,
        "steps": {"bare": math.ceil(options.examples / options.batch), "ours": steps_of(examples, options.batch)[1]},
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    write_json(result, options.json)


if __name__ == "__main__":
    main()
