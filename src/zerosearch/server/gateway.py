"""The path of a search request: its dialect, caller and content, then a reply in the same dialect, whether documents or an error.

Plain ASGI in front of the FastAPI application: every search takes this path; people and monitors take the other.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from zerosearch.core.errors import BadConfig
from zerosearch.server.dialects import ClientSearch, Dialect, Served, bearer
from zerosearch.server.faults import parse_rates, truncated
from zerosearch.server.http_request import ClientGone, HttpRequest, Reason, Receive, Refused, read_body, validated
from zerosearch.server.native import find_dialect, native_error
from zerosearch.server.service import RequestContext, SearchReply, Service

App = Callable[[Any, Any, Any], Any]
_CLIENT_GONE = 499
_LOOK_AFTER_S = 0.02  # once a search takes longer, check whether the client has gone


class Gateway:
    def __init__(self, service: Service, rest: App) -> None:
        self._service, self._rest = service, rest

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        started = time.perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        wire = HttpRequest(scope["method"], scope["path"], headers, scope["query_string"])
        if wire.path.startswith("/s/"):
            wire.session, _, rest = wire.path[3:].partition("/")
            wire.path = f"/{rest}"
            named = [*scope["headers"], (b"x-zerosearch-session", wire.session.encode("latin-1", "replace"))]
            scope = {**scope, "path": wire.path, "raw_path": wire.path.encode(), "headers": named}
        if wire.path.rstrip("/") == "/mcp":  # a stream, bounded by the SDK
            await self._rest({**scope, "path": "/mcp/"}, receive, send)
            return
        too_large: Refused | None = None
        if wire.method not in ("GET", "HEAD"):
            try:
                wire.body = await read_body(receive, headers, self._service.bounds.max_body_bytes)
            except ClientGone:
                return
            except Refused as refused:
                too_large = refused
        dialect = find_dialect(wire)
        if dialect is not None:
            await self._reply(dialect, wire, scope, receive, send, started, too_large)
        elif too_large is not None:
            await _send(send, 413, _dumped(native_error(too_large)), {"connection": "close"})
        else:
            await self._rest(scope, _again(wire.body, receive), send)

    async def _reply(
        self, dialect: Dialect, wire: HttpRequest, scope: Any, receive: Receive, send: Any, started: float, too_large: Refused | None
    ) -> None:
        name, extra, log = secrets.token_hex(8), {}, {}
        try:
            if too_large:
                raise too_large
            asker, said, searches = self._understood(dialect, wire, scope)
            log = {"queries": len(searches), "owner": asker.owner[:8]}
            answer = await _unless_gone(self._service.answer(searches, asker, partial=dialect.partial), receive) if searches else _NOTHING
            log |= self._drawn(answer, extra, searches)
            seconds = time.perf_counter() - started
            served = Served(answer.hits, name, seconds, self._service.library.base_url, self._service.library)
            status, body = 200, _dumped(dialect.write(said, served))
            if answer.plan is not None:
                extra["x-zerosearch-fault"] = ", ".join(answer.plan.names)
                body = truncated(body, answer.plan) if "truncated" in answer.plan else body
        except Refused as refused:
            status, body = dialect.status(refused.reason), _dumped(dialect.error(refused, dialect.status(refused.reason)))
            log["reason"] = refused.reason.name.lower()
            if refused.retry_after_s:
                extra["retry-after"] = str(refused.retry_after_s)
            if refused.allow:
                extra["allow"] = refused.allow
            if too_large:
                extra["connection"] = "close"  # the rest of the body is still arriving
        except ClientGone:
            seconds = time.perf_counter() - started
            self._service.meters.request(dialect.name, _CLIENT_GONE, seconds)
            self._service.events.say("info", "client gone", dialect=dialect.name, request=name, ms=round(seconds * 1000, 2), **log)
            return
        except Exception as error:
            self._service.events.broken(error, request=name)
            refused = Refused(Reason.BROKEN, "the server failed unexpectedly; its log says why.")
            status, body = 500, _dumped(dialect.error(refused, 500))
        await _send(send, status, body, {"x-request-id": name, **extra})
        seconds = time.perf_counter() - started
        self._service.meters.request(dialect.name, status, seconds)
        private = (
            {"fields": {k: v for k, v in wire.readable_fields.items() if "key" not in k and "gold" not in k}}
            if self._service.events.queries
            else None
        )
        ms = round(seconds * 1000, 2)
        self._service.events.say("info", "search", dialect=dialect.name, status=status, ms=ms, request=name, **log, private=private)

    def _understood(self, dialect: Dialect, wire: HttpRequest, scope: Any) -> tuple[RequestContext, Any, list[ClientSearch]]:
        """Read the caller and the searches. Raises Refused."""
        allowed = [method for method, path in dialect.routes if path == wire.path]
        if not allowed:
            raise Refused(Reason.NOT_FOUND, f"{dialect.name} has no {wire.path[:80]}; use {dialect.routes[0][1]}.")
        if wire.method not in allowed:
            raise Refused(Reason.WRONG_METHOD, f"{wire.path} takes {' or '.join(allowed)}.", allow=", ".join(allowed))
        if dialect.is_search:
            self._service.places.check()
        # a wrong key is refused before anything else is checked; the key may be in the body
        owner = self._service.admit(_key(dialect, wire), scope.get("client"))
        said = validated(dialect.model, wire.fields, strict=dialect.strict)
        searches = list(dialect.read(said))
        for search in searches:
            self._check(dialect, search)
        return asker_of(wire.headers, owner, wire.session), said, searches

    def _check(self, dialect: Dialect, search: ClientSearch) -> None:
        bounds = self._service.bounds
        longest, most = min(bounds.max_query_characters, dialect.max_characters), min(bounds.max_k, dialect.max_k)
        if not search.query.strip():
            raise Refused(Reason.BAD_REQUEST, "the query is empty; send a text.")
        if len(search.query) > longest:
            raise Refused(Reason.BAD_REQUEST, f"the query has {len(search.query):,} characters; the maximum is {longest:,}.")
        if len(search.query.split()) > dialect.max_words:
            raise Refused(Reason.BAD_REQUEST, f"the query has more than {dialect.max_words} words.")
        if not 1 <= search.k <= most:
            raise Refused(Reason.BAD_REQUEST, f"the number of results is {search.k}; choose one from 1 to {most}.")

    def _drawn(self, answer: SearchReply, extra: dict[str, str], searches: list[ClientSearch]) -> dict[str, Any]:
        """The draw goes into headers and the log, never into the documents."""
        if not searches:
            return {}
        extra["x-zerosearch-quality"] = ",".join(answer.qualities)
        extra["x-zerosearch-noise"] = ",".join(f"{rate:.6g}" for rate in dict.fromkeys(answer.noise_rates))
        extra["x-zerosearch-step"] = str(answer.step)
        return {"quality": answer.qualities, "noise": answer.noise_rates[0], "step": answer.step, "k": searches[0].k}


_NOTHING = SearchReply([], [], [], 0)


def asker_of(headers: Mapping[str, str], owner: str, session: str = "") -> RequestContext:
    """The settings in the X-Zerosearch-… headers of a request. Raises Refused."""
    told = {name.removeprefix("x-zerosearch-"): value for name, value in headers.items() if name.startswith("x-zerosearch-")}
    session = session or told.get("session", "") or told.get("question", "")
    if not told:
        return RequestContext(owner, session)
    try:
        noise = float(told["noise"]) if "noise" in told else None
        seed = int(told["seed"]) if "seed" in told else None
        faults = parse_rates([text for text in told["faults"].split(",") if text.strip()]) if "faults" in told else None
    except BadConfig as error:
        raise Refused(Reason.BAD_REQUEST, f"X-Zerosearch-Faults: {error}") from None
    except ValueError:
        raise Refused(Reason.BAD_REQUEST, "X-Zerosearch-Noise must be a probability and X-Zerosearch-Seed a whole number.") from None
    if (noise is not None and not 0 <= noise <= 1) or (seed is not None and not 0 <= seed < 2**63):
        raise Refused(Reason.BAD_REQUEST, "X-Zerosearch-Noise must be from 0 to 1, and X-Zerosearch-Seed at least 0.")
    return RequestContext(owner, session, noise, seed, told.get("key"), faults)


async def _unless_gone(work: Awaitable[SearchReply], receive: Receive) -> SearchReply:
    """The work's result. If the client leaves meanwhile, the work is cancelled. Raises ClientGone.

    Most work is done before this check; a separate task for each would cost as much as the rest of the path.
    """
    loop, mine = asyncio.get_running_loop(), asyncio.current_task()
    assert mine is not None
    watch: asyncio.Task[None] | None = None
    left = False

    def leave(_: asyncio.Task[None]) -> None:
        nonlocal left
        if not finished:
            left = True
            mine.cancel()

    def look() -> None:
        nonlocal watch
        watch = loop.create_task(_disconnected(receive))
        watch.add_done_callback(leave)

    finished = False
    timer = loop.call_later(_LOOK_AFTER_S, look)
    try:
        return await work
    except asyncio.CancelledError:
        if left and mine.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        finished = True
        timer.cancel()
        if watch is not None:
            watch.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _key(dialect: Dialect, wire: HttpRequest) -> str:
    """The key where the dialect puts it, or a bearer token. A body that cannot be read has none."""
    try:
        return dialect.key(wire) or bearer(wire)
    except Refused:
        return bearer(wire)


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate in a document
        return json.dumps(value).encode()


async def _send(send: Any, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    raw = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    raw += [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was already read, for the next application to read."""
    unread = True

    async def first_the_body() -> Any:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return first_the_body
