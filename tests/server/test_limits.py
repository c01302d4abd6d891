"""Keys, rates, and the queue: by themselves, and as clients meet them."""

import asyncio
import time

import httpx
import pytest

from serving import HTTP, served
from zerosearch.core.function_engine import FunctionEngine
from zerosearch.core.types import Document
from zerosearch.server.http_request import Reason, Refused
from zerosearch.server.limits import ConcurrencyLimit, Keys, RateLimit
from zerosearch.server.service import Bounds


def test_keys() -> None:
    keys = Keys(["one", "zwei€"])
    for right in ("one", "zwei€"):
        keys.check(right)
    for wrong in ("", "on", "onee", "ONE", "zwei"):
        with pytest.raises(Refused) as refused:
            keys.check(wrong)
        assert refused.value.reason is Reason.UNAUTHORISED and (not wrong or wrong not in refused.value.message.split())
    Keys().check("anything")


def test_a_bucket_fills_as_time_goes_by() -> None:
    now = 0.0
    rate = RateLimit(2.0, burst=3, clock=lambda: now)
    for _ in range(3):
        rate.take("a")
    with pytest.raises(Refused) as refused:
        rate.take("a")
    assert refused.value.retry_after_s == 1
    rate.take("b")  # another's is another's
    now = 0.5
    rate.take("a")
    with pytest.raises(Refused):
        rate.take("a")
    now = 100.0
    for _ in range(3):
        rate.take("a")
    with pytest.raises(Refused):
        rate.take("a")


def test_places_are_given_in_order_and_only_so_many_wait() -> None:
    async def play() -> list[str]:
        places, said, go = ConcurrencyLimit(2, 2), [], asyncio.Event()

        async def work(name: str) -> None:
            try:
                async with places:
                    said.append(name)
                    await go.wait()
            except Refused as refused:
                said.append(f"{name} {refused.reason.name} {refused.retry_after_s}")

        tasks = [asyncio.create_task(work(name)) for name in "abcde"]
        await asyncio.sleep(0.01)
        assert (places.taken, places.waiting) == (2, 2) and said == ["a", "b", "e BUSY 1"]
        tasks[2].cancel()  # one that waits goes away
        await asyncio.sleep(0.01)
        assert places.waiting == 1
        go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (places.taken, places.waiting) == (0, 0)
        return said

    assert asyncio.run(play()) == ["a", "b", "e BUSY 1", "d"]


def test_a_place_that_came_too_late_is_handed_on() -> None:
    async def play() -> int:
        places = ConcurrencyLimit(1, 5)
        await places.__aenter__()
        waiting = asyncio.create_task(places.__aenter__())
        await asyncio.sleep(0)
        await places.__aexit__(None, None, None)  # hands over …
        waiting.cancel()  # … to one who has just left
        await asyncio.gather(waiting, return_exceptions=True)
        return places.taken

    assert asyncio.run(play()) == 0


async def slow(query: str, k: int) -> list[Document]:
    await asyncio.sleep(float(query))
    return [Document("done")]


def test_beyond_the_queue_it_is_503_at_once() -> None:
    async def ask(url: str) -> list[tuple[int, float]]:
        async def one(client: httpx.AsyncClient) -> tuple[int, float]:
            began = time.monotonic()
            reply = await client.post(f"{url}/tavily/search", json={"query": "0.5"})
            assert reply.status_code == 200 or (reply.headers["retry-after"] == "1" and reply.json()["detail"]["error"])
            return reply.status_code, time.monotonic() - began

        async with httpx.AsyncClient(timeout=30) as client:
            return await asyncio.gather(*(one(client) for _ in range(10)))

    with served(FunctionEngine(slow), places=ConcurrencyLimit(2, 3)) as service:
        replies = asyncio.run(ask(service.library.base_url))
    assert sorted(status for status, _ in replies) == [200] * 5 + [503] * 5
    assert max(seconds for status, seconds in replies if status == 503) < 0.4


def test_a_search_that_takes_too_long_is_504() -> None:
    with served(FunctionEngine(slow), bounds=Bounds(timeout_s=0.1)) as service:
        reply = HTTP.get(f"{service.library.base_url}/searxng/search", params={"q": "5", "format": "json"})
        assert reply.status_code == 504 and "0.1 s" in reply.json()["error"]
        assert service.places.taken == 0


def test_a_client_that_goes_away_gives_its_place_back() -> None:
    with served(FunctionEngine(slow), places=ConcurrencyLimit(1, 0)) as service:
        url = f"{service.library.base_url}/v1/search"
        with pytest.raises(httpx.ReadTimeout):
            HTTP.post(url, json={"query": "30"}, timeout=0.2)
        deadline = time.monotonic() + 5
        while service.places.taken and time.monotonic() < deadline:
            time.sleep(0.01)
        assert HTTP.post(url, json={"query": "0"}).status_code == 200


def test_a_rate_is_a_keys_own() -> None:
    with served(FunctionEngine(slow), rate=RateLimit(0.01, burst=2)) as service:
        url = f"{service.library.base_url}/serper/search"
        statuses = [HTTP.post(url, json={"q": "0"}, headers={"X-API-KEY": key}).status_code for key in "aaab"]
        assert statuses == [200, 200, 429, 200]
