"""The chat client against real servers on the loopback: what comes back, what is tried again, what is said when it fails."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from zerosearch.core.errors import BadConfig, GenerationFailed
from zerosearch.core.types import Sampling
from zerosearch.net.chat import OpenAIChat

SAMPLING = Sampling(max_new_tokens=20, temperature=0.8, top_p=0.9, stop=("</information>",), seed=3)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reply(text: object) -> web.Response:
    return web.json_response({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server that answers every path with `handler`; its base URL."""

    async def route(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", route)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def ask(handler: Handler, **arguments: Any) -> str:
    """What one call brings from a server that answers with `handler`."""

    async def main() -> str:
        async with serving(handler) as url, OpenAIChat(url, **{"model": "m", "first_wait_s": 0.01, **arguments}) as chat:
            return await chat.complete("Say hello.", SAMPLING)

    return asyncio.run(main())


class Script:
    """A handler that gives one answer after the other, the last one for ever; counts the calls."""

    def __init__(self, *answers: Callable[[], web.StreamResponse]) -> None:
        self._answers = answers
        self.requests: list[tuple[str, str, Any]] = []
        self.times_s: list[float] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.times_s.append(time.monotonic())
        self.requests.append((request.method, request.path, await request.json() if request.can_read_body else None))
        return self._answers[min(len(self.requests), len(self._answers)) - 1]()


def test_a_chat_completion() -> None:
    server = Script(lambda: reply("Hello."))
    assert ask(server) == "Hello."
    body = {"model": "m", "max_tokens": 20, "temperature": 0.8, "top_p": 0.9, "seed": 3, "stop": ["</information>"]}
    assert server.requests == [("POST", "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": "Say hello."}]})]


def test_a_completion() -> None:
    server = Script(lambda: web.json_response({"choices": [{"text": "Hello."}]}))
    assert ask(server, style="completions") == "Hello."
    method, path, body = server.requests[0]
    assert (method, path, body["prompt"]) == ("POST", "/v1/completions", "Say hello.")


def test_an_empty_reply_is_a_reply() -> None:
    assert ask(Script(lambda: reply(""))) == ""


def test_the_model_is_asked_for_once() -> None:
    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": "tiny"}, {"id": "other"}]})
        return reply((await request.json())["model"])

    async def main() -> list[str]:
        async with serving(handler) as url, OpenAIChat(url) as chat:
            return await asyncio.gather(*(chat.complete("?", SAMPLING) for _ in range(5)))

    asked: list[str] = []
    assert asyncio.run(main()) == ["tiny"] * 5
    assert asked.count("/v1/models") == 1


def test_a_server_error_is_tried_again() -> None:
    server = Script(lambda: web.Response(status=500), lambda: reply("ok"))
    assert ask(server) == "ok"
    assert len(server.requests) == 2


def test_attempts_are_counted() -> None:
    server = Script(lambda: web.Response(status=503, text="busy\n  now"))
    with pytest.raises(
        GenerationFailed, match=r"^POST http://127.0.0.1:\d+/v1/chat/completions: status 503: busy now \(4 attempts\); check"
    ):
        ask(server)
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("asked_s", "cap_s", "low_s", "high_s"), [("0.3", 30, 0.3, 1.5), ("3600", 0.2, 0.2, 1.4), ("tomorrow", 30, 0, 1.2)]
)
def test_retry_after_is_heeded_within_reason(asked_s: str, cap_s: float, low_s: float, high_s: float) -> None:
    server = Script(lambda: web.Response(status=429, headers={"Retry-After": asked_s}), lambda: reply("ok"))
    assert ask(server, max_wait_s=cap_s) == "ok"
    assert low_s <= server.times_s[1] - server.times_s[0] < high_s


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda: web.Response(status=400, text="prompt too long"), r"status 400: prompt too long \(1 attempt\); check model"),
        (lambda: web.Response(status=401, text="no key"), r"status 401: no key \(1 attempt\); set a key in \$NO_SUCH_KEY"),
        (lambda: web.Response(status=404), r"status 404: \(empty body\) \(1 attempt\); check base_url"),
        (lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}), r"status 307.*check base_url"),
        (
            lambda: web.Response(text="<html>\n<p>Welcome!" + "x" * 500),
            r"not the expected JSON: <html> <p>Welcome!x{102} \(1 attempt\); check",
        ),
        (lambda: web.json_response({"error": "x"}), r'not the expected JSON: \{"error": "x"\}'),
        (lambda: web.json_response({"choices": []}), r"not the expected JSON"),
        (lambda: web.json_response([1]), r"not the expected JSON: \[1\]"),
        (lambda: reply(None), r"holds no text \(finish_reason stop\)"),
        (lambda: web.Response(body=b" " * (9 * 2**20)), r"larger than 8 MiB"),
    ],
)
def test_what_will_not_get_better_fails_at_once(answer: Callable[[], web.Response], what: str) -> None:
    server = Script(answer)
    with pytest.raises(GenerationFailed, match=what) as failure:
        ask(server, api_key_env="NO_SUCH_KEY")
    assert len(server.requests) == 1
    assert "\n" not in str(failure.value)


