"""One GRPO training step of ours against TRL's, on the same work: CPU seconds side by side.

    python benchmarks/trl_step.py --trl-python /tmp/vt/bin/python [--json FILE|-] [--steps 6] [--threads 1]

The peer needs a separate environment (TRL requires other packages than we do):

    python3.11 -m venv /tmp/vt && /tmp/vt/bin/pip install torch==2.13.0
    /tmp/vt/bin/pip install trl==1.16.0 datasets accelerate

Both sides load one checkpoint made here (1.25 million parameters, Qwen3, word-level tokenizer, float32) and do, per step:
8 prompts x 8 samples, 64 tokens of prompt, 48 tokens that end with </search>, a 60-token <information> block that carries
no gradient, 48 more tokens; reward, group-relative advantages, one GRPO update without KL. A random model never writes
</search>, so on both sides 47 tokens are sampled and the tag is put behind them. `one_turn` is 96 tokens without a search.

Ours is what `zerosearch train` runs (`rollout_group`, `LocalModel`, `Learner`); only the policy is wrapped, to force the
shapes. TRL's is `GRPOTrainer` with a `rollout_func`, in one turn its own `generate`. The two take turns, step by step, each
in a separate process, so that whatever else the machine does affects both. The first 2 steps warm up; medians of the
rest are compared. `ratio` is ours / theirs in CPU seconds: below 1 is faster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

WARM_UP = 2
VOCABULARY = 2048
TAGS = ("<think>", "</think>", "<search>", "</search>", "<information>", "</information>", "<answer>", "</answer>")
INSTALL = (
    "TRL is missing: {python} -m pip install torch==2.13.0 && {python} -m pip install trl==1.16.0 datasets accelerate, "
    "in a separate environment, and give its python with --trl-python PATH"
)


@dataclass(frozen=True)
class Work:
    """What a step does. `observation` 0: one turn of 2 x `turn` tokens without a search."""

    prompts: int = 8
    group: int = 8
    prompt: int = 64
    turn: int = 48
    observation: int = 60
    learning_rate: float = 1e-4

    @property
    def rows(self) -> int:
        return self.prompts * self.group

    @property
    def completion(self) -> int:
        return 2 * self.turn + self.observation


# ── the checkpoint and the texts, shared by both sides ────────────────────────────────────────────────────────────


def write_checkpoint(folder: Path) -> int:
    """A random Qwen3 with a word-level tokenizer; returns its number of parameters."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    words = ["<|endoftext|>", "<|im_end|>", *TAGS]
    words += [f"w{i}" for i in range(VOCABULARY - len(words))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left")
    fast.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=1024, tie_word_embeddings=True,
        eos_token_id=1, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def prompts_of(work: Work, count: int) -> list[str]:
    draw = random.Random(0)
    return [" ".join(f"w{draw.randrange(2000)}" for _ in range(work.prompt)) for _ in range(count)]


def reward(completion_ids: list[int]) -> float:
    """A reward that differs from sample to sample, so that every sample carries gradient."""
    return sum(i * token for i, token in enumerate(completion_ids)) % 9973 / 9973


# ── one side, in a process of its own ─────────────────────────────────────────────────────────────────────────────


class Gate:
    """A side's end of the conversation: waits for its turn before a step, reports the time after it. Waiting costs no CPU."""

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print goes to the log
        self.parts: dict[str, float] = {}

    def begin(self) -> None:
        if not sys.stdin.readline():
            raise SystemExit("the other end has gone")
        self.parts = {}
        self._cpu, self._wall = self._clock(), time.perf_counter()

    def end(self) -> None:
        cpu, wall = self._clock() - self._cpu, time.perf_counter() - self._wall
        self.tell({"total": cpu, "wall": wall, **self.parts})

    def tell(self, message: dict[str, Any]) -> None:
        print(json.dumps(message), file=self._out, flush=True)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = self._clock()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + self._clock() - started


def make_policy(folder: Path, work: Work) -> Any:
    from zerosearch.core.renderers import TemplateRenderer
    from zerosearch.core.types import Generation, Sampling
    from zerosearch.models.local import LocalModel, load_model

    class Forced(TemplateRenderer):
        def decode(self, token_ids: Any) -> str:
            text = super().decode(token_ids)
            if not text.endswith("</search>"):
                return text.replace("<", "")
            return "<search> " + text.removesuffix("</search>").replace("<", "") + "</search>"

    class ForcedShapes(LocalModel):
        """Searches in the first of two turns, whatever the model would do, and never stops early."""

        def __init__(self, model: Any, tokenizer: Any) -> None:
            super().__init__(model, tokenizer)
            self.renderer = Forced(tokenizer)
            self.close_search = tokenizer.convert_tokens_to_ids("</search>")
            self.seen: set[str] = set()

        async def generate(self, token_ids: Any, sampling: Sampling, session: str) -> Generation:
            searches = bool(work.observation) and session not in self.seen
            self.seen.add(session)
            wanted = replace(sampling, max_new_tokens=sampling.max_new_tokens - searches, stop=())
            sampled = await super().generate(token_ids, wanted, session)
            if not searches:
                return sampled
            return replace(sampled, token_ids=(*sampled.token_ids, self.close_search), logprobs=(*sampled.logprobs, -7.6))

        def close(self, session: str) -> None:
            self.seen.discard(session)
            super().close(session)

    model, tokenizer = load_model(str(folder), "cpu")
    tokenizer.eos_token = model.config.eos_token_id = model.generation_config.eos_token_id = None  # nothing ends early
    return ForcedShapes(model, tokenizer)


def observation_of(policy: Any, work: Work) -> Any:
    """A document whose `<information>` block has exactly `work.observation` tokens."""
    from zerosearch.core.types import Document
    from zerosearch.rollout.grammar import render_information

    for length in range(work.observation):
        document = Document(" ".join(f"w{i}" for i in range(length)))
        if len(policy.renderer.observation(render_information([document]))) == work.observation:
            return document
    raise SystemExit(f"no document makes a block of {work.observation} tokens")


def ours(folder: Path, work: Work, steps: int, gate: Any) -> dict[str, Any]:
    """`steps` steps of the package's own training; returns the amount of work."""
    import torch
    import transformers

    from zerosearch.core.function_engine import FunctionEngine
    from zerosearch.core.types import Episode, Group, Question
    from zerosearch.rl.learner import Learner
    from zerosearch.rl.settings import RLConfig
    from zerosearch.rl.train import learn
    from zerosearch.rollout.environment import SearchEnvironment
    from zerosearch.rollout.loop import RolloutSettings, rollout_group
    from zerosearch.rollout.prompts import PolicyPrompt

    policy = make_policy(folder, work)
    searches = bool(work.observation)
    document = observation_of(policy, work) if searches else None
    engine = FunctionEngine(lambda query, k: [document] if document else [])
    prompt = PolicyPrompt(task="{question}", malformed="Malformed.")
    turn = work.turn if searches else 2 * work.turn
    environment = SearchEnvironment(engine, prompt, max_turns=1 + searches)
    settings = RolloutSettings(max_turns=1 + searches, max_turn_tokens=turn, max_observation_tokens=work.observation or 1)
    config = RLConfig(kl_coefficient=0.0, learning_rate=work.learning_rate, group_size=work.group, questions_per_step=work.prompts)
    learner = Learner(policy.model, None, config, settings.temperature, policy.tokenizer.pad_token_id)
    questions = [Question(str(i), text, ("w1",)) for i, text in enumerate(prompts_of(work, work.prompts * steps))]

    async def roll_out(step: int) -> list[Group]:
        chosen = questions[step * work.prompts : (step + 1) * work.prompts]
        return list(
            await asyncio.gather(*(rollout_group(q, work.group, policy, environment, settings, Episode(step=step)) for q in chosen))
        )

    def rewarded(group: Group) -> Group:
        rewards = [reward(list(t.token_ids[work.prompt :])) for t in group.trajectories]
        return Group(group.question, tuple(replace(t, reward=r) for t, r in zip(group.trajectories, rewards, strict=True)))

    learned: dict[str, float] = {}
    groups: list[Group] = []
    for step in range(steps):
        gate.begin()
        with gate.part("rollout"):
            groups = [rewarded(group) for group in asyncio.run(roll_out(step))]
        groups, learned = learn(groups, step, 0, learner)
        policy.sampler.forget()
        gate.end()
    lengths = {len(t.token_ids) for g in groups for t in g.trajectories}
    stats = policy.sampler.stats
    return {
        "rows": sum(len(g.trajectories) for g in groups),
        "tokens_per_row": sorted(lengths),
        "trained_tokens": int(learned["trained_tokens"]),
        "prefilled_over_new": stats.prefilled / stats.new,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
    }


def theirs(folder: Path, work: Work, steps: int, gate: Any, batch: int) -> dict[str, Any]:
    """`steps` steps of TRL's GRPOTrainer; returns the amount of work."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    from trl.models import unwrap_model_for_generation

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
    close_search = tokenizer.convert_tokens_to_ids("</search>")
    words = " ".join(f"w{i}" for i in range(max(work.observation - 2, 0)))
    observation_ids = tokenizer(f"<information> {words} </information>")["input_ids"]

    def rollout_func(prompts: list[str], trainer: Any) -> dict[str, Any]:
        prompt_ids = trainer.processing_class(text=prompts)["input_ids"]
        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model, torch.no_grad():

            def generate(rows: list[list[int]], new: int) -> list[list[int]]:
                longest = max(map(len, rows))
                ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
                mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
                out = model.generate(
                    input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=new, min_new_tokens=new,
                    pad_token_id=0, eos_token_id=1,
                )  # fmt: skip
                return out[:, longest:].tolist()

            first = [[*row, close_search] for row in generate(prompt_ids, work.turn - 1)]
            context = [row + observation_ids for row in first]
            second = generate([p + c for p, c in zip(prompt_ids, context, strict=True)], work.turn)
        mask = [[1] * len(a) + [0] * len(observation_ids) + [1] * len(b) for a, b in zip(first, second, strict=True)]
        completions = [a + b for a, b in zip(context, second, strict=True)]
        return {"prompt_ids": prompt_ids, "completion_ids": completions, "logprobs": None, "env_mask": mask}

    class Turns(TrainerCallback):
        """A step lasts from the end of the previous one to its own, so that loading its data counts."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            gate.begin()

        def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            gate.end()
            if state.global_step < steps:
                gate.begin()

    with tempfile.TemporaryDirectory() as scratch:
        config = GRPOConfig(
            output_dir=scratch, use_cpu=True, bf16=False, gradient_checkpointing=False, beta=0.0, loss_type="grpo",
            per_device_train_batch_size=batch, gradient_accumulation_steps=work.rows // batch, num_generations=work.group,
            max_completion_length=work.completion, max_steps=steps, learning_rate=work.learning_rate, temperature=1.0,
            logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True,
            generation_kwargs={"max_new_tokens": 2 * work.turn, "min_new_tokens": 2 * work.turn},
        )  # fmt: skip
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder),
            reward_funcs=lambda completion_ids, **_: [reward(ids) for ids in completion_ids],
            args=config,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list([{"prompt": text} for text in prompts_of(work, work.prompts * steps)]),
            callbacks=[Turns()],
            **({"rollout_func": rollout_func} if work.observation else {}),
        )
        shapes: dict[str, Any] = {}
        sums = {"rows": 0, "trained_tokens": 0}
        score, loss = trainer._generate_and_score_completions, trainer._compute_loss

        def timed(inputs: Any) -> Any:
            with gate.part("rollout"):
                return score(inputs)

        def looked_at(model: Any, inputs: Any) -> Any:
            completions, mask = inputs["completion_ids"], inputs["completion_mask"]
            sums["rows"] += completions.shape[0]
            shapes["tokens_per_row"] = [inputs["prompt_ids"].shape[1] + completions.shape[1]]
            sums["trained_tokens"] += int((mask * inputs.get("tool_mask", 1)).sum())
            return loss(model, inputs)

        trainer._generate_and_score_completions, trainer._compute_loss = timed, looked_at
        trainer.train()
    return {
        **shapes,
        **{name: total // steps for name, total in sums.items()},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "trl": trl.__version__,
        },
    }


