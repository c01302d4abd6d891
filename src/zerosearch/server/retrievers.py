"""The dialects of RL trainers: Search-R1's retriever (also for SkyRL's and verl's clients), ASearcher's with /access, ZeroSearch's wiki."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field

from zerosearch.engines.web import WEB_APIS
from zerosearch.net.http import Call
from zerosearch.server.dialects import ClientSearch, Dialect, Served
from zerosearch.server.document_cache import Hit
from zerosearch.server.http_request import Reason, Refused

_MAX_BATCH = 8192


class Retrieve(BaseModel):
    """`queries` is a batch; a single `query` comes from SkyRL. topk defaults to 3, as in Search-R1's server."""

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
        raise Refused(Reason.BAD_REQUEST, "queries: send a list of at least one query.")
    return [ClientSearch(query, 3 if said.topk is None else said.topk) for query in queries]


def _read_wiki(said: WikiRetrieve) -> list[ClientSearch]:
    return [ClientSearch(said.query, said.top_k)]


def _document(hit: Hit) -> dict[str, Any]:
    return {"id": hit.id, "title": hit.title, "text": hit.text, "contents": hit.contents, "url": hit.url}


def _write_retrieve(said: Retrieve, served: Served) -> Any:
    """Our engines give no scores, so this is 1 / rank, which has the right order."""
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


def _dialect(name: str, client: str, example: Callable[[str, int, str], Call], model: type[BaseModel] = Retrieve, **other: Any) -> Dialect:
    """A dialect like Search-R1's retriever, apart from `other`. A bad request is 422, as in FastAPI."""
    usual = {"routes": (("POST", "/retrieve"),), "read": _read_retrieve, "write": _write_retrieve, "statuses": {Reason.BAD_REQUEST: 422}}
    return Dialect(name, client, model=model, example=example, **{**usual, **other})


_ACCESS: dict[str, Any] = {"routes": (("POST", "/access"),), "read": lambda said: [], "write": _write_access, "is_search": False}
RETRIEVERS = {
    dialect.name: dialect
    for dialect in (
        _dialect("search-r1", "retriever.url=URL/retrieve", WEB_APIS["search-r1"].ask),
        _dialect("skyrl", "environment.skyrl_gym.search.search_url=URL/retrieve", _ask_skyrl),
        _dialect("zerosearch", "the wiki server's address: URL/retrieve", _ask_wiki, WikiRetrieve, read=_read_wiki, write=_write_wiki),
        _dialect("asearcher", "the host and port of URL", _ask_asearcher),
        _dialect("access", "the host and port of URL", _ask_access, Access, **_ACCESS),
    )
}
