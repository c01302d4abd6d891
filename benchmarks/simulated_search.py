"""What a simulated search costs beyond the endpoint's own time: 1,000 searches through a real loopback endpoint, 64 at once.

    python benchmarks/simulated_search.py --json -

The endpoint is a separate process that waits `--think-ms` for each request and then answers with five documents of thirty words. With
64 at once the endpoint's own time is think · ceil(n / 64): the time beyond that, divided by n, is ours (prompt, HTTP, parsing) and the
server's HTTP. Must: < 3 ms per search; aim: < 1 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import platform
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web

from zerosearch.cli.options import write_json
from zerosearch.core.types import Question, Sampling, SearchRequest
from zerosearch.engines.prompts import SIMULATOR_PROMPTS
from zerosearch.engines.simulated import SimulatedEngine
from zerosearch.net.chat import OpenAIChat

REPLY = "\n".join(f"Doc {i}: " + " ".join(f"word{j}" for j in range(30)) + "." for i in range(1, 6))


def serve(think_s: float, ready: Connection) -> None:
    async def complete(request: web.Request) -> web.Response:
        await request.json()
        await asyncio.sleep(think_s)
        return web.json_response({"choices": [{"message": {"content": REPLY}, "finish_reason": "stop"}]})

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", complete)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


async def measure(url: str, searches: int, at_once: int) -> tuple[float, float]:
    """(wall seconds, CPU seconds of this process)."""
    engine = SimulatedEngine(
        OpenAIChat(url, "stand-in", max_concurrency=at_once), SIMULATOR_PROMPTS["web"], k=5, sampling=Sampling(600, 0.8), seed=0
    )
    places = asyncio.Semaphore(at_once)

    async def search(i: int) -> None:
        async with places:
            await engine.search(SearchRequest(f"query {i}", Question(str(i), f"Question {i}?", ("answer",)), 5, 0.5))

    await asyncio.gather(*(search(-1 - i) for i in range(at_once)))  # connections are opened before the clock runs
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(search, range(searches)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await engine.aclose()
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--think-ms", type=float, default=200.0)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    server = context.Process(target=serve, args=(options.think_ms / 1000, sender), daemon=True)
    server.start()
    try:
        url = f"http://127.0.0.1:{receiver.recv()}/v1"
        wall, cpu = asyncio.run(measure(url, options.searches, options.at_once))
    finally:
        server.terminate()
    own = options.think_ms / 1000 * math.ceil(options.searches / options.at_once)
    result = {
        "benchmark": "simulated_search",
        "searches": options.searches,
        "at_once": options.at_once,
        "overhead_ms": 1000 * (wall - own) / options.searches,
        "cpu_ms": 1000 * cpu / options.searches,
        "wall_s": wall,
        "endpoint_s": own,
        "must_ms": 3.0,
        "machine": platform.processor() or platform.machine(),
    }
    write_json(result, options.json)
    sys.exit(0 if result["overhead_ms"] < 3 else 1)


if __name__ == "__main__":
    main()
