"""The dialects of RL trainers: Search-R1's retriever (SkyRL's and verl's clients, too), ASearcher's with /access, ZeroSearch's wiki."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from zerosearch.engines.web import WEB_APIS
from zerosearch.net.http import Call
from zerosearch.server.dialects import ClientSearch, Dialect, Served
from zerosearch.server.document_cache import Hit
from zerosearch.server.http_request import Reason, Refused

_MAX_BATCH = 8192
_UNPROCESSABLE = {Reason.BAD_REQUEST: 422}  # as FastAPI has it


class Retrieve(BaseModel):
    """`queries` are a batch; a single `query` is SkyRL's. topk left out is 3, as in Search-R1's server."""

    queries: list[str] | None = Field(None, max_length=_MAX_BATCH)
    query: str | list[str] | None = None
    topk: int | None = None
    return_scores: bool = False


class WikiRetrieve(BaseModel):
    query: str
    top_k: int = 5


class Access(BaseModel):
    urls: list[str] = Field(max_length=_MAX_BATCH)


def _read_retrieve(said: Retrieve) -> list[ClientSearch]:
    queries = said.queries if said.queries is not None else [said.query] if isinstance(said.query, str) else said.query
    if not queries:
        raise Refused(Reason.BAD_REQUEST, "queries: a list of at least one query is needed.")
    return [ClientSearch(query, 3 if said.topk is None else said.topk) for query in queries]


def _document(hit: Hit) -> dict[str, Any]:
    return {"id": hit.id, "title": hit.title, "text": hit.text, "contents": hit.contents, "url": hit.url}


def _write_retrieve(said: Retrieve, served: Served) -> Any:
    """Our engines tell no scores: 1 / rank, which is in the right order."""
    rows = [[_document(hit) for hit in hits] for hits in served.hits if isinstance(hits, list)]
    if said.return_scores:
        return {"result": [[{"document": d, "score": 1 / rank} for rank, d in enumerate(row, start=1)] for row in rows]}
    return {"result": rows}


def _write_wiki(said: WikiRetrieve, served: Served) -> Any:
    return [{"text": hit.whole} for hit in served.first]


def _write_access(said: Access, served: Served) -> Any:
    found = [served.library.open(url) for url in said.urls]
    return {"result": [hit and {"contents": hit.whole} for hit in found]}


def _ask_skyrl(query: str, k: int, key: str) -> Call:
    return Call("POST", "retrieve", body={"query": query, "topk": k, "return_scores": True})


def _ask_wiki(query: str, k: int, key: str) -> Call:
    return Call("POST", "retrieve", body={"query": query, "top_k": k})


def _ask_asearcher(query: str, k: int, key: str) -> Call:
    return Call("POST", "retrieve", body={"queries": [query], "topk": k, "return_scores": False})


def _ask_access(query: str, k: int, key: str) -> Call:
    return Call("POST", "access", body={"urls": ["http://documents.example/1"]})


_POST = (("POST", "/retrieve"),)
RETRIEVERS = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "search-r1",
            "retriever.url=URL/retrieve",
            _POST,
            Retrieve,
            _read_retrieve,
            _write_retrieve,
            WEB_APIS["search-r1"].ask,
            statuses=_UNPROCESSABLE,
        ),
        Dialect(
            "skyrl",
            "environment.skyrl_gym.search.search_url=URL/retrieve",
            _POST,
            Retrieve,
            _read_retrieve,
            _write_retrieve,
            _ask_skyrl,
            statuses=_UNPROCESSABLE,
        ),
        Dialect(
            "zerosearch",
            "the wiki server's address: URL/retrieve",
            _POST,
            WikiRetrieve,
            lambda said: [ClientSearch(said.query, said.top_k)],
            _write_wiki,
            _ask_wiki,
            statuses=_UNPROCESSABLE,
        ),
        Dialect(
            "asearcher",
            "the host and port of URL",
            _POST,
            Retrieve,
            _read_retrieve,
            _write_retrieve,
            _ask_asearcher,
            statuses=_UNPROCESSABLE,
        ),
        Dialect(
            "access",
            "the host and port of URL",
            (("POST", "/access"),),
            Access,
            lambda said: [],
            _write_access,
            _ask_access,
            statuses=_UNPROCESSABLE,
            is_search=False,
        ),
    )
}
