"""The sampler against `generate` of transformers: the same model, the same work, CPU seconds side by side.

    python benchmarks/sampler.py [--json FILE|-] [--threads 1] [--repeats 5]

1.25 million parameters (Qwen3), 64 requests x (64 prompt + 100 sampled tokens); then two turns with a 60-token observation
between them, which `generate` answers from scratch. Ours and theirs alternate within each repeat, so that whatever else
the machine does affects both; the medians are compared. `ratio` is ours ÷ theirs in tokens per CPU second: above 1 is faster.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from zerosearch.cli.options import write_json
from zerosearch.core.types import Sampling
from zerosearch.models.sampler import Sampler

REQUESTS, PROMPT, NEW, OBSERVATION, VOCABULARY = 64, 64, 100, 60, 2048


def build() -> tuple[Any, Any]:
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=1024, tie_word_embeddings=True,
        eos_token_id=None, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    words = {f"w{i}": i for i in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")))
    return Qwen3ForCausalLM(config).eval(), tokenizer


def ours(sampler: Sampler, prompts: list[list[int]], observations: list[list[int]], turns: int) -> None:
    sampler.forget()  # as after a weight update: nothing is cached

    async def converse(i: int) -> None:
        ids = list(prompts[i])
        for turn in range(turns):
            generation = await sampler.generate(ids, Sampling(NEW, seed=2 * i + turn), str(i))
            ids += [*generation.token_ids, *observations[i]]
        sampler.close(str(i))

    async def everybody() -> None:
        await asyncio.gather(*(converse(i) for i in range(REQUESTS)))

    asyncio.run(everybody())
    assert sampler.stats.prefilled == sampler.stats.new


def theirs(model: Any, prompts: list[list[int]], observations: list[list[int]], turns: int) -> None:
    ids = torch.tensor(prompts)
    for turn in range(turns):
        if turn:
            ids = torch.cat((ids, torch.tensor(observations)), 1)
        ids = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=True, top_k=0, top_p=1.0,
            temperature=1.0, pad_token_id=0,
        )  # fmt: skip
    assert ids.shape[1] == PROMPT + turns * NEW + (turns - 1) * OBSERVATION


def cpu_seconds(work: Callable[[], None]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default="-", help="where the JSON object goes; - is the standard output")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    model, tokenizer = build()
    sampler = Sampler(model, tokenizer)  # made once and kept, as in a training run
    prompts = torch.randint(1, VOCABULARY, (REQUESTS, PROMPT)).tolist()
    observations = torch.randint(1, VOCABULARY, (REQUESTS, OBSERVATION)).tolist()

    def compare(turns: int) -> dict[str, Any]:
        pairs = [
            (
                cpu_seconds(lambda: ours(sampler, prompts, observations, turns)),
                cpu_seconds(lambda: theirs(model, prompts, observations, turns)),
            )
            for _ in range(args.repeats + 1)
        ][1:]  # the first warms both up
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        return {
            "ratio": round(other / mine, 3),
            "ours_cpu_s": round(mine, 3),
            "transformers_cpu_s": round(other, 3),
            "pairs_cpu_s": [[round(a, 3), round(b, 3)] for a, b in pairs],
        }

    single, double = compare(1), compare(2)
    write_json(
        {
            "ratio": single["ratio"],
            "ratio_of": "tokens per CPU second",
            "single_turn": single,
            "two_turns": double,
            "work": {"requests": REQUESTS, "prompt": PROMPT, "new": NEW, "observation": OBSERVATION},
            "parameters": sum(p.numel() for p in model.parameters()),
            "threads": args.threads,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version()},
        },
        args.json,
    )


if __name__ == "__main__":
    main()
