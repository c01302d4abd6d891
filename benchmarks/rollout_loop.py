"""What a rollout costs beside policy and engine: tags, budgets, noise, documents into tokens. CPU ms of one core, two searches each.

    python benchmarks/rollout_loop.py --tokenizer DIR --json -

Policy and engine answer at once with fixed words of usual length (150 tokens per turn, five documents of thirty words). What is left is
what an agent worker of the cluster does for each rollout. `--tokenizer` names a folder; by default a small byte-level one is made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import time
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from zerosearch.core.function_engine import FunctionEngine
from zerosearch.core.renderers import TemplateRenderer
from zerosearch.core.rewards import reward_function
from zerosearch.core.types import Document, Episode, Finish, Generation, Group, Question, Sampling
from zerosearch.rl.rollouts import with_rewards
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings, rollout

THOUGHT = " ".join(["the director of the film was born in a city that the next search should name"] * 8)
TURNS = (f"<think>{THOUGHT}</think><search>who directed it</search>",) * 2 + (f"<think>{THOUGHT}</think><answer>Rome</answer>",)
DOCUMENTS = tuple(Document(" ".join(f"word{i}{j}" for j in range(30)), f"Title {i}") for i in range(5))


class Scripted:
    """Says TURNS, whose tokens are known before the clock runs."""

    def __init__(self, tokenizer: Any) -> None:
        self.renderer = TemplateRenderer(tokenizer)
        self._turns = [tuple(self.renderer.observation(text)) for text in TURNS]
        self._at: dict[str, int] = {}

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        turn = self._at.get(session, 0)
        self._at[session] = turn + 1
        return Generation(self._turns[turn], (-0.5,) * len(self._turns[turn]), Finish.STOP)

    def close(self, session: str) -> None:
        self._at.pop(session, None)


def small_tokenizer() -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, show_progress=False, initial_alphabet=alphabet, special_tokens=["<eos>"])
    tokenizer.train_from_iterator([*TURNS, *(d.text for d in DOCUMENTS)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


async def measure(policy: Scripted, rollouts: int) -> tuple[float, int]:
    """(CPU seconds, tokens) of that many rollouts, 64 at once."""
    environment, settings = SearchEnvironment(FunctionEngine(lambda query, k: DOCUMENTS)), RolloutSettings()
    question, tokens = Question("q", "where was the director born?", ("Rome",)), 0
    started = time.process_time()
    for _ in range(rollouts // 64):
        batch = await asyncio.gather(*(rollout(question, policy, environment, settings, Episode(sample=i)) for i in range(64)))
        scored = with_rewards(Group(question, tuple(batch)), reward_function("f1"))
        assert all(t.reward == 1.0 and len(t.searches) == 2 for t in scored.trajectories)
        tokens += sum(len(t.token_ids) for t in batch)
    return time.process_time() - started, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokenizer", default="")
    parser.add_argument("--rollouts", type=int, default=1280)
    parser.add_argument("--json", default="-")
    options = parser.parse_args()
    policy = Scripted(AutoTokenizer.from_pretrained(options.tokenizer) if options.tokenizer else small_tokenizer())
    asyncio.run(measure(policy, 64))
    seconds, tokens = asyncio.run(measure(policy, options.rollouts))
    done = options.rollouts // 64 * 64
    result = {
        "benchmark": "rollout_loop",
        "rollouts": done,
        "searches": 2,
        "tokens_a_rollout": tokens / done,
        "cpu_ms": 1000 * seconds / done,
        "machine": platform.processor() or platform.machine(),
    }
    text = json.dumps(result, indent=2)
    if options.json == "-":
        print(text)
        return
    with open(options.json, "w") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    main()