def be_a_side(side: str, folder: Path, work: Work, steps: int, threads: int, batch: int) -> None:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    gate = Gate()
    gate.tell({"done": ours(folder, work, steps, gate) if side == "ours" else theirs(folder, work, steps, gate, batch)})


# ── both sides, taking turns ──────────────────────────────────────────────────────────────────────────────────────


class Side:
    """The other end: a process that does one side's work, one step per request."""

    def __init__(self, name: str, command: list[str], threads: int, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `stop`)
        offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, **offline, "OMP_NUM_THREADS": str(threads), **(environment or {})},
        )  # fmt: skip

    def step(self) -> dict[str, float]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `hear` says why
            print("go", file=self._process.stdin, flush=True)
        return self.hear()

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise SystemExit(f"the {self.name} side failed:\n{self._log.read()[-3000:]}")
        return json.loads(line)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


def take_turns(sides: Sequence[Side], steps: int) -> tuple[list[list[dict[str, float]]], dict[str, dict[str, Any]]]:
    """The time of each step on each side, without the warm-up, and each side's final report."""
    taken: list[list[dict[str, float]]] = []
    try:
        for step in range(steps + WARM_UP):
            taken.append([side.step() for side in sides])
            seconds = ", ".join(f"{side.name} {took['total']:.2f}" for side, took in zip(sides, taken[-1], strict=True))
            print(f"{f'step {step + 1 - WARM_UP}/{steps}' if step >= WARM_UP else 'warm-up'}: CPU seconds {seconds}", file=sys.stderr)
        return taken[WARM_UP:], {side.name: side.hear()["done"] for side in sides}
    finally:
        for side in sides:
            side.stop()


