"""Five times as many requests as the server can take: those it accepts are as fast as usual, the rest are refused at once.

    python benchmarks/serve/overload.py --json -

A back end that takes 250 ms, 16 at once, and 8 that may wait: 64 searches per second at most. Normal is 16 clients, each waiting for its
answer; overload is a request every 3.1 ms, whether or not others are answered. Must: p99 of the accepted < 2 × normal's, the rest 503.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from load import Reply, closed_loop, connect, options, percentile, post, report, serve

ENGINE = """
import asyncio
from zerosearch import Document

async def search(query, k):
    await asyncio.sleep(0.25)
    return [Document(query)]
"""
AT_ONCE, QUEUE, THINK_S = 16, 8, 0.25


async def open_loop(port: int, requests: list[bytes], gap_s: float) -> list[Reply]:
    """A request every `gap_s`, whether the others are answered or not."""
    idle = [await connect(port) for _ in range(64)]

    async def one(request: bytes) -> Reply:
        connection = idle.pop() if idle else await connect(port)
        reply = await connection.ask(request)
        idle.append(connection)
        return reply

    began, tasks = time.perf_counter(), []
    for i, request in enumerate(requests):
        await asyncio.sleep(max(0.0, began + i * gap_s - time.perf_counter()))
        tasks.append(asyncio.create_task(one(request)))
    return await asyncio.gather(*tasks)


def main() -> None:
    args = options(__doc__ or "", seconds=10.0, times=5.0)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sleeping_engine.py").write_text(ENGINE)
        words = ("--engine", "sleeping_engine:search", "--max-concurrency", str(AT_ONCE), "--max-queue", str(QUEUE))
        with serve(*words, cwd=Path(folder)) as (_, port):
            capacity = AT_ONCE / THINK_S
            usual: list[float] = []
            requests = [post("/tavily/search", {"query": f"normal {i}"}) for i in range(int(capacity * args.seconds))]
            asyncio.run(closed_loop(port, requests, AT_ONCE, lambda i, reply: usual.append(reply.seconds)))
            rate = args.times * capacity
            over = [post("/tavily/search", {"query": f"over {i}"}) for i in range(int(rate * args.seconds))]
            replies = asyncio.run(open_loop(port, over, 1 / rate))
    statuses = Counter(reply.status for reply in replies)
    accepted, refused = ([r.seconds for r in replies if r.status == status] for status in (200, 503))
    normal, busy = percentile(usual, 0.99), percentile(accepted, 0.99)
    result = {"benchmark": "serve/overload", "ratio": busy / normal, "ratio_of": "p99 of accepted requests, overload ÷ normal"}
    result |= {"normal_p99_ms": 1000 * normal, "accepted_p99_ms": 1000 * busy, "refused_p50_ms": 1000 * percentile(refused, 0.5)}
    result |= {"refused_p99_ms": 1000 * percentile(refused, 0.99), "statuses": {str(s): n for s, n in statuses.items()}}
    result |= {"accepted_per_second": statuses[200] / args.seconds, "capacity_per_second": capacity, "times": args.times}
    report(result, args.json)
    sys.exit(0 if busy < 2 * normal and statuses.keys() <= {200, 503} else 1)


if __name__ == "__main__":
    main()
