"""Real OpenAI-compatible servers on loopback, each in a thread of its own: in front of a checkpoint, or of a function."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import web

from zerosearch.core.interfaces import Chat
from zerosearch.core.types import Sampling
from zerosearch.models.local import LocalModel

Body = dict[str, Any]
Reply = str | web.Response


@dataclass
class Server:
    """`bodies` are the requests so far, newest last."""

    url: str = ""
    bodies: list[Body] = field(default_factory=list)


@contextmanager
def speaking(answer: Callable[[Body], Reply | Awaitable[Reply]]) -> Iterator[Server]:
    """A server that answers `/chat/completions`, `/completions` and SGLang's `/generate` with what `answer` makes of the request's body.

    As OpenAI's does, it cuts the text before the first stop string and says `stop`; a whole response is passed on as it is.
    """
    server = Server()

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        server.bodies.append(body)
        made = answer(body)
        text = made if isinstance(made, str | web.Response) else await made
        if isinstance(text, web.Response):
            return text
        written = text
        ends = [at for s in body.get("stop") or () if (at := text.find(s)) >= 0]
        text = text[: min(ends)] if ends else text
        content = {"message": {"role": "assistant", "content": text}} if "messages" in body else {"text": text}
        usage = {"prompt_tokens": len(said(body).split()), "completion_tokens": len(written.split())}
        return web.json_response({"choices": [{"index": 0, **content, "finish_reason": "stop"}], "usage": usage})

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "tiny"}]})

    loop = asyncio.new_event_loop()
    app = web.Application()
    app.add_routes([web.post(path, complete) for path in ("/v1/chat/completions", "/v1/completions", "/generate")])
    app.add_routes([web.get("/v1/models", models)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner.addresses[0][1]

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server.url = f"http://127.0.0.1:{port}/v1"
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def said(body: Body) -> str:
    """All the text of a request."""
    return "".join(m["content"] for m in body["messages"]) if "messages" in body else body["prompt"]


@contextmanager
def serving(model: Chat) -> Iterator[str]:
    """The base URL of a server in front of `model`: chat with its template, or raw completions if it is a LocalModel."""
    calls = count()

    async def answer(body: Body) -> str:
        sampling = Sampling(body["max_tokens"], body["temperature"], body["top_p"], tuple(body.get("stop") or ()), body.get("seed", 0))
        if "messages" in body:
            return await model.complete(body["messages"][-1]["content"], sampling)
        assert isinstance(model, LocalModel)
        session = f"raw/{next(calls)}"
        generation = await model.generate(model.renderer.prompt(body["prompt"]), sampling, session)
        model.close(session)
        return model.renderer.decode(generation.token_ids)

    with speaking(answer) as server:
        yield server.url
