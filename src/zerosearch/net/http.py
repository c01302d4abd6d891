"""JSON over HTTP, with limits on attempts, waits, sizes and connections; a failure is one line that never shows a key."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, urljoin, urlsplit

import aiohttp

from zerosearch.core.errors import BadConfig, ZeroSearchError, one_line

T = TypeVar("T")

_MAX_REPLY_BYTES = 8 * 2**20
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `params` go into the query, `body` is sent as JSON."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(eq=False)
class RetryableError(Exception):
    """One attempt that failed: what happened, what to do about it, and whether trying again may help."""

    what: str
    advice: str
    retry: bool = True
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do when a server fails; `by_status` comes before the rest."""

    url: str  # something else replied, or nothing did
    request: str  # the server rejected the request
    by_status: Mapping[int, str] = field(default_factory=dict[int, str])
    url_name: str = "url"
    url_example: str = "http://localhost:8000"


@dataclass(frozen=True, slots=True)
class _Connection:
    """What belongs to one event loop: a session and its connection limit."""

    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    slots: asyncio.Semaphore


class JsonClient:
    """Calls to one server, whose failures are raised as `error`.

    408, 429, 5xx, lost connections and time-outs are tried again, `max_attempts` times in all, after
    first_wait_s · 2^i · uniform(½, 1), or as long as `Retry-After` asks, but never more than `max_wait_s`. A redirect is
    not followed. `key` is blotted out of whatever a server says; `key_env` is the variable it came from.

    Raises BadConfig if an argument is invalid.
    """

    def __init__(
        self,
        base_url: str,
        error: type[ZeroSearchError],
        advice: Advice,
        *,
        key: str = "",
        key_env: str = "",
        timeout_s: float = 60,
        max_attempts: int = 4,
        max_concurrency: int = 64,
        first_wait_s: float = 0.5,
        max_wait_s: float = 30,
        seed: int = 0,
    ) -> None:
        if not is_url(base_url):
            raise BadConfig(f"{advice.url_name} '{shown_url(base_url)}' is not a URL; it should look like {advice.url_example}.")
        for name, value in {"max_attempts": max_attempts, "max_concurrency": max_concurrency}.items():
            if value < 1:
                raise BadConfig(f"{name} is {value}; it must be at least 1.")
        if timeout_s <= 0:
            raise BadConfig(f"timeout_s is {timeout_s:g}; it must be more than 0.")
        self._base_url = base_url.rstrip("/")
        self._error, self._advice = error, advice
        self._key, self._key_env = key, key_env
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts
        self._max_concurrency = max_concurrency
        self._first_wait_s = first_wait_s
        self._max_wait_s = max_wait_s
        self._random = Random(seed)
        self._connection: _Connection | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None}  # another process opens its own

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.session.close()

    async def ask(self, call: Call, read: Callable[[Any], T], max_attempts: int | None = None) -> T:
        """What `read` finds in the JSON reply, in at most `max_attempts` attempts (None: the client's). `read` may raise RetryableError."""
        last = max_attempts or self._max_attempts
        for attempt in range(1, last + 1):
            try:
                return read(await self._attempt(call))
            except RetryableError as trouble:
                if not trouble.retry or attempt == last:
                    attempts = f"{attempt} attempt{'' if attempt == 1 else 's'}"
                    where = f"{call.method} {shown_url(self._url(call))}"
                    what = f"{where}: {trouble.what} ({attempts}); {trouble.advice}"
                    raise self._error(self._without_key(what)) from None  # a cause could show the key in a traceback
                backoff_s = self._first_wait_s * 2 ** (attempt - 1) * self._random.uniform(0.5, 1)
                await asyncio.sleep(min(max(backoff_s, trouble.wait_s), self._max_wait_s))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def unexpected(self, reply: Any) -> RetryableError:
        """For `read` to raise: the reply is JSON, but not of the expected form."""
        return self._unexpected(json.dumps(reply))

    def _url(self, call: Call) -> str:
        if call.path.startswith("/"):  # at the root of the server
            return urljoin(f"{self._base_url}/", call.path)
        # users may give the whole address instead of its beginning
        return self._base_url if self._base_url.endswith(f"/{call.path}") else f"{self._base_url}/{call.path}"

    async def _attempt(self, call: Call) -> Any:
        connection = await self._connected()
        async with connection.slots:  # not held while waiting to try again
            try:
                # a redirected POST would arrive as a GET, and the key at another host
                async with connection.session.request(
                    call.method, self._url(call), params=call.params or None, json=call.body, headers=call.headers, allow_redirects=False
                ) as response:
                    return self._parsed(response, await _read_bounded(response, self._advice.url))
            except TimeoutError:
                raise RetryableError(f"timed out after {self._timeout_s:g} s", "raise timeout_s or lower max_concurrency.") from None
            except aiohttp.ClientConnectorDNSError:
                raise RetryableError("the host name cannot be resolved", f"check {self._advice.url_name}.") from None
            except aiohttp.ClientConnectorError as error:
                reason = "connection refused" if isinstance(error.os_error, ConnectionRefusedError) else error.strerror
                raise RetryableError(f"{reason or 'cannot connect'}", f"is the server running? check {self._advice.url_name}.") from None
            except (aiohttp.ClientError, OSError) as error:
                what = f"the connection was lost ({type(error).__name__}: {one_line(str(error))})"
                raise RetryableError(what, "check the server's log.") from None

    def _parsed(self, response: aiohttp.ClientResponse, reply: bytes) -> Any:
        status, text = response.status, reply.decode("utf-8", "replace")
        if status != 200:
            what = f"status {status}: {self._excerpt(text)}"
            if status in (408, 429) or status >= 500:
                raise RetryableError(what, self._about(status), wait_s=_retry_after_s(response.headers.get("Retry-After", "")))
            raise RetryableError(what, self._about(status), retry=False)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self._unexpected(text) from None

    def _about(self, status: int) -> str:
        if status in self._advice.by_status:
            return self._advice.by_status[status]
        if status in (401, 403) and self._key_env:
            return f"check the key in ${self._key_env}." if self._key else f"set a key in ${self._key_env}."
        if status in (404, 405) or status in range(300, 400):
            return self._advice.url
        if status == 429:
            return "lower max_concurrency, or wait."
        return "check the server's log." if status >= 500 or status == 408 else self._advice.request

    def _unexpected(self, text: str) -> RetryableError:
        return RetryableError(f"the reply is not the expected JSON: {self._excerpt(text)}", self._advice.url, retry=False)

    def _excerpt(self, text: str) -> str:
        return one_line(self._without_key(text[:4096]), 120) or "(empty body)"

    def _without_key(self, text: str) -> str:
        for spelling in {self._key, quote(self._key), quote_plus(self._key)} if self._key else ():
            text = text.replace(spelling, "***")
        return text

    async def _connected(self) -> _Connection:
        """The session of the running loop; a session left over from a loop that has ended is closed."""
        loop = asyncio.get_running_loop()
        found = self._connection
        if found is not None and found.loop is loop:
            return found
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_concurrency), timeout=aiohttp.ClientTimeout(total=self._timeout_s)
        )
        self._connection = connection = _Connection(loop, session, asyncio.Semaphore(self._max_concurrency))
        if found is not None:
            await found.session.close()
        return connection


