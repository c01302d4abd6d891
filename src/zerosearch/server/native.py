"""Our own dialect, which has every setting; and how a request's dialect is found."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from zerosearch.net.http import Call
from zerosearch.server.dialects import ClientSearch, Dialect
from zerosearch.server.http_request import HttpRequest, Refused
from zerosearch.server.retrievers import RETRIEVERS
from zerosearch.server.web_dialects import WEB_DIALECTS

_MAX_BATCH = 1024


class NativeSearch(BaseModel):
    """A search. The question and its golden answers are for a simulated engine: given here, by a `session`, or not at all.

    `noise` is the probability of noisy documents; the draw is a pure function of `seed`, `query`, the question and `key`.
    """

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="What to search for.")
    k: int = Field(5, ge=1, description="Maximum number of documents.")
    question: str = Field("", max_length=100_000, description="The question being worked on.")
    golden_answers: list[str] = Field([], max_length=1000, description="Every answer that counts as right. Never sent back.")
    session: str = Field("", max_length=200, description="A session, or the id of a question in the server's question file.")
    noise: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="Overrides the server's noise rate.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(None, description="Overrides the server's seed.")
    key: str | None = Field(None, max_length=200, description="Names the noise draw; by default, the API key does.")


class NativeBatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    searches: list[NativeSearch] = Field(min_length=1, max_length=_MAX_BATCH)


class NativeDocument(BaseModel):
    id: str
    title: str
    text: str
    url: str


class NativeFound(BaseModel):
    query: str
    documents: list[NativeDocument]


class NativeErrorBody(BaseModel):
    code: str
    message: str


class NativeError(BaseModel):
    error: NativeErrorBody


class NativeBatchFound(BaseModel):
    """One entry per search, in order: the documents found, or why it failed."""

    results: list[NativeFound | NativeError]


def native_error(refused: Refused, status: int = 0) -> Any:
    return {"error": {"code": refused.reason.name.lower(), "message": refused.message}}


def _search(said: NativeSearch) -> ClientSearch:
    golds = tuple(said.golden_answers)
    return ClientSearch(said.query, said.k, 0, said.session, said.question, golds, said.noise, said.seed, said.key)


def _found(said: NativeSearch, hits: Any) -> Any:
    if isinstance(hits, Refused):
        return native_error(hits)
    return {"query": said.query, "documents": [{"id": h.id, "title": h.title, "text": h.text, "url": h.url} for h in hits]}


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


_OURS: dict[str, Any] = {"client": "anything that posts JSON", "error": native_error, "strict": True}
_ONE = Dialect(
    name="native",
    routes=(("POST", "/v1/search"),),
    model=NativeSearch,
    read=lambda said: [_search(said)],
    write=lambda said, served: _found(said, served.first),
    example=lambda query, k, key: Call("POST", "v1/search", body={"query": query, "k": k, "noise": 0.3}, headers=_bearer(key)),
    **_OURS,
)
_BATCH = Dialect(
    name="native-batch",
    routes=(("POST", "/v1/search/batch"),),
    model=NativeBatch,
    read=lambda said: list(map(_search, said.searches)),
    write=lambda said, served: {"results": [_found(s, hits) for s, hits in zip(said.searches, served.hits, strict=True)]},
    example=lambda q, k, key: Call("POST", "v1/search/batch", body={"searches": [{"query": q, "k": k}]}, headers=_bearer(key)),
    partial=True,
    **_OURS,
)

DIALECTS: dict[str, Dialect] = {_ONE.name: _ONE, _BATCH.name: _BATCH, **RETRIEVERS, **WEB_DIALECTS}


# ---- which one


def find_dialect(wire: HttpRequest) -> Dialect | None:
    """The dialect of a request, None for other requests: named by the first part of the path, which is removed, or found by its fields."""
    head, _, rest = wire.path[1:].partition("/")
    if head in DIALECTS and head not in ("access", "native", "native-batch"):
        wire.path = f"/{rest}"
        if head == "asearcher" and wire.path == "/access":
            return DIALECTS["access"]
        return DIALECTS[head]
    recognise = _AT_ROOT.get(wire.path)
    return recognise(wire) if recognise else None


def _search_path(wire: HttpRequest) -> Dialect:
    """GET is SerpAPI's or SearXNG's, POST Serper's, Tavily's or SearXNG's."""
    if wire.method == "GET":
        fields = wire.readable_fields
        return DIALECTS["serpapi" if "format" not in fields and ("engine" in fields or "api_key" in fields) else "searxng"]
    if wire.is_form:
        return DIALECTS["searxng"]
    if "x-api-key" in wire.headers:
        return DIALECTS["serper"]
    fields = wire.readable_fields
    if "query" in fields or "q" not in fields:
        return DIALECTS["tavily"]
    return DIALECTS["searxng" if "format" in fields else "serper"]


_AT_ROOT = {
    "/retrieve": lambda wire: DIALECTS["zerosearch" if "top_k" in wire.readable_fields else "search-r1"],
    "/access": lambda wire: DIALECTS["access"],
    "/search": _search_path,
    "/search.json": lambda wire: DIALECTS["serpapi"],
    "/": lambda wire: DIALECTS["searxng"] if wire.is_form or "q" in wire.params else None,  # without a query it is our page
    "/res/v1/web/search": lambda wire: DIALECTS["brave"],
    "/v1/search": lambda wire: DIALECTS["native"],
    "/v1/search/batch": lambda wire: DIALECTS["native-batch"],
}
