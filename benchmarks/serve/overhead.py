"""What the server costs: searches answered from memory, against a bare FastAPI application that sends the same bytes.

    python benchmarks/serve/overhead.py --json -

One worker each, 64 connections, taking turns; the server with its default log and metrics. `ratio` is requests per CPU second of
the server process (also given per wall second, of which the client takes half on both sides). Must ≥ 0.6, aim ≥ 0.85.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from load import HERE, Failures, Reply, closed_loop, cpu_seconds, options, post, process, report, serve

from zerosearch.lab.demo import demo_corpus

QUERIES = 200


def main() -> None:
    args = options(__doc__ or "", requests=10_000, clients=64, rounds=5)
    requests = [post("/serper/search", {"q": f"who works for company number {i % QUERIES}", "num": 5}) for i in range(args.requests)]
    seen: list[Reply] = []
    rates: dict[str, list[tuple[float, float]]] = {"ours": [], "echo": []}
    with tempfile.TemporaryDirectory() as folder, serve("--corpus", str(demo_corpus(Path(folder))[0])) as (ours, our_port):
        asyncio.run(closed_loop(our_port, requests[:QUERIES], 8, lambda i, reply: seen.append(reply)))
        assert all(reply.status == 200 for reply in seen)
        body = sorted((reply.body for reply in seen), key=len)[len(seen) // 2]
        file = Path(folder, "reply.json")
        file.write_bytes(body)
        with process(str(HERE / "echo.py"), str(file)) as (echo, echo_port):
            for turn in range(args.rounds + 1):
                for name, pid, port in (("ours", ours, our_port), ("echo", echo, echo_port)):
                    before, failures = cpu_seconds(pid), Failures()
                    wall = asyncio.run(closed_loop(port, requests, args.clients, failures))
                    assert not failures
                    if turn:  # the first is a warm-up
                        rates[name].append((args.requests / (cpu_seconds(pid) - before), args.requests / wall))
    per_cpu, per_wall = ({name: statistics.median(r[i] for r in rows) for name, rows in rates.items()} for i in (0, 1))
    ratio = per_cpu["ours"] / per_cpu["echo"]
    result = {"benchmark": "serve/overhead", "ratio": ratio, "ratio_of": "requests per CPU second of the server, ours ÷ bare FastAPI"}
    result |= {"ratio_wall": per_wall["ours"] / per_wall["echo"], "requests_per_cpu_second": per_cpu, "requests_per_second": per_wall}
    report(result | {"reply_bytes": len(body), "clients": args.clients, "requests": args.requests, "rounds": args.rounds}, args.json)
    sys.exit(0 if ratio >= 0.6 else 1)


if __name__ == "__main__":
    main()
