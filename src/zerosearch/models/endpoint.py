"""An HTTP endpoint that speaks OpenAI's protocol: one call with bounded retries, a cap on concurrency, and one line when it fails."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp

from zerosearch.errors import BadConfig, GenerationFailed

_MAX_REPLY_BYTES = 8 * 2**20
T = TypeVar("T")


@dataclass(eq=False)
class Trouble(Exception):
    """One attempt that failed: what happened, what to do about it, and whether trying again may help."""

    what: str
    advice: str
    retry: bool = True
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Connection:
    """What belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    slots: asyncio.Semaphore
    naming: asyncio.Lock


class Endpoint:
    """Calls `{base_url}/…`.

    An empty `model` is the first one the server lists. The key is read from the environment variable `api_key_env`, sent
    in the header and never shown. 408, 429, 5xx, lost connections and time-outs are tried again, `max_attempts` times in
    all, after first_wait_s · 2^i · uniform(½, 1), or what `Retry-After` asks for, but never more than `max_wait_s`.

    Raises BadConfig when an argument cannot be right.
    """

    def __init__(
        self,
        base_url: str,
        model: str = "",
        *,
        api_key_env: str = "OPENAI_API_KEY",
        timeout_s: float = 60,
        max_attempts: int = 4,
        max_concurrency: int = 64,
        first_wait_s: float = 0.5,
        max_wait_s: float = 30,
        seed: int = 0,
    ) -> None:
        if not _is_url(base_url):
            raise BadConfig(f"base_url '{base_url}' is not a URL; it looks like http://localhost:8000/v1.")
        for name, value in {"max_attempts": max_attempts, "max_concurrency": max_concurrency}.items():
            if value < 1:
                raise BadConfig(f"{name} is {value}; it must be at least 1.")
        if timeout_s <= 0:
            raise BadConfig(f"timeout_s is {timeout_s:g}; it must be more than 0.")
        self._base_url = base_url.rstrip("/")
        self._model = model
        self._api_key = os.environ.get(api_key_env, "") if api_key_env else ""
        self._api_key_env = api_key_env
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts
        self._max_concurrency = max_concurrency
        self._first_wait_s = first_wait_s
        self._max_wait_s = max_wait_s
        self._random = Random(seed)
        self._connection: _Connection | None = None

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.session.close()

    async def model_name(self) -> str:
        """The model that was named, else the first one the server lists. Raises GenerationFailed."""
        if not self._model:
            async with (await self._connected()).naming:
                if not self._model:  # those who waited find it named
                    self._model = await self.call("GET", "models", None, _first_model_of)
        return self._model

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[Any], T]) -> T:
        """What `read` finds in the JSON reply, after at most `max_attempts` attempts. `read` raises Trouble when it is not there.

        Raises GenerationFailed with one line: the URL, what happened, what to do.
        """
        url = urljoin(f"{self._base_url}/", path)  # a path that begins with / is at the root of the server
        for attempt in range(1, self._max_attempts + 1):
            try:
                return read(await self._attempt(method, url, body))
            except Trouble as trouble:
                if not trouble.retry or attempt == self._max_attempts:
                    attempts = f"{attempt} attempt{'' if attempt == 1 else 's'}"
                    what = f"{method} {_shown_url(url)}: {trouble.what} ({attempts}); {trouble.advice}"
                    raise GenerationFailed(self._without_key(what)) from trouble.__cause__
                backoff_s = self._first_wait_s * 2 ** (attempt - 1) * self._random.uniform(0.5, 1)
                await asyncio.sleep(min(max(backoff_s, trouble.wait_s), self._max_wait_s))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, method: str, url: str, body: Mapping[str, Any] | None) -> Any:
        connection = await self._connected()
        async with connection.slots:  # not held while waiting to try again
            try:
                # a redirected POST would arrive as a GET, and the key at another host
                async with connection.session.request(method, url, json=body, allow_redirects=False) as response:
                    return self._parsed(response, await _read_bounded(response))
            except TimeoutError as error:
                advice = "raise timeout_s or lower max_concurrency."
                raise Trouble(f"timed out after {self._timeout_s:g} s", advice) from error
            except aiohttp.ClientConnectorDNSError as error:
                raise Trouble("the host's name is unknown", "check base_url.") from error
            except aiohttp.ClientConnectorError as error:
                reason = "connection refused" if isinstance(error.os_error, ConnectionRefusedError) else error.strerror
                raise Trouble(f"{reason or 'cannot connect'}", "is the server running? check base_url.") from error
            except (aiohttp.ClientError, OSError) as error:
                what = f"the connection was lost ({type(error).__name__}: {one_line(str(error))})"
                raise Trouble(what, "look at the server's log.") from error

    def _parsed(self, response: aiohttp.ClientResponse, reply: bytes) -> Any:
        status, text = response.status, reply.decode("utf-8", "replace")
        if status != 200:
            what = f"status {status}: {self._excerpt(text)}"
            if status in (408, 429) or status >= 500:
                raise Trouble(what, self._advice(status), wait_s=_retry_after_s(response.headers.get("Retry-After", "")))
            raise Trouble(what, self._advice(status), retry=False)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise unexpected(self._excerpt(text)) from error

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            return f"check the key in ${self._api_key_env}." if self._api_key else f"set a key in ${self._api_key_env}."
        if status in (404, 405) or status in range(300, 400):
            return "check base_url (it usually ends in /v1) and model."
        if status == 429:
            return "lower max_concurrency, or wait."
        return "look at the server's log." if status >= 500 or status == 408 else "check model, the prompt's length and the sampling."

    def _excerpt(self, text: str) -> str:
        return one_line(self._without_key(text))[:120] or "(empty body)"

    def _without_key(self, text: str) -> str:
        return text.replace(self._api_key, "***") if self._api_key else text

    async def _connected(self) -> _Connection:
        """The session of the running loop; one left over from a loop that is gone is closed."""
        loop = asyncio.get_running_loop()
        if self._connection is None or self._connection.loop is not loop:
            await self.aclose()
            headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else None
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_concurrency),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers=headers,
            )
            self._connection = _Connection(loop, session, asyncio.Semaphore(self._max_concurrency), asyncio.Lock())
        return self._connection


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, read piece by piece so that a runaway server cannot fill the memory."""
    reply = bytearray()
    async for chunk in response.content.iter_any():
        reply += chunk
        if len(reply) > _MAX_REPLY_BYTES:
            raise Trouble(f"the reply is larger than {_MAX_REPLY_BYTES // 2**20} MiB", "check base_url.", retry=False)
    return bytes(reply)


def _first_model_of(reply: Any) -> str:
    match reply:
        case {"data": [{"id": str(name)}, *_]} if name:
            return name
        case _:
            raise Trouble("the server lists no model", "name one: model=….", retry=False)


def unexpected(excerpt: str) -> Trouble:
    advice = "check base_url: is it an OpenAI-compatible endpoint?"
    return Trouble(f"the reply is not the expected JSON: {excerpt}", advice, retry=False)


def _retry_after_s(value: str) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 when it is neither."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _shown_url(url: str) -> str:
    """The URL without what may be secret in it: a user's password, a query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def one_line(text: str) -> str:
    return " ".join(text.split())
