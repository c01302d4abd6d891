"""What an evaluation costs beside the model and the engine: CPU milliseconds per question, with 64 questions at a time.

    python benchmarks/evaluation_overhead.py --json -

The policy and the engine are stand-ins that answer at once (two searches per question, five documents of 100 words each); the seconds
spent in them, tokenizer included, are subtracted. Everything else is real: prompts, parsing, documents cut to size, scoring, rows
written and flushed question by question, progress, the figures with their intervals. Must: < 2 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from zerosearch.cli.options import write_json
from zerosearch.core.types import Document, Finish, Generation, Question, Sampling, SearchRequest, SearchResult
from zerosearch.data.benchmarks import Benchmark
from zerosearch.evaluation.context import EvaluationContext
from zerosearch.evaluation.run import evaluate_benchmark
from zerosearch.net.remote_policy import Pieces
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings
from zerosearch.rollout.prompts import SEARCH
from zerosearch.runs.cost import load_prices


class Stopwatch:
    """CPU seconds spent inside stand-ins."""

    seconds = 0.0

    def __enter__(self) -> None:
        self.started = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self.started


class StandIn:
    """A policy that searches twice, thinks a hundred words per turn, and answers; and an engine with the same five documents."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.pieces = Pieces()
        rng = random.Random(0)
        words = [f"word{i}" for i in range(3000)]
        self.documents = tuple(Document(" ".join(rng.choices(words, k=100)), f"Title {i}", str(i)) for i in range(5))
        think = f"<think>{' '.join(rng.choices(words, k=100))}</think>"
        self.turns = [
            tuple(self.observation(think + act)) for act in ("<search>one</search>", "<search>two</search>", "<answer>Rome</answer>")
        ]
        self.renderer = self
        self.told: dict[str, int] = {}

    def prompt(self, text: str) -> list[int]:
        return self.observation(text)

    def observation(self, text: str) -> list[int]:
        with self.watch:
            return self.pieces.observation(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        with self.watch:
            return self.pieces.decode(token_ids)

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        await asyncio.sleep(0)
        turn = self.told[session] = self.told.get(session, -1) + 1
        ids = self.turns[turn]
        return Generation(ids, (-0.5,) * len(ids), Finish.STOP)

    def close(self, session: str) -> None:
        self.told.pop(session, None)

    async def search(self, request: SearchRequest) -> SearchResult:
        await asyncio.sleep(0)
        return SearchResult(self.documents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    questions = tuple(Question(f"q{i}", f"What is the capital of country {i}?", ("Rome", "Roma")) for i in range(options.questions))
    watch = Stopwatch()
    stand_in = StandIn(watch)
    settings = RolloutSettings(temperature=0.0)
    parts = EvaluationContext(
        SearchEnvironment(stand_in, SEARCH), stand_in, settings, stand_in, config={"agent": "zerosearch", "engine": {"kind": "bm25"}}
    )
    with tempfile.TemporaryDirectory() as folder:
        watch.seconds = 0.0
        started, cpu = time.perf_counter(), time.process_time()
        benchmark = Benchmark("made up", "", questions, ())
        quiet = Console(stderr=True, quiet=True)
        summary, _ = evaluate_benchmark(benchmark, parts, load_prices(), Path(folder) / "out", options.concurrency, quiet)
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    result = {
        "questions": options.questions,
        "concurrency": options.concurrency,
        "searches_per_question": summary["searches"],
        "tokens_per_question": round(summary["prompt_tokens"] + summary["policy_tokens"]),
        "ms_per_question": round(1000 * (cpu_s - watch.seconds) / options.questions, 3),
        "ms_per_question_in_stand_ins": round(1000 * watch.seconds / options.questions, 3),
        "wall_s": round(wall_s, 2),
        "must": {"ms_per_question": 2},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    write_json(result, options.json)


if __name__ == "__main__":
    main()
