"""`zerosearch serve` as a process: what it prints, its signals, its exit codes, and a back end that is killed under load."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import HTTP
from zerosearch.cli import run

BACK_END = """
import asyncio, sys
from aiohttp import web

async def complete(request):
    body = await request.json()
    await asyncio.sleep(0.05)
    text = "Doc 1: " + body["messages"][0]["content"][-200:].replace("\\n", " ")
    return web.json_response({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})

async def models(request):
    return web.json_response({"data": [{"id": "m"}]})

app = web.Application()
app.add_routes([web.post("/v1/chat/completions", complete), web.get("/v1/models", models)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=lambda line: print("up", flush=True))
"""


@contextmanager
def started(*words: str, **more: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address."""
    command = [sys.executable, "-m", "zerosearch", "serve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, line.split(" at ")[1].split()[0]
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "text": f"fact number {i}"}) + "\n" for i in range(20)))
    return str(file)


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    (tmp_path / "slow_engine.py").write_text(
        "import asyncio\nfrom zerosearch import Document\n\n\nasync def search(query, k):\n"
        "    await asyncio.sleep(float(query))\n    return [Document(query)]\n"
    )
    return tmp_path


def test_sigterm_finishes_what_was_begun(slow: Path) -> None:
    with started("--engine", "slow_engine:search", "--port", "0", "--max-concurrency", "2", cwd=slow) as (process, url):

        async def ask() -> list[int]:
            async with httpx.AsyncClient(timeout=20) as client:
                asked = [asyncio.create_task(client.post(f"{url}/v1/search", json={"query": f"0.8{i}"})) for i in range(4)]
                await asyncio.sleep(0.4)
                process.send_signal(signal.SIGTERM)
                replies = await asyncio.gather(*asked)
                return [reply.status_code for reply in replies]

        assert asyncio.run(ask()) == [200] * 4
        assert process.wait(10) == 0
        with pytest.raises(httpx.ConnectError):
            HTTP.get(f"{url}/healthz")
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert log[-1]["event"] == "stopped" and sum(line["event"] == "search" for line in log) == 4


def test_the_demo_prints_curl_lines_that_work() -> None:
    with started("--demo", "--port", "0") as (process, url):
        assert process.stdout is not None
        lines: list[str] = []
        while len(lines) < 12:
            line = process.stdout.readline()
            if line.startswith("curl"):
                lines.append(line)
        for line in lines:
            done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
            assert done.returncode == 0 and len(json.loads(done.stdout)) > 0, line
            assert "error" not in done.stdout and "detail" not in done.stdout, done.stdout
        assert HTTP.get(f"{url}/readyz").json() == {"status": "ready"}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_a_back_end_that_is_killed_under_load() -> None:
    """kill -9 in the middle: every request is answered, right or with an error of its own, and all is well when it is back."""
    port = free_port()

    def back_end() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", BACK_END, str(port)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        return process

    behind = back_end()
    words = ("--simulator", f"http://127.0.0.1:{port}/v1", "--port", "0", "--timeout", "1", "--log-level", "warning")
    try:
        with started(*words) as (_, url):

            async def load() -> list[tuple[int, bool]]:
                nonlocal behind

                async def one(client: httpx.AsyncClient, i: int) -> tuple[int, bool]:
                    reply = await client.post(f"{url}/serper/search", json={"q": f"unique-{i}-"})
                    right = reply.status_code != 200 or f"unique-{i}-" in reply.json()["organic"][0]["snippet"]
                    return reply.status_code, right

                async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=32)) as client:
                    asked = [asyncio.create_task(one(client, i)) for i in range(96)]
                    while sum(task.done() for task in asked) < 20:
                        await asyncio.sleep(0.01)
                    behind.kill()
                    behind.wait()
                    return await asyncio.gather(*asked)

            replies = asyncio.run(load())
            statuses = Counter(status for status, _ in replies)
            assert all(right for _, right in replies)
            assert statuses.keys() <= {200, 502, 504} and statuses[200] > 0 and statuses[502] + statuses[504] > 0, statuses
            assert behind.stdout is not None
            behind.stdout.close()
            behind = back_end()
            deadline = time.monotonic() + 20
            while HTTP.post(f"{url}/serper/search", json={"q": "again"}).status_code != 200:
                assert time.monotonic() < deadline
    finally:
        behind.kill()
        behind.wait()
        assert behind.stdout is not None
        behind.stdout.close()


WRONG = {
    "nothing": ([], "say what to serve"),
    "unknown engine": (["--engine", "bm26"], "did you mean 'bm25'"),
    "no corpus": (["--engine", "bm25"], "--corpus"),
    "missing corpus": (["--corpus", "nowhere.jsonl"], "nowhere.jsonl"),
    "a simulator that is down": (["--simulator", "http://127.0.0.1:9/v1", "--port", "0", "--timeout", "0.5"], "first search"),
    "noise of a real engine": (["--engine", "serper", "--noise", "0.5"], "is not one: leave it out"),
    "noise": (["--demo", "--noise", "2"], "less than or equal to 1"),
    "curriculum": (["--demo", "--curriculum", "0.5"], "START:END"),
    "schedule": (["--demo", "--curriculum", "0:1", "--schedule", "papper"], "paper"),
    "adaptive": (["--demo", "--curriculum", "0:1", "--schedule", "adaptive"], "rewards"),
    "fault": (["--demo", "--fault", "emtpy=1"], "empty"),
    "latency": (["--demo", "--latency", "slow"], "latency"),
    "keys": (["--demo", "--keys", "nowhere"], "nowhere"),
    "log level": (["--demo", "--log-level", "loud"], "log level"),
    "demo of another": (["--demo", "--engine", "serper"], "--demo is BM25"),
    "replay of nothing": (["--engine", "replay"], "--replay"),
    "missing tape": (["--engine", "replay", "--replay", "nowhere"], "nowhere"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_exit_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, part = WRONG[case]
    assert run(["serve", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and part in lines[0], lines


def test_starting_another_command_imports_no_server() -> None:
    code = "import sys, zerosearch.cli; print({'fastapi', 'uvicorn', 'starlette', 'mcp', 'prometheus_client', 'torch'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_what_was_recorded_is_served_without_the_engine(corpus: str, tmp_path: Path) -> None:
    tape = str(tmp_path / "tape.jsonl")
    with started("--corpus", corpus, "--record", tape, "--port", "0") as (_, url):
        first = HTTP.post(f"{url}/retrieve", json={"queries": ["fact 7"], "topk": 2}).json()
    with started("--engine", "replay", "--replay", tape, "--port", "0") as (_, url):
        assert [d["text"] for d in HTTP.post(f"{url}/retrieve", json={"queries": ["fact 7"], "topk": 2}).json()["result"][0]] == [
            d["text"] for d in first["result"][0]
        ]
        assert HTTP.post(f"{url}/retrieve", json={"queries": ["fact 8"], "topk": 2}).status_code == 502
