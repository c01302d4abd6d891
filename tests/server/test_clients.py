"""The official Python clients, with nothing changed but the address."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripted import ScriptedEngine
from serving import DOCUMENTS, served
from zerosearch.core.types import Question, SearchRequest, SearchResult
from zerosearch.engines.mcp import MCPEngine
from zerosearch.server.limits import Keys, RateLimit
from zerosearch.server.service import Service

KEY = "k-1"
TEXTS = [document.text for document in DOCUMENTS]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with served(ScriptedEngine(lambda request: SearchResult(DOCUMENTS)), keys=Keys([KEY])) as service:
        yield service


@pytest.fixture(scope="module", params=["", "/name"])
def url(request: pytest.FixtureRequest, service: Service) -> str:
    """The bare address, or with the dialect's name after it."""
    return service.library.base_url + request.param


def test_tavily(url: str) -> None:
    tavily = pytest.importorskip("tavily")
    url = url.replace("/name", "/tavily")
    with tavily.TavilyClient(KEY, api_base_url=url) as client:
        found = client.search("capital of France", max_results=3, include_answer=True, include_raw_content=True)
        assert [hit["content"] for hit in found["results"]] == TEXTS and found["answer"] == TEXTS[0]
        with pytest.raises(tavily.BadRequestError, match="1 to 20"):
            client.search("a", max_results=21)
    with tavily.TavilyClient("wrong", api_base_url=url) as client, pytest.raises(tavily.InvalidAPIKeyError, match="key"):
        client.search("a")

    async def search() -> Any:
        async with tavily.AsyncTavilyClient(KEY, api_base_url=url) as client:
            return await client.search("capital of France")

    assert [hit["content"] for hit in asyncio.run(search())["results"]] == TEXTS


def test_tavily_is_told_to_wait() -> None:
    tavily = pytest.importorskip("tavily")
    with (
        served(ScriptedEngine.of("a"), rate=RateLimit(0.1)) as service,
        tavily.TavilyClient(KEY, api_base_url=service.library.base_url) as client,
    ):
        client.search("a")
        with pytest.raises(tavily.UsageLimitExceededError, match="slow down"):
            client.search("a")


def test_serpapi(url: str) -> None:
    serpapi = pytest.importorskip("serpapi")
    address = url.replace("/name", "/serpapi")

    class Client(serpapi.Client):  # the address is an attribute of the class
        BASE_DOMAIN = address

    client = Client(api_key=KEY)
    with client.session:
        found = client.search(engine="google", q="capital of France", num=3, hl="en")
        assert [hit["snippet"] for hit in found["organic_results"]] == TEXTS
        assert found["search_parameters"]["q"] == "capital of France" and "api_key" not in found["search_parameters"]
        client.api_key = "wrong"
        with pytest.raises(serpapi.HTTPError, match="401"):
            client.search(engine="google", q="a")


def test_langchain(url: str) -> None:
    searx, brave = _langchain()
    host = url.replace("/name", "/searxng")
    wrapper = searx(searx_host=host, headers={"Authorization": f"Bearer {KEY}"})
    assert [hit["snippet"] for hit in wrapper.results("capital of France", 3)] == TEXTS
    assert wrapper.run("capital of France").startswith(TEXTS[0])
    found = brave(api_key=KEY, base_url=url.replace("/name", "/brave") + "/res/v1/web/search").download_documents("capital of France")
    assert [document.page_content.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">") for document in found] == TEXTS


def _langchain() -> tuple[Any, Any]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at its import, about itself
        pytest.importorskip("langchain_community")
        from langchain_community.utilities.brave_search import BraveSearchWrapper
        from langchain_community.utilities.searx_search import SearxSearchWrapper
    return SearxSearchWrapper, BraveSearchWrapper


# ---- MCP


def test_mcp_over_http(service: Service) -> None:
    """The SDK's own client; a key as a header, and a session too."""
    import httpx2
    import mcp
    from mcp.client.streamable_http import streamable_http_client

    async def search(key: str) -> tuple[list[str], Any]:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as http,
            mcp.Client(streamable_http_client(f"{service.library.base_url}/mcp", http_client=http)) as client,
        ):
            tools = [tool.name for tool in (await client.list_tools()).tools]
            return tools, await client.call_tool("search", {"query": "capital of France", "k": 2})

    tools, result = asyncio.run(search(KEY))
    assert tools == ["search"] and not result.is_error
    assert [hit["text"] for hit in result.structured_content["result"]] == TEXTS[:2]
    with pytest.raises(BaseException, match="401|Unauthorized|session|Session|rror"):
        asyncio.run(search("wrong"))


def test_mcp_of_an_open_server_by_our_own_engine() -> None:
    with served(ScriptedEngine(lambda request: SearchResult(DOCUMENTS))) as service:
        assert _search(MCPEngine(url=f"{service.library.base_url}/mcp", k_argument="k")) == TEXTS


def test_mcp_over_stdio(tmp_path: Path) -> None:
    """`zerosearch serve --mcp`, started by a client as Claude or Cursor start it."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "1", "title": "Paris", "text": "Paris is the capital of France."}\n')
    command = f"{sys.executable} -m zerosearch serve --mcp --engine bm25 --corpus {corpus}"
    assert _search(MCPEngine(command=command, k_argument="k")) == ["Paris is the capital of France."]


def _search(engine: MCPEngine) -> list[str]:
    async def search() -> list[str]:
        try:
            found = await engine.search(SearchRequest("capital of France", Question("q", "", ()), k=3))
            return [document.text for document in found.documents]
        finally:
            await engine.aclose()

    return asyncio.run(search())
