"""One RL step on a CUDA GPU, in the shapes of Qwen2.5-0.5B or 3B with random weights: rollout, log-probs, update.

    python benchmarks/gpu/rl_step.py --shape 0.5b --json -

Prints for each part: tokens/s, peak memory in GiB, and the share of the card's bf16 peak (2 · parameters FLOPs per token forward, 6 with
the backward pass; attention is not counted, so the share is a lower bound). `--peak-tflops` is the card's dense bf16 peak; the table knows
some. Nothing here has been run on a GPU yet: the figures are *not measured*.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zerosearch.cli.options import write_json

sys.path.insert(0, str(Path(__file__).parents[1]))

SHAPES = {
    "0.5b": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864},
    "3b": {"hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2, "intermediate_size": 11008},
}
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "A10": 125.0, "RTX 4090": 165.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="0.5b")
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=1024, help="tokens per rollout, half of them the policy's")
    parser.add_argument("--algorithm", default="grpo")
    parser.add_argument("--microbatch-tokens", type=int, default=16384)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--peak-tflops", type=float, default=0.0)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a CUDA GPU and found none; on a CPU run benchmarks/ppo_step.py and benchmarks/rl_memory.py.")
    write_json(run(options), options.json)


def run(options: argparse.Namespace) -> dict[str, Any]:
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from updates import rollouts

    from zerosearch.models.causal import token_logprobs
    from zerosearch.rl.batch import make_batch, microbatches
    from zerosearch.rl.learner import Learner
    from zerosearch.rl.settings import RLConfig
    from zerosearch.rl.train import learn

    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=151936, max_position_embeddings=32768, tie_word_embeddings=True, **SHAPES[options.shape])
    model = Qwen2ForCausalLM(config).to("cuda", torch.bfloat16).eval()
    parameters = sum(p.numel() for p in model.parameters())
    rl = RLConfig(
        algorithm=options.algorithm,
        kl_coefficient=0.0,
        microbatch_tokens=options.microbatch_tokens,
        gradient_checkpointing=options.gradient_checkpointing,
    )
    learner = Learner(model, None, rl, 1.0, 0)
    groups = rollouts(options.rollouts, options.tokens, 8, config.vocab_size)
    trajectories = [t for g in groups for t in g.trajectories]
    tokens = sum(len(t.token_ids) for t in trajectories)
    written = sum(t.policy_token_count for t in trajectories)
    name = torch.cuda.get_device_name()
    peak = options.peak_tflops or next((v for k, v in PEAK_TFLOPS.items() if k in name), 0.0)

    @torch.no_grad()
    def logprobs() -> None:
        for part in microbatches(trajectories, options.microbatch_tokens):
            batch = make_batch([trajectories[i] for i in part], 0).to(model.device)
            token_logprobs(model, batch.ids_BT, batch.trained_BT)

    def part(work: Callable[[], Any], count: int, flops_a_token: float) -> dict[str, float | str]:
        work()  # warm-up
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        share = count * flops_a_token * parameters / seconds / (peak * 1e12) if peak else "unknown: give --peak-tflops"
        memory = torch.cuda.max_memory_allocated() / 2**30
        return {"seconds": seconds, "tokens_per_s": count / seconds, "peak_gib": memory, "share_of_bf16_peak": share}

    return {
        "device": name,
        "shape": options.shape,
        "parameters": parameters,
        "rollout": part(lambda: sample(model, trajectories), written, 2),
        "log-probs": part(logprobs, tokens, 2),
        "update": part(lambda: learn(groups, 0, 0, learner), tokens, 6),
        "torch": torch.__version__,
    }


def sample(model: Any, trajectories: list[Any]) -> None:
    """Two turns per rollout with a document in between, by our sampler. An end token, 1 in 151,936, may end a turn a little early."""
    from zerosearch.core.types import Sampling
    from zerosearch.lab.language import make_tokenizer
    from zerosearch.models.sampler import Sampler

    sampler = Sampler(model, make_tokenizer())

    async def one(number: int, t: Any) -> None:
        ids = list(t.spans[0].token_ids)
        for turn in (1, 3):
            sampling = Sampling(len(t.spans[turn].token_ids), 1.0, 1.0, (), number)
            ids += list((await sampler.generate(ids, sampling, str(number))).token_ids)
            ids += list(t.spans[2].token_ids) if turn == 1 else []
        sampler.close(str(number))

    async def everything() -> None:
        await asyncio.gather(*(one(i, t) for i, t in enumerate(trajectories)))

    asyncio.run(everything())


if __name__ == "__main__":
    main()
