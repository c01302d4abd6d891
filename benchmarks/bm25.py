"""BM25: our engine against bm25s called directly, on the same index, queries per CPU second and memory.

    python benchmarks/bm25.py --corpus wiki_passages.jsonl.gz --questions nq.jsonl.gz hotpotqa.jsonl.gz --json -
    python benchmarks/bm25.py --synthetic 2000000 --json -

Ours: `BM25Engine.retrieve`, one query at a time, documents read and parsed; then `search`, 64 at a time, through the event loop. Theirs:
`bm25s.tokenize` and `BM25.retrieve`, all queries in one call (its fastest way), positions only, on the index memory-mapped. "ratio" is
ours ÷ theirs in throughput, `retrieve`, medians of rounds that take turns: above 1 is faster. Memory is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from zerosearch.cli.options import write_json
from zerosearch.core.types import Question, SearchRequest
from zerosearch.engines.bm25 import BM25Engine

K = 5


def write_synthetic(file: Path, passages: int, words: int = 60, vocabulary: int = 300_000, seed: int = 0) -> None:
    """Passages of words whose frequencies fall as 1 / rank (Zipf), as in real text."""
    rng = np.random.default_rng(seed)
    names = np.array([f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}o{i}" for i in range(vocabulary)])
    shares = 1 / np.arange(10, vocabulary + 10)
    cumulative = np.cumsum(shares / shares.sum())
    with open(file, "w") as out:
        for start in range(0, passages, 10_000):
            n = min(10_000, passages - start)
            texts = names[np.minimum(np.searchsorted(cumulative, rng.random((n, words))), vocabulary - 1)]
            out.writelines(f'{{"id": "{start + i}", "text": "{" ".join(row)}"}}\n' for i, row in enumerate(texts))


def synthetic_queries(file: Path, n: int, seed: int = 1) -> list[str]:
    """Six words of one passage per query."""
    with open(file) as lines:
        rows = [json.loads(line)["text"].split() for line, _ in zip(lines, range(n), strict=False)]
    rng = random.Random(seed)
    return [" ".join(rng.sample(row, 6)) for row in rows]


def read_queries(files: Sequence[str]) -> list[str]:
    queries: list[str] = []
    for file in files:
        with gzip.open(file, "rt") if file.endswith(".gz") else open(file) as lines:
            queries += [json.loads(line)["question"] for line in lines]
    return queries


def ours(index_dir: Path) -> Callable[[list[str]], Any]:
    engine = BM25Engine.load(index_dir)
    return lambda queries: [engine.retrieve(query, K) for query in queries]


def ours_concurrently(index_dir: Path) -> Callable[[list[str]], Any]:
    engine = BM25Engine.load(index_dir)

    async def search(queries: list[str]) -> None:
        slots = asyncio.Semaphore(64)

        async def one(query: str) -> None:
            async with slots:
                await engine.search(SearchRequest(query, Question("q", query, ()), k=K))

        await asyncio.gather(*map(one, queries))

    return lambda queries: asyncio.run(search(queries))


def theirs(index_dir: Path) -> Callable[[list[str]], Any]:
    import bm25s
    import Stemmer

    index = bm25s.BM25.load(index_dir, mmap=True)
    stemmer = Stemmer.Stemmer("english")

    def retrieve(queries: list[str]) -> Any:
        tokens = bm25s.tokenize(queries, stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)
        return index.retrieve(tokens, k=K, show_progress=False, n_threads=0)

    return retrieve


SIDES = {"ours": ours, "ours_concurrently": ours_concurrently, "theirs": theirs}


def memory_mb(index_dir: Path, side: str, queries: list[str]) -> dict[str, float]:
    """Memory of a process that opens the index and answers the queries: its own pages, and all resident ones (including mapped files)."""
    program = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bm25
def status():
    return {l.split(":")[0]: int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith(("RssAnon", "VmRSS"))}
queries, before = json.load(sys.stdin), status()
answer = bm25.SIDES[sys.argv[3]](Path(sys.argv[2]))
answer(queries)
print(json.dumps({"own": status()["RssAnon"] - before["RssAnon"], "resident": status()["VmRSS"] - before["VmRSS"]}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(index_dir), side],
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: round(value, 1) for name, value in json.loads(done.stdout).items()}


def agreement(index_dir: Path, queries: list[str]) -> float:
    """Share of queries for which both give the same best scores, which shows that both do the same work."""
    engine = BM25Engine.load(index_dir)
    scores = theirs(index_dir)(queries).scores
    same = [np.allclose([s for _, s in engine.retrieve(q, K)], row[row > 0], rtol=1e-4) for q, row in zip(queries, scores, strict=True)]
    return float(np.mean(same))


def measure(corpus: Path, queries: list[str], index_dir: Path, rounds: int) -> dict[str, Any]:
    started = time.perf_counter()
    passages = len(BM25Engine(corpus, index_dir))
    build_s = time.perf_counter() - started
    engines = {name: make(index_dir) for name, make in SIDES.items()}
    cpu: dict[str, list[float]] = {name: [] for name in engines}
    wall: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(rounds + 1):
        for name, answer in engines.items():
            wall_started, cpu_started = time.perf_counter(), time.process_time()
            answer(queries)
            if number:  # the first is a warm-up
                cpu[name].append(time.process_time() - cpu_started)
                wall[name].append(time.perf_counter() - wall_started)
    rate = {name: len(queries) / median(seconds) for name, seconds in cpu.items()}
    return {
        "benchmark": "bm25",
        "passages": passages,
        "queries": len(queries),
        "k": K,
        "rounds": rounds,
        "build_s": round(build_s, 1),
        "queries_per_cpu_s": {name: round(value, 1) for name, value in rate.items()},
        "queries_per_wall_s": {name: round(len(queries) / median(seconds), 1) for name, seconds in wall.items()},
        "ratio_concurrently": round(rate["ours_concurrently"] / rate["theirs"], 3),
        "same_scores": agreement(index_dir, queries[:200]),
        "memory_mb": {name: memory_mb(index_dir, name, queries) for name in ("ours", "theirs")},
        "ratio": round(rate["ours"] / rate["theirs"], 3),
        "ratio_of": "queries per CPU second",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", help="JSONL or JSONL.gz; by default a synthetic corpus")
    parser.add_argument("--questions", nargs="+", default=[], help="question files, whose questions are the queries")
    parser.add_argument("--synthetic", type=int, default=50_000, help="passages of the synthetic corpus")
    parser.add_argument("--queries", type=int, default=500, help="at most this many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="keep corpus and index here; by default a temporary folder")
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if options.corpus:
            corpus, queries = Path(options.corpus), read_queries(options.questions)
            if not queries:
                parser.error("--corpus needs --questions")
            random.Random(0).shuffle(queries)
        else:
            corpus = work / f"synthetic-{options.synthetic}.jsonl"
            if not corpus.exists():
                write_synthetic(corpus, options.synthetic)
            queries = synthetic_queries(corpus, options.queries)
        result = measure(corpus, queries[: options.queries], work / f"{corpus.name}.bm25", options.rounds)
    write_json(result, options.json)


if __name__ == "__main__":
    main()
