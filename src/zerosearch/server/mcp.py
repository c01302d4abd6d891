"""The server as an MCP server with one tool, `search`: over stdio, or as streamable HTTP at /mcp. The protocol is the official SDK's."""

# no `from __future__ import annotations`: the SDK reads the tool's annotations, which name local objects

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

from pydantic import Field

from zerosearch.core.errors import BadConfig
from zerosearch.core.install import not_installed
from zerosearch.server.dialects import ClientSearch, bearer
from zerosearch.server.gateway import asker_of
from zerosearch.server.http_request import HttpRequest, Refused
from zerosearch.server.limits import key_digest
from zerosearch.server.service import Service

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


def mcp_server(service: Service) -> Any:
    """The SDK's server. Raises BadConfig if the SDK is missing."""
    try:
        from mcp.server.mcpserver import Context, MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError as error:
        raise BadConfig(not_installed("MCP", "the package mcp", "mcp")) from error
    server: Any = MCPServer("zerosearch", instructions="A search engine. Call `search` with a query.", log_level="CRITICAL")

    async def search(
        query: Annotated[str, Field(description="What to search for.", min_length=1, max_length=service.bounds.max_query_characters)],
        ctx: Context,
        k: Annotated[int, Field(description="Maximum number of results.", ge=1, le=service.bounds.max_k)] = 5,
    ) -> list[dict[str, str]]:
        """Search for documents: title, text and address of each."""
        request = getattr(ctx.request_context, "request", None)  # of HTTP; stdio has none
        headers = dict(request.headers) if request is not None else {}
        if not query.strip():
            raise ToolError("the query is empty; send a text.")
        started, status, qualities = time.perf_counter(), 200, []
        try:
            asker = asker_of(headers, key_digest(bearer(HttpRequest("POST", "/mcp", headers, b""))))
            answer = await service.answer([ClientSearch(query, k)], asker)
            qualities = answer.qualities
        except Refused as refused:
            status = refused.reason.value
            raise ToolError(refused.message) from None
        finally:
            seconds = time.perf_counter() - started
            service.meters.request("mcp", status, seconds)
            ms = round(seconds * 1000, 2)
            service.events.say("info", "search", dialect="mcp", status=status, ms=ms, quality=qualities, private={"query": query})
        (hits,) = answer.hits
        assert isinstance(hits, list)
        return [{"title": hit.title, "text": hit.text, "url": hit.url} for hit in hits]

    server.add_tool(search)
    return server


def mcp_over_http(service: Service, loopback_only: bool) -> tuple[Any, Lifespan]:
    """An ASGI application for /mcp and the context it must run in; None if the SDK is missing.

    On loopback the SDK rejects requests for other hosts, so that no web page reaches it through its own host name.
    """

    @asynccontextmanager
    async def nothing() -> AsyncIterator[None]:
        yield

    try:
        server = mcp_server(service)
    except BadConfig:
        return None, nothing
    app = server.streamable_http_app(streamable_http_path="/", stateless_http=True, host="127.0.0.1" if loopback_only else "0.0.0.0")
    return app, lambda: server.session_manager.run()


async def serve_stdio(service: Service) -> None:
    """Serve MCP on stdin and stdout until the client closes them."""
    try:
        await mcp_server(service).run_stdio_async()
    finally:
        await service.aclose()
