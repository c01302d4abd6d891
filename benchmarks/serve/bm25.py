"""BM25 through the server against bm25s called in a loop, one query at a time, on the same index.

    python benchmarks/serve/bm25.py --corpus wiki_passages.jsonl.gz --questions nq.jsonl.gz hotpotqa.jsonl.gz --json -

Top 5, every question once, nothing remembered. `ratio` compares queries per CPU second of the server process, with HTTP, and of the loop,
which also looks up the passages. Must ≥ 0.6, aim ≥ 0.9.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any

import bm25s
import Stemmer
from load import Failures, closed_loop, cpu_seconds, options, post, report, serve

from zerosearch.data.questions import load_questions
from zerosearch.engines.bm25 import BM25Engine


def main() -> None:
    args = options(__doc__ or "", corpus="", questions=[], rounds=5, clients=16, limit=1000)
    if not args.corpus or not args.questions:
        sys.exit("bm25.py needs --corpus FILE and --questions FILE…: JSONL or JSONL.gz.")
    queries = list(dict.fromkeys(q.text for file in args.questions for q in load_questions(file)))[: args.limit]
    engine = BM25Engine(args.corpus)
    index: Any = bm25s.BM25.load(engine.index_dir, mmap=False)
    stemmer = Stemmer.Stemmer("english")
    requests = [post("/retrieve", {"queries": [query], "topk": 5}) for query in queries]
    rates: dict[str, list[float]] = {"served": [], "bm25s": []}
    wall: list[float] = []
    with serve("--corpus", args.corpus, "--remember", "0") as (pid, port):
        for turn in range(args.rounds + 1):
            before, failures = cpu_seconds(pid), Failures()
            seconds = asyncio.run(closed_loop(port, requests, args.clients, failures))
            assert not failures
            served = len(queries) / (cpu_seconds(pid) - before)
            began = time.process_time()
            for query in queries:
                tokens = bm25s.tokenize(query, stopwords="en", stemmer=stemmer, show_progress=False)
                found, _ = index.retrieve(tokens, k=5, show_progress=False, n_threads=0)
                [engine.passage(int(position)) for position in found[0]]
            loop = len(queries) / (time.process_time() - began)
            if turn:
                rates["served"].append(served)
                rates["bm25s"].append(loop)
                wall.append(len(queries) / seconds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["served"] / medians["bm25s"]
    result = {"benchmark": "serve/bm25", "ratio": ratio, "ratio_of": "queries per CPU second, served ÷ bm25s in a loop"}
    result |= {"queries_per_cpu_second": medians, "served_per_second": statistics.median(wall)}
    report(result | {"passages": len(engine), "queries": len(queries), "rounds": args.rounds}, args.json)
    sys.exit(0 if ratio >= 0.6 else 1)


if __name__ == "__main__":
    main()