def compare(folder: Path, work: Work, steps: int, threads: int, trl_python: str, trl_batch: int) -> dict[str, Any]:
    def side(name: str, python: str) -> Side:
        numbers = ["--steps", str(steps + WARM_UP), "--threads", str(threads), "--trl-batch", str(trl_batch)]
        return Side(
            name, [python, __file__, "--side", name, "--folder", str(folder), "--work", json.dumps(asdict(work)), *numbers], threads
        )

    taken, done = take_turns([side("ours", sys.executable), side("trl", trl_python)], steps)
    for took in (took for pair in taken for took in pair):
        took["update"] = took["total"] - took["rollout"]
    same = ("rows", "tokens_per_row", "trained_tokens")
    expected = [work.rows, [work.prompt + work.completion], work.rows * 2 * work.turn]
    for name, what in done.items():
        assert [what[key] for key in same] == expected, f"the {name} side did other work: {what}, not {expected}"

    def median(side: int, part: str) -> float:
        return statistics.median(pair[side][part] for pair in taken)

    parts = ("total", "rollout", "update", "wall")
    return {
        "ratio": round(median(0, "total") / median(1, "total"), 3),
        "ratio_by_part": {part: round(median(0, part) / median(1, part), 3) for part in parts[1:]},
        "ours_s": {part: round(median(0, part), 3) for part in parts},
        "trl_s": {part: round(median(1, part), 3) for part in parts},
        "pairs_total_s": [[round(pair[0]["total"], 3), round(pair[1]["total"], 3)] for pair in taken],
        "prefilled_over_new": done["ours"]["prefilled_over_new"],
        "shapes": {**asdict(work), **dict(zip(same, expected, strict=True))},
        "versions": {name: what["versions"] for name, what in done.items()},
    }


