"""A stand-in for a simulator's endpoint: it takes a half to one and a half SECONDS, and writes five documents that hold the query.

Usage: backend.py SECONDS FAULT_RATE. A share FAULT_RATE of its replies are faults: a third each status 500, a cut connection, and garbage
without a document.
"""

import asyncio
import random
import sys

from aiohttp import web

THINK_S, FAULTS = float(sys.argv[1]), float(sys.argv[2])
RNG = random.Random(0)


async def complete(request: web.Request) -> web.Response:
    body = await request.json()
    prompt = body["messages"][-1]["content"]
    query = next(line for line in reversed(prompt.splitlines()) if line.startswith("Query: ")).removeprefix("Query: ")
    await asyncio.sleep(random.Random(query).uniform(0.5, 1.5) * THINK_S)  # the same for the same query
    if RNG.random() < FAULTS:
        kind = RNG.randrange(3)
        if kind == 0:
            return web.json_response({"error": "overloaded"}, status=500)
        if kind == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"choices": [{"message": {"content": "\n \n"}, "finish_reason": "stop"}]})
    text = "\n".join(f"Doc {i}: {query} " + " ".join(f"word{j}" for j in range(28)) + "." for i in range(1, 6))
    return web.json_response({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


async def models(_: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "stand-in"}]})


async def main() -> None:
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", complete), web.get("/v1/models", models)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
