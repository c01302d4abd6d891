"""The pool of endpoints, against real servers on the loopback: who is asked, who is set aside, and what happens when all are gone."""

import asyncio
import time
from typing import Any

import pytest
from aiohttp import web

from zerosearch.config.build import Device, load_chat
from zerosearch.config.recipe import make_engine
from zerosearch.core.errors import BadConfig, GenerationFailed
from zerosearch.core.types import Sampling
from zerosearch.net.pool import EndpointPool, addresses

SAMPLING = Sampling(max_new_tokens=20)
FAST = {"model": "m", "first_wait_s": 0.01, "rest_s": 0.05}


class Simulator:
    """A server that can die and come back at the same address; says its name after `think_s`."""

    def __init__(self, name: str, think_s: float = 0.0) -> None:
        self.name, self.think_s = name, think_s
        self.calls = self.checks = self.port = 0
        self.runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> "Simulator":
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", self._complete), web.get("/v1/models", self._models)])
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = self.runner.addresses[0][1]
        return self

    async def die(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    async def _complete(self, request: web.Request) -> web.Response:
        self.calls += 1
        await asyncio.sleep(self.think_s)
        return web.json_response({"choices": [{"message": {"content": self.name}, "finish_reason": "stop"}]})

    async def _models(self, request: web.Request) -> web.Response:
        self.checks += 1
        return web.json_response({"data": [{"id": "m"}]})


async def pool_of(*simulators: Simulator, **settings: Any) -> EndpointPool:
    return EndpointPool([(await s.start()).url for s in simulators], **{**FAST, **settings})


async def ask(pool: EndpointPool, times: int) -> list[str]:
    return list(await asyncio.gather(*(pool.complete("q", SAMPLING) for _ in range(times))))


def test_the_least_loaded_is_asked() -> None:
    async def main() -> None:
        slow, quick = Simulator("slow", think_s=0.4), Simulator("quick", think_s=0.02)
        pool = await pool_of(slow, quick)
        said = await ask(pool, 4)
        assert said.count("slow") == said.count("quick") == 2  # all at once: shared out evenly
        waiting = asyncio.create_task(ask(pool, 2))  # one of them lies with the slow one for 0.4 s …
        await asyncio.sleep(0.15)
        assert await ask(pool, 1) == ["quick"]  # … so the other is the less loaded
        await waiting
        assert [m.load for m in pool.members] == [0, 0]
        await pool.aclose()
        await asyncio.gather(slow.die(), quick.die())

    asyncio.run(main())


def test_one_that_dies_is_set_aside_and_comes_back() -> None:
    async def main() -> None:
        a, b = Simulator("a"), Simulator("b")
        pool = await pool_of(a, b, max_attempts=1)
        await a.die()
        assert set(await ask(pool, 6)) == {"b"}
        failures = pool.members[0].failures
        assert failures and set(await ask(pool, 3)) == {"b"}  # nobody asks it in vain
        assert pool.members[0].failures == failures
        await b.die()
        await a.start()
        assert set(await ask(pool, 3)) == {"a"}  # found again by a health check, when the other is gone
        assert a.checks
        await pool.aclose()
        await a.die()

    asyncio.run(main())


def test_all_dead_is_a_pause_and_then_a_failure() -> None:
    async def main() -> None:
        a, b = Simulator("a"), Simulator("b")
        pool = await pool_of(a, b, max_attempts=1, outage_s=3.0)
        await asyncio.gather(a.die(), b.die())
        waiting = asyncio.create_task(ask(pool, 2))
        await asyncio.sleep(0.3)
        assert not waiting.done()  # paused
        await b.start()
        assert await waiting == ["b", "b"]  # and on
        await b.die()
        short = EndpointPool([a.url, b.url], **FAST, max_attempts=1, outage_s=0.2)
        started = time.monotonic()
        with pytest.raises(GenerationFailed, match="none of 2 endpoints answered .*connection refused"):
            await short.complete("q", SAMPLING)
        assert 0.2 <= time.monotonic() - started < 3
        await pool.aclose()
        await short.aclose()

    asyncio.run(main())


def test_a_request_that_nobody_likes_ends() -> None:
    """Each endpoint is asked twice at most, however healthy it is."""

    class Refusing(Simulator):
        async def _complete(self, request: web.Request) -> web.Response:
            self.calls += 1
            return web.json_response({"error": "prompt too long"}, status=400)

    async def main() -> None:
        a, b = Refusing("a"), Refusing("b")
        pool = await pool_of(a, b)
        with pytest.raises(GenerationFailed, match="prompt too long"):
            await pool.complete("q", SAMPLING)
        assert a.calls == b.calls == 2
        await pool.aclose()
        await asyncio.gather(a.die(), b.die())

    asyncio.run(main())


def test_several_addresses_in_a_recipe_are_a_pool() -> None:
    assert addresses("http://a/v1, http://b/v1\nhttp://c/v1") == ["http://a/v1", "http://b/v1", "http://c/v1"]
    chat = load_chat(make_engine({"url": "http://127.0.0.1:1/v1 http://127.0.0.1:2/v1", "outage_s": 7}), Device())
    assert isinstance(chat, EndpointPool) and len(chat.members) == 2
    with pytest.raises(BadConfig, match="nonsense"):
        load_chat(make_engine({"url": "http://127.0.0.1:1/v1 nonsense"}), Device())
