"""A search engine of the user's: one function `(query, k) -> documents`, plain or async.

    async def my_engine(query: str, k: int) -> list:
        return [{"title": hit["name"], "text": hit["body"]} for hit in await my_index.find(query, limit=k)]

In Python it is passed as it is (`zerosearch.train(engine=my_engine, …)`), in a recipe by name: engine.kind = "my_module:my_engine".
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Any, cast

from zerosearch.core.errors import BadConfig, SearchFailed, ZeroSearchError
from zerosearch.core.interfaces import SearchEngine
from zerosearch.core.types import Document, SearchRequest, SearchResult

Found = Iterable[Document | str | Mapping[str, Any]]
Retrieve = Callable[[str, int], Found | Awaitable[Found]]


class FunctionEngine:
    """A SearchEngine around a function that sees the query and k, and nothing else of the request.

    A document is a text, a mapping with `text` (and `title`, `id`), or a Document. A plain function is called in the event loop: one that
    waits for a network should be async.
    """

    def __init__(self, retrieve: Retrieve) -> None:
        self._retrieve = cast(Callable[[str, int], Any], retrieve)

    async def search(self, request: SearchRequest) -> SearchResult:
        """At most k documents; there may be fewer, or none.

        Raises SearchFailed for whatever the function raised, with the cause kept, and for a reply of any other form.
        """
        try:
            # the question and gold answers stop here: a real engine gets only what this call passes on
            found = self._retrieve(request.query, request.k)
            found = await found if isawaitable(found) else found
        except ZeroSearchError:
            raise
        except Exception as error:
            raise SearchFailed(f"the search engine raised {type(error).__name__}: {error}") from error
        if isinstance(found, str | Mapping) or not isinstance(found, Iterable):
            raise SearchFailed(f"the search engine returned {found!r:.80}; it must return a list of documents, which may be empty.")
        return SearchResult(tuple(_document(one) for one in cast(Iterable[object], found))[: request.k])


def as_engine(given: object) -> SearchEngine:
    """An engine as it is, or one made from a function. Raises BadConfig for anything else."""
    if isinstance(given, SearchEngine) and not isinstance(given, type):
        return given
    if callable(given) and not isinstance(given, type):
        return FunctionEngine(cast(Retrieve, given))
    raise BadConfig(
        f"{given!r:.80} is not a search engine; give a function (query, k) -> documents, or an object with `async search(request)`."
    )


def _document(found: object) -> Document:
    if isinstance(found, Document):
        return found
    if isinstance(found, str):
        return Document(found)
    if isinstance(found, Mapping):
        table = cast(Mapping[str, Any], found)
        if isinstance(text := table.get("text"), str):
            return Document(text, str(table.get("title") or ""), str(table.get("id") or ""))
    raise SearchFailed(f"the search engine returned the document {found!r:.80}; it must be a text, or have a text under 'text'.")
