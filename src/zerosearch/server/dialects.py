"""The dialects: name → how a request is read, how documents and errors are written. A dialect is an entry in the table at the end of
retrievers.py, web_dialects.py or native.py; what our own clients know of an API (engines/web.py) is not repeated here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from zerosearch.net.http import Call
from zerosearch.server.document_cache import DocumentCache, Hit
from zerosearch.server.http_request import HttpRequest, Reason, Refused


@dataclass(frozen=True, slots=True)
class ClientSearch:
    """One search, as a dialect read it. What it leaves open is None or empty: headers decide it, or else the server.

    `start` results are skipped, for APIs with pages. `key` names the noise draw: the same seed, query and key draw the same.
    """

    query: str
    k: int
    start: int = 0
    session: str = ""
    question: str = ""
    golds: tuple[str, ...] = ()
    noise: float | None = None
    seed: int | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """The content of a reply: the hits of each search (or why there are none), and details that replies include."""

    hits: Sequence[list[Hit] | Refused]
    request_id: str
    seconds: float
    base_url: str
    library: DocumentCache

    @property
    def first(self) -> list[Hit]:
        hits = self.hits[0]
        assert isinstance(hits, list)
        return hits


def bearer(wire: HttpRequest) -> str:
    """The key in dialects that do not define one: a bearer token, or X-API-Key."""
    kind, _, token = wire.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else wire.headers.get("x-api-key", "")


def detail(refused: Refused, status: int) -> Any:
    """The error format of FastAPI, and so of every retriever written with it."""
    return {"detail": refused.message}


@dataclass(frozen=True, slots=True)
class Dialect:
    """`routes` are (method, path) below the dialect's own prefix; `client` is what a client sets, with URL for the server's address.

    `model` holds the fields of a request; `read` makes searches from them, `write` the JSON reply. `example` is a request with one query.
    `statuses` are those that differ from the reason's own. With `partial`, a search that fails does not affect the others.
    """

    name: str
    client: str
    routes: tuple[tuple[str, str], ...]
    model: type[BaseModel]
    read: Callable[[Any], Sequence[ClientSearch]]
    write: Callable[[Any, Served], Any]
    example: Callable[[str, int, str], Call]
    error: Callable[[Refused, int], Any] = detail
    key: Callable[[HttpRequest], str] = bearer
    statuses: Mapping[Reason, int] = field(default_factory=dict[Reason, int])
    max_k: int = 100
    max_words: int = 10_000
    max_characters: int = 1_000_000
    strict: bool = False
    partial: bool = False
    is_search: bool = True

    def status(self, reason: Reason) -> int:
        return self.statuses.get(reason, reason.value)
