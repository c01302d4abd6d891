"""Shared by the server's benchmarks: a client with little overhead, server processes, and their CPU seconds and memory."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zerosearch.cli.options import write_json as report  # noqa: F401  every script here ends with it

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    seconds: float


class Connection(asyncio.Protocol):
    """One request at a time over a persistent connection; only the parts of HTTP that these servers send."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0 or self._waiting is None:
            return
        head = bytes(self._data[:end]).lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].partition(b"\r\n")[0])
        if len(self._data) >= end + 4 + length:
            body = bytes(self._data[end + 4 : end + 4 + length])
            self._data.clear()
            waiting, self._waiting = self._waiting, None
            waiting.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error or ConnectionError("closed"))

    async def ask(self, request: bytes) -> Reply:
        began = time.perf_counter()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status, body = await self._waiting
        return Reply(status, body, time.perf_counter() - began)

    def close(self) -> None:
        self._transport.close()


def post(path: str, body: Any) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


class Failures(list[int]):
    """Which requests did not end with 200; to be passed to `closed_loop`."""

    def __call__(self, i: int, reply: Reply) -> None:
        if reply.status != 200:
            self.append(i)


async def closed_loop(
    port: int, requests: Sequence[bytes], clients: int, on_reply: Callable[[int, Reply], object], ramp_s: float = 0.0
) -> float:
    """All requests by that many clients, each sending the next when it has its answer; they start one by one within `ramp_s`.

    Returns the seconds it took.
    """
    waiting = iter(enumerate(requests))

    async def client(number: int) -> None:
        await asyncio.sleep(number / clients * ramp_s)
        connection = await connect(port)
        for i, request in waiting:
            on_reply(i, await connection.ask(request))
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return time.perf_counter() - began


@contextmanager
def process(*words: str, cwd: Path | None = None) -> Iterator[tuple[int, int]]:
    """(pid, port) of a server that prints a line with an address that ends in its port."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=cwd, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                raise SystemExit(f"did not start: {' '.join(words)}")
            yield server.pid, int(line.split("http://127.0.0.1:")[1].split()[0].strip("/"))
        finally:
            server.kill()


def serve(*words: str, cwd: Path | None = None) -> Any:
    return process("-m", "zerosearch", "serve", "--port", "0", *words, cwd=cwd)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def options(doc: str, **defaults: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name, value in defaults.items():
        if isinstance(value, list):
            parser.add_argument(f"--{name.replace('_', '-')}", nargs="*", default=value)
        else:
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--json", type=Path, default="-", metavar="FILE")
    return parser.parse_args()