def test_no_model_listed() -> None:
    with pytest.raises(GenerationFailed, match=r"GET .*/v1/models: the server lists no model .*name one"):
        ask(Script(lambda: web.json_response({"data": []})), model="")


def test_a_server_that_hangs() -> None:
    async def hang(request: web.Request) -> web.Response:
        calls.append(request.path)
        await asyncio.sleep(10)
        return reply("late")

    calls: list[str] = []
    with pytest.raises(GenerationFailed, match=r"timed out after 0.2 s \(2 attempts\); raise timeout_s"):
        ask(hang, timeout_s=0.2, max_attempts=2)
    assert len(calls) == 2


def test_a_server_that_hangs_up() -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return reply("lost")

    with pytest.raises(GenerationFailed, match=r"the connection was lost \(ServerDisconnectedError.*\(2 attempts\)"):
        ask(hang_up, max_attempts=2)


def test_a_server_that_is_not_there() -> None:
    async def main() -> None:
        async with serving(Script(lambda: reply("ok"))) as url:
            pass  # the port was free a moment ago, and is again
        async with OpenAIChat(url, "m", first_wait_s=0.01, max_attempts=2) as chat:
            await chat.complete("?", SAMPLING)

    with pytest.raises(GenerationFailed, match=r"connection refused \(2 attempts\); is the server running\?"):
        asyncio.run(main())


def test_no_more_than_max_concurrency_at_a_time() -> None:
    async def handler(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return reply("ok")

    async def main() -> None:
        async with serving(handler) as url, OpenAIChat(url, "m", max_concurrency=3) as chat:
            await asyncio.gather(*(chat.complete("?", SAMPLING) for _ in range(12)))

    now = most = 0
    asyncio.run(main())
    assert most == 3


def test_one_client_outlives_a_loop() -> None:
    chat: OpenAIChat | None = None

    async def main(last: bool) -> str:
        nonlocal chat
        async with serving(Script(lambda: reply("ok"))) as url:
            chat = chat or OpenAIChat(url, "m", first_wait_s=0.01, max_attempts=1)
            try:
                return await chat.complete("?", SAMPLING)
            except GenerationFailed as error:  # the second server has another port
                return str(error)
            finally:
                if last:
                    await chat.aclose()

    assert asyncio.run(main(last=False)) == "ok"
    assert "connection refused" in asyncio.run(main(last=True))


KEY_SCRIPT = """
import asyncio, sys
from zerosearch.core.errors import GenerationFailed
from zerosearch.net.chat import OpenAIChat
from zerosearch.core.types import Sampling
async def main():
    async with OpenAIChat(sys.argv[1], "m", api_key_env="TEST_KEY") as chat:
        try:
            print(await chat.complete("?", Sampling(1)))
        except GenerationFailed as error:
            print(error)
asyncio.run(main())
"""


def test_the_key_is_sent_and_never_shown() -> None:
    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.Response(status=401, text=json.dumps({"error": f"wrong key {seen[0].split()[1]}"}))

    async def main() -> str:
        async with serving(handler) as url:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", KEY_SCRIPT, url, env={**os.environ, "TEST_KEY": "sk-123"}, stdout=subprocess.PIPE
            )
            output, _ = await process.communicate()
            return output.decode()

    seen: list[str] = []
    line = asyncio.run(main())
    assert seen == ["Bearer sk-123"]
    assert 'status 401: {"error": "wrong key ***"} (1 attempt); check the key in $TEST_KEY.' in line
    assert "sk-123" not in line


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"base_url": "localhost:8000"}, "'localhost:8000' is not a URL"),
        ({"base_url": "http://host:port"}, "is not a URL"),
        ({"style": "chats"}, "unknown style 'chats'; did you mean 'chat'"),
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"max_concurrency": 0}, "max_concurrency is 0"),
        ({"timeout_s": 0}, "timeout_s is 0"),
    ],
)
def test_arguments_that_cannot_be_right(arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(BadConfig, match=what):
        OpenAIChat(**{"base_url": "http://localhost:8000/v1", **arguments})