def machine() -> dict[str, Any]:
    try:
        names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}


def has_trl(python: str) -> bool:
    find = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ('trl', 'datasets', 'accelerate', 'torch'))))"
    try:
        return subprocess.run([python, "-c", find]).returncode == 0
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default="-", help="where the JSON object goes; - is the standard output")
    parser.add_argument("--steps", type=int, default=6, help=f"measured steps; {WARM_UP} more warm up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trl-python", default=sys.executable, help="python of the environment that has TRL")
    parser.add_argument("--trl-batch", type=int, default=64, help="TRL's per_device_train_batch_size; 64 is a whole step at once")
    parser.add_argument("--side", choices=("ours", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        be_a_side(args.side, args.folder, Work(**args.work), args.steps, args.threads, args.trl_batch)
        return 0
    if not has_trl(args.trl_python):
        print(INSTALL.format(python=args.trl_python), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        parameters = write_checkpoint(Path(folder))
        two = compare(Path(folder), Work(), args.steps, args.threads, args.trl_python, args.trl_batch)
        one = compare(Path(folder), Work(observation=0), args.steps, args.threads, args.trl_python, args.trl_batch)
    result = {
        "ratio": two["ratio"],
        "ratio_of": "CPU seconds of a step",
        "two_turns": two,
        "one_turn": one,
        "parameters": parameters,
        "threads": args.threads,
        "trl_batch": args.trl_batch,
        "machine": machine(),
    }
    from zerosearch.cli.options import write_json  # not at the top: the other side has no zerosearch

    write_json(result, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
