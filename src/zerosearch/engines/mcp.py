"""A search tool of an MCP server as an engine: a command that is started and used over stdio, or an address (streamable HTTP)."""

import asyncio
import json
import os
import shlex
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any

from zerosearch.core.errors import BadConfig, SearchFailed, first_error, one_line, one_of
from zerosearch.core.function_engine import FunctionEngine
from zerosearch.core.install import not_installed
from zerosearch.core.types import Document, SearchRequest, SearchResult
from zerosearch.engines.documents import parse_documents
from zerosearch.net.http import is_url, shown_url

_MAX_REPLY_CHARACTERS = 8 * 2**20
_CONNECTION_CLOSED = -32000  # the SDK's own code
_TEXT = ("text", "content", "snippet", "description", "contents", "body")
_TITLE = ("title", "name")
_ID = ("url", "link", "id")
_LIST = ("results", "result", "documents", "organic", "organic_results", "items", "data")


@dataclass(slots=True)
class _ServerConnection:
    """What belongs to one event loop. The client is opened and closed by one task, as the SDK requires; any task may call it."""

    loop: asyncio.AbstractEventLoop
    client: asyncio.Future[Any]
    leave: asyncio.Event
    task: asyncio.Task[None] | None = None
    tool: str = ""


class MCPEngine:
    """A SearchEngine that calls `tool` (may be left out if the server has only one) with {query_argument: query}, and k if it has a name.

    A stdio server inherits the environment, so keys reach it. A lost connection is reopened once.
    Raises BadConfig if the SDK is missing or an argument is invalid; a search raises SearchFailed in one line.
    """

    def __init__(
        self,
        *,
        command: str = "",
        url: str = "",
        tool: str = "",
        query_argument: str = "query",
        k_argument: str = "",
        timeout_s: float = 60,
    ) -> None:
        _sdk()
        if bool(command) == bool(url):
            raise BadConfig("give an MCP server as either a command or a url; received " + ("both." if url else "neither."))
        if url and not is_url(url):
            raise BadConfig(f"url '{shown_url(url)}' is not a URL; it should look like http://localhost:8000/mcp.")
        self._words = _words(command)
        self._url, self._tool = url, tool
        self._query_argument, self._k_argument = query_argument, k_argument
        self._timeout_s = timeout_s
        self._where = f"MCP server '{self._words[0] if command else shown_url(url)}'"
        self._connection: _ServerConnection | None = None
        self._engine = FunctionEngine(self._retrieve)

    async def search(self, request: SearchRequest) -> SearchResult:
        return await self._engine.search(request)

    async def aclose(self) -> None:
        """Close the connection, and stop the server if it was started here; the next search starts again."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.task is not None and not connection.loop.is_closed():
            connection.leave.set()
            if not connection.client.done():
                connection.task.cancel()  # still opening, with no one waiting: the SDK would wait 10 s for a silent server
            await asyncio.wait([connection.task])

    async def _retrieve(self, query: str, k: int) -> Sequence[Document]:
        arguments: dict[str, str | int] = {self._query_argument: query, **({self._k_argument: k} if self._k_argument else {})}
        result = await self._call(arguments)
        texts = [block.text for block in result.content if block.type == "text"]
        if result.is_error:
            raise SearchFailed(f"{self._where}: the tool answered with an error: {self._said(' '.join(texts))}; check its log.")
        if sum(map(len, texts)) > _MAX_REPLY_CHARACTERS:
            raise SearchFailed(f"{self._where}: the reply is larger than {_MAX_REPLY_CHARACTERS // 2**20} MiB; ask the tool for less.")
        return documents_of(texts, k)

    async def _call(self, arguments: dict[str, str | int]) -> Any:
        for last in (False, True):
            connection = self._connected()
            try:
                async with asyncio.timeout(self._timeout_s):
                    client = await asyncio.shield(connection.client)
                    return await client.call_tool(connection.tool, arguments)
            except TimeoutError:
                raise SearchFailed(f"{self._where}: no answer within {self._timeout_s:g} s; raise timeout_s, or check its log.") from None
            except (SearchFailed, BadConfig):  # it could not be opened; the next search tries again
                self._forget(connection)
                raise
            except Exception as error:
                lost = getattr(error, "code", None) == _CONNECTION_CLOSED
                if lost:
                    self._forget(connection)
                if last or not lost:
                    raise SearchFailed(f"{self._where}: tool '{connection.tool}' failed: {self._said(error)}; check its log.") from error
        raise AssertionError("unreachable: the last call returns or raises")

    def _forget(self, connection: _ServerConnection) -> None:
        connection.leave.set()
        if self._connection is connection:
            self._connection = None

    def _connected(self) -> _ServerConnection:
        loop = asyncio.get_running_loop()
        if self._connection is None or self._connection.loop is not loop:
            client: asyncio.Future[Any] = loop.create_future()
            client.add_done_callback(lambda future: future.cancelled() or future.exception())  # retrieved, even if no one waits
            self._connection = _ServerConnection(loop, client, asyncio.Event())
            self._connection.task = asyncio.create_task(self._stay(self._connection))
        return self._connection

    async def _stay(self, connection: _ServerConnection) -> None:
        """Open the client, and keep it open until it is no longer needed."""
        with tempfile.TemporaryFile("w+") as log:
            try:
                async with self._opened(log) as client:
                    connection.tool = self._choose([tool.name for tool in (await client.list_tools()).tools])
                    connection.client.set_result(client)
                    await connection.leave.wait()
            except asyncio.CancelledError:
                connection.client.cancel()
                raise
            except Exception as error:
                if not connection.client.done():  # otherwise a connection that was used has ended
                    connection.client.set_exception(self._cannot_open(error, log))

    def _cannot_open(self, error: BaseException, log: IO[str]) -> Exception:
        """The error, and the last line that the server wrote to its stderr."""
        error = first_error(error)
        if isinstance(error, BadConfig):
            return error
        log.seek(0)
        last = next((line for line in reversed(log.read()[-4096:].splitlines()) if line.strip()), "")
        said = f" (it said: {one_line(last, 120)})" if last else ""
        return SearchFailed(f"{self._where} cannot be used: {self._said(error)}{said}; check {'url' if self._url else 'command'}.")

    def _said(self, what: BaseException | str) -> str:
        text = one_line(str(what))
        if self._url:
            text = text.replace(self._url, shown_url(self._url))  # its query may hold a key
        return text[:200] if isinstance(what, str) else f"{type(what).__name__}{f': {text[:200]}' if text else ''}"

    @asynccontextmanager
    async def _opened(self, log: IO[str]) -> AsyncIterator[Any]:
        mcp = _sdk()
        if self._url:
            server: Any = self._url
        else:
            parameters = mcp.StdioServerParameters(command=self._words[0], args=self._words[1:], env=dict(os.environ))
            server = mcp.stdio_client(parameters, errlog=log)  # its output does not belong on our stderr
        async with mcp.Client(server, read_timeout_seconds=self._timeout_s) as client:
            yield client

    def _choose(self, tools: list[str]) -> str:
        if self._tool:
            return one_of(f"tool of the {self._where}", self._tool, tools)
        if len(tools) != 1:
            raise BadConfig(f"the {self._where} has {len(tools)} tools ({', '.join(tools)[:200]}); choose one with tool=….")
        return tools[0]


def documents_of(texts: Sequence[str], k: int) -> list[Document]:
    """Text blocks as documents: JSON records or lists of them by their usual names, anything else as prose.

    Several blocks are one document each; a single block is read as a list by `parse_documents`.
    """
    if len(texts) == 1 and _records(texts[0]) is None:
        return list(parse_documents(texts[0], k).documents)
    documents: list[Document] = []
    for text in texts:
        records = _records(text)
        documents += [Document(text)] if records is None else [_document(record) for record in records]
    return [document for document in documents if document.text.strip()]


def _records(text: str) -> list[Any] | None:
    """What a JSON text lists; None if it is not JSON, or holds nothing that could be documents."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        listed = next((value[name] for name in _LIST if isinstance(value.get(name), list)), None)
        value = [value] if listed is None and _first(value, _TEXT) else listed
    return value if isinstance(value, list) else None


def _document(record: Any) -> Document:
    if not isinstance(record, dict):
        return Document(str(record))
    return Document(_first(record, _TEXT), _first(record, _TITLE), _first(record, _ID))


def _first(record: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(record[name]) for name in names if isinstance(record.get(name), str | int)), "")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise BadConfig(f"cannot read the command '{command}' ({error}); write it as in a shell.") from error


def _sdk() -> Any:
    try:
        import mcp
    except ImportError as error:
        raise BadConfig(not_installed("an MCP engine", "the package mcp", "mcp")) from error
    return mcp
