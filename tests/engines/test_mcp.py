"""Search tools of a real MCP server in a process of its own."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zerosearch.core.errors import BadConfig, SearchFailed, ZeroSearchError
from zerosearch.core.types import Document, Question, SearchRequest
from zerosearch.engines.mcp import MCPEngine, documents_of

pytest.importorskip("mcp", reason="needs the extra [mcp]")

SERVER = Path(__file__).with_name("mcp_server.py")
COMMAND = f"'{sys.executable}' '{SERVER}'"


def ask(*queries: str, k: int = 2, at_once: bool = False, **settings: Any) -> list[tuple[Document, ...] | str]:
    """The documents of each query, or the line that says why there are none."""

    async def main() -> list[tuple[Document, ...] | str]:
        engine = MCPEngine(**{"command": "" if "url" in settings else COMMAND, "timeout_s": 300, **settings})

        async def one(query: str) -> tuple[Document, ...] | str:
            try:
                return (await engine.search(SearchRequest(query, Question("q", "?", ("the gold",)), k=k))).documents
            except ZeroSearchError as error:
                return f"{type(error).__name__}: {error}"

        try:
            return await asyncio.gather(*map(one, queries)) if at_once else [await one(query) for query in queries]
        finally:
            await engine.aclose()

    return asyncio.run(main())


def records(query: str, n: int) -> tuple[Document, ...]:
    return tuple(Document(f"{query} {i}", f"Title {i}", f"http://a.test/{i}") for i in range(n))


def test_records_are_documents_and_many_may_ask_at_once() -> None:
    queries = [f"q{i}" for i in range(8)]
    assert ask(*queries, tool="search", k_argument="limit", at_once=True) == [records(query, 2) for query in queries]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The same server over HTTP, for what does not depend on how it is reached: each start over stdio costs most of a second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(SERVER), str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


def test_over_http(url: str) -> None:
    assert ask("a", "b", url=url, tool="search", k_argument="limit") == [records("a", 2), records("b", 2)]


def test_prose_is_read_as_a_list_and_the_argument_has_a_name(url: str) -> None:
    found, nothing = ask("x", "nothing", url=url, tool="prose", query_argument="q", k=5)
    assert found == (Document("first of x."), Document("second <answer>of x</answer>."))
    assert nothing == ()


def test_a_server_inherits_the_environment() -> None:
    assert ask("PATH", tool="environment") == [(Document(os.environ["PATH"]),)]


def test_a_server_that_dies_is_started_again() -> None:
    before, died, after = ask("a", "die", "b", tool="search")
    assert before == records("a", 2) and after == records("b", 2)
    assert isinstance(died, str) and died.startswith("SearchFailed: MCP server '") and "Connection closed" in died


def test_what_a_server_may_do_wrong(url: str) -> None:
    failed, wrong = ask("fail", "x", url=url, tool="search", query_argument="query")
    (huge,) = ask("huge", url=url, tool="prose", query_argument="q")
    assert isinstance(failed, str) and "SearchFailed" in failed and "the tool answered with an error: Error executing tool search" in failed
    assert wrong == records("x", 2)
    assert isinstance(huge, str) and "the reply is larger than 8 MiB" in huge
    (misnamed,) = ask("x", url=url, tool="search", query_argument="question")
    assert isinstance(misnamed, str) and misnamed.startswith("SearchFailed") and "\n" not in misnamed


def test_a_server_that_does_not_answer() -> None:
    started = time.monotonic()
    assert ask("x", command=f"'{sys.executable}' -c 'import sys; sys.stdin.read()'", timeout_s=0.3) == [
        f"SearchFailed: MCP server '{sys.executable}': no answer within 0.3 s; raise timeout_s, or check its log."
    ]
    assert time.monotonic() - started < 8  # it is not waited for any longer


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"tool": "serch", "url": ""}, "BadConfig: unknown tool of the MCP server '.*' 'serch'; did you mean 'search'?"),
        ({"url": ""}, r"BadConfig: the MCP server '.*' has 3 tools \(search, prose, environment\); choose one with tool="),
        ({"command": "no-such-command x"}, "SearchFailed: MCP server 'no-such-command' cannot be used: FileNotFoundError.*; check command"),
        ({"command": f"'{sys.executable}' -c 'import sys; sys.exit(\"no key\")'"}, r"cannot be used: .*\(it said: no key\); check command"),
        ({"url": "http://127.0.0.1:9/mcp?key=hidden"}, "MCP server 'http://127.0.0.1:9/mcp' cannot be used: .*; check url"),
    ],
)
def test_a_server_that_cannot_be_used(settings: dict[str, Any], what: str, url: str) -> None:
    if settings.get("url") == "":  # the one that runs
        settings = {**settings, "url": url}
    (line,) = ask("x", **settings)
    assert isinstance(line, str) and re.search(what, line) and "\n" not in line and "hidden" not in line


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"command": ""}, "either a command or a url; received neither"),
        ({"command": "x", "url": "http://localhost/mcp"}, "either a command or a url; received both"),
        ({"url": "localhost"}, "url 'localhost' is not a URL"),
        ({"command": "say 'hi"}, "cannot read the command 'say 'hi' .No closing quotation."),
    ],
)
def test_what_cannot_be_right(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(BadConfig, match=what):
        MCPEngine(**settings)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (['[{"title": "A", "snippet": "a"}, {"name": "B", "content": "b", "link": "l"}]'], [Document("a", "A"), Document("b", "B", "l")]),
        (['{"results": [{"title": "A", "text": "a"}, "b", 3]}'], [Document("a", "A"), Document("b"), Document("3")]),
        (['{"text": "a", "id": 7}'], [Document("a", "", "7")]),
        (['{"title": "A", "text": "a"}', "plain words"], [Document("a", "A"), Document("plain words")]),
        (['{"results": []}'], []),
        (['{"results": [{"title": "without a text"}, {}]}'], []),
        (["Paris is the capital.\n\nLyon is a city."], [Document("Paris is the capital."), Document("Lyon is a city.")]),
        (['{"answer": 42}'], [Document('{"answer": 42}')]),
        ([], []),
        (["", " "], []),
    ],
)
def test_texts_as_documents(texts: list[str], expected: list[Document]) -> None:
    assert documents_of(texts, 5) == expected


def test_failure_is_search_failed() -> None:
    with pytest.raises(SearchFailed):
        asyncio.run(MCPEngine(command="no-such-command").search(SearchRequest("x", Question("q", "?", ("a",)))))
