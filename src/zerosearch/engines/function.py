"""Search engines: a language model that plays one, local corpora, web APIs, MCP tools (`registry` names them all), and yours.

An engine of your own is one async function, `(query, k) -> documents`:

    async def my_engine(query: str, k: int) -> list[Document]:
        return [Document(hit["body"], title=hit["name"]) for hit in await my_index.find(query, limit=k)]

    engine = real_engine(my_engine)        # in a recipe: engine.kind=my_module:my_engine
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from zerosearch.core.errors import SearchFailed, ZeroSearchError
from zerosearch.core.types import Document, SearchRequest, SearchResult

Retrieve = Callable[[str, int], Awaitable[Sequence[Document]]]


class RealEngine:
    """A SearchEngine around a function that sees the query and k, and nothing else of the request."""

    def __init__(self, retrieve: Retrieve) -> None:
        self._retrieve = retrieve

    async def search(self, request: SearchRequest) -> SearchResult:
        """At most k documents; fewer, or none, is an answer too.

        Raises SearchFailed whatever the function raised, with the cause kept.
        """
        try:
            # question and gold answers stop here: this call is the only way from a request to a real engine
            documents = await self._retrieve(request.query, request.k)
        except ZeroSearchError:
            raise
        except Exception as error:
            raise SearchFailed(f"the search engine raised {type(error).__name__}: {error}") from error
        return SearchResult(tuple(documents[: request.k]))


def real_engine(retrieve: Retrieve) -> RealEngine:
    """Lift an async `(query, k) -> documents` function into a SearchEngine that no gold answer can reach."""
    return RealEngine(retrieve)
