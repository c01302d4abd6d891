"""The wrapper that lifts a function into an engine: the query and k go in, nothing else."""

import asyncio

import pytest

from zerosearch.core.errors import SearchFailed
from zerosearch.core.function_engine import FunctionEngine
from zerosearch.core.types import Document, Question, SearchRequest, SearchResult

REQUEST = SearchRequest("capital of France", Question("q", "?", ("Paris",)), k=2, noise_rate=1.0)


def test_only_the_query_and_k_reach_the_function() -> None:
    seen: list[tuple[object, ...]] = []

    async def three(*args: object) -> list[Document]:
        seen.append(args)
        return [Document("a"), Document("b"), Document("c")]

    result = asyncio.run(FunctionEngine(three).search(REQUEST))
    assert seen == [("capital of France", 2)]
    assert result == SearchResult((Document("a"), Document("b")), quality=None, remark="")


def test_nothing_found_is_an_answer() -> None:
    async def nothing(query: str, k: int) -> list[Document]:
        return []

    assert asyncio.run(FunctionEngine(nothing).search(REQUEST)) == SearchResult(())


@pytest.mark.parametrize(("error", "line"), [(SearchFailed("quota used up"), "quota used up"), (OSError("boom"), "raised OSError: boom")])
def test_a_failure_is_a_failure(error: Exception, line: str) -> None:
    async def broken(query: str, k: int) -> list[Document]:
        raise error

    with pytest.raises(SearchFailed, match=line):
        asyncio.run(FunctionEngine(broken).search(REQUEST))