def key_from(variable: str, needed_by: str = "", environment: Mapping[str, str] = os.environ) -> str:
    """The key in an environment variable, or empty if it is not set; then BadConfig if it is `needed_by` something."""
    key = environment.get(variable, "").strip() if variable else ""
    if not key and needed_by:
        raise BadConfig(f"{needed_by} needs a key; set the environment variable {variable}.")
    return key


def from_environment(text: str, setting: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` with each ${NAME} replaced by the environment's value, so that a recipe holds no secret. BadConfig if it is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise BadConfig(f"{setting} names the environment variable {match[1]}, which is not set; export {match[1]}=….")
        return environment[match[1]]

    return _VARIABLE.sub(value, text)


def is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        return False


def shown_url(url: str) -> str:
    """The URL without what may be secret in it: a password, a query."""
    try:
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]


async def _read_bounded(response: aiohttp.ClientResponse, advice: str) -> bytes:
    """The body, read piece by piece so that a huge reply cannot fill the memory."""
    reply = bytearray()
    async for chunk in response.content.iter_any():
        reply += chunk
        if len(reply) > _MAX_REPLY_BYTES:
            raise RetryableError(f"the reply is larger than {_MAX_REPLY_BYTES // 2**20} MiB", advice, retry=False)
    return bytes(reply)


def _retry_after_s(value: str) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 if it is neither."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
