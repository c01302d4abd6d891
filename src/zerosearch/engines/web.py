"""Search engines over HTTP. An API is an entry in a table: its address, how it is called, and where its reply holds the documents.

A document is what a results page shows: title, snippet, and the address as its id. Answer boxes and knowledge graphs are left out, as the
paper does. The key comes from the environment, is sent as the API requires, and is never shown.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from zerosearch.core.errors import BadConfig, SearchFailed
from zerosearch.core.function_engine import FunctionEngine
from zerosearch.core.types import Document, SearchRequest, SearchResult
from zerosearch.data.passages import document_of
from zerosearch.net.http import Advice, Call, JsonClient, RetryableError, key_from

Read = Callable[[Any], "list[Document] | None"]


@dataclass(frozen=True, slots=True)
class WebApi:
    """`ask(query, k, key)` is the call, `read(reply)` its documents, None if the reply has another form.

    `url` is the API's address ("": it must be given), `max_k` the most results it gives; a query is cut to
    `max_words` and `max_characters`, because a policy may write more than the API accepts.
    """

    name: str
    ask: Callable[[str, int, str], Call]
    read: Read
    url: str = ""
    key_env: str = ""
    max_k: int = 100
    max_words: int = 1000
    max_characters: int = 2048
    by_status: Mapping[int, str] = field(default_factory=dict[int, str])


class WebEngine:
    """A SearchEngine over an API. At most k documents; there may be fewer, or none.

    Raises BadConfig if the URL or the key is missing; a search raises SearchFailed in one line, after bounded attempts.
    """

    def __init__(self, api: WebApi, url: str = "", environment: Mapping[str, str] = os.environ, **bounds: Any) -> None:
        """`bounds` are those of `http.JsonClient`: timeout_s, max_attempts, max_concurrency, first_wait_s, max_wait_s."""
        if not (url or api.url):
            raise BadConfig(f"engine '{api.name}' needs a url, for instance url=http://localhost:8000.")
        self.api = api
        self._key = key_from(api.key_env, f"engine '{api.name}'" if api.key_env else "", environment)
        advice = Advice(f"check url: is {api.name} running there?", "check the query and the account.", api.by_status)
        self._client = JsonClient(url or api.url, SearchFailed, advice, key=self._key, key_env=api.key_env, **bounds)
        self._engine = FunctionEngine(self._retrieve)

    async def search(self, request: SearchRequest) -> SearchResult:
        return await self._engine.search(request)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _retrieve(self, query: str, k: int) -> Sequence[Document]:
        query = " ".join(query.split()[: self.api.max_words])[: self.api.max_characters]
        return await self._client.ask(self.api.ask(query, min(k, self.api.max_k), self._key), self._documents)

    def _documents(self, reply: Any) -> list[Document]:
        documents = self.api.read(reply)
        if documents is None:
            raise self._client.unexpected(reply)
        return [document for document in documents if document.text]


def _hits(hits: Sequence[Any], text: str = "snippet", link: str = "link") -> list[Document]:
    return [_hit(hit, text, link) for hit in hits if isinstance(hit, dict)]


def _hit(hit: Mapping[str, Any], text: str, link: str) -> Document:
    shown, title, address = (value if isinstance(value := hit.get(name), str) else "" for name in (text, "title", link))
    return Document(shown or title, title if shown else "", address)  # a result without a snippet still has its title


# ---- Serper: POST /search, key in a header


def _ask_serper(query: str, k: int, key: str) -> Call:
    return Call("POST", "search", body={"q": query, "num": k}, headers={"X-API-KEY": key})


def _read_serper(reply: Any) -> list[Document] | None:
    match reply:
        case {"organic": [*hits]}:
            return _hits(hits)
        case {"searchParameters": _}:
            return []
    return None


# ---- SerpAPI (and SearchApi, which works the same with url=…/api/v1): GET /search, key in the query


def _ask_serpapi(query: str, k: int, key: str) -> Call:
    return Call("GET", "search", params={"engine": "google", "q": query, "num": k, "api_key": key, "output": "json"})


def _read_serpapi(reply: Any) -> list[Document] | None:
    match reply:
        case {"organic_results": [*hits]}:
            return _hits(hits)
        case {"search_information": {"organic_results_state": "Fully empty"}}:
            return []
        case {"error": str(error)} if "hasn't returned any results" in error:
            return []
        case {"error": str(error)}:
            raise RetryableError(f"the reply is an error: {error[:120]}", "check the account of the key.", retry=False)
        case {"search_metadata": {"status": "Success"}}:
            return []
    return None


# ---- SearXNG: GET /search?format=json, no key


def _ask_searxng(query: str, k: int, key: str) -> Call:
    return Call("GET", "search", params={"q": query, "format": "json"})


def _read_searxng(reply: Any) -> list[Document] | None:
    match reply:
        case {"results": [], "unresponsive_engines": [_, *_] as silent}:
            # nothing was searched, so this is not an empty result
            reasons = ", ".join(" ".join(map(str, s)) if isinstance(s, list) else str(s) for s in silent)
            raise RetryableError(f"no result, and these engines did not answer: {reasons[:120]}", "check the instance's engines.")
        case {"results": [*hits]}:
            return _hits(hits, "content", "url")
    return None


# ---- Tavily: POST /search, bearer


def _ask_tavily(query: str, k: int, key: str) -> Call:
    return Call("POST", "search", body={"query": query, "max_results": k}, headers={"Authorization": f"Bearer {key}"})


def _read_tavily(reply: Any) -> list[Document] | None:
    match reply:
        case {"results": [*hits]}:
            return _hits(hits, "content", "url")
    return None


# ---- Brave: GET /res/v1/web/search, key in a header; its texts are HTML


def _ask_brave(query: str, k: int, key: str) -> Call:
    params = {"q": query, "count": k, "text_decorations": "false"}
    return Call("GET", "res/v1/web/search", params=params, headers={"X-Subscription-Token": key, "Accept": "application/json"})


def _read_brave(reply: Any) -> list[Document] | None:
    match reply:
        case {"web": {"results": [*hits]}}:
            documents = _hits(hits, "description", "url")
            return [Document(unescape(d.text), unescape(d.title), d.id) for d in documents]
        case {"type": "search"}:
            return []
    return None


# ---- the retriever of Search-R1: POST /retrieve, a batch of queries


def _ask_search_r1(query: str, k: int, key: str) -> Call:
    return Call("POST", "retrieve", body={"queries": [query], "topk": k, "return_scores": True})


def _read_search_r1(reply: Any) -> list[Document] | None:
    match reply:
        case {"result": [[*hits]]}:  # an item is a document, or holds one beside its score
            found = [hit.get("document", hit) for hit in hits if isinstance(hit, dict)]
            return [document_of(document) for document in found if isinstance(document, dict)]
    return None


_PLAN: dict[int, str] = dict.fromkeys((432, 433), "the plan's limit is reached: check the account.")
_NO_JSON = {403: "enable JSON on the instance: add json to search.formats in its settings.yml."}
WEB_APIS = {
    api.name: api
    for api in (
        WebApi("serper", _ask_serper, _read_serper, "https://google.serper.dev", "SERPER_API_KEY"),
        WebApi("serpapi", _ask_serpapi, _read_serpapi, "https://serpapi.com", "SERPAPI_API_KEY"),
        WebApi("searxng", _ask_searxng, _read_searxng, by_status=_NO_JSON),
        WebApi("tavily", _ask_tavily, _read_tavily, "https://api.tavily.com", "TAVILY_API_KEY", 20, max_characters=400, by_status=_PLAN),
        WebApi("brave", _ask_brave, _read_brave, "https://api.search.brave.com", "BRAVE_API_KEY", 20, 50, 400),
        WebApi("search-r1", _ask_search_r1, _read_search_r1),
    )
}
