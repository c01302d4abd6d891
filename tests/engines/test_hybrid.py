"""Fusion of rankings: the formula by pencil, and engines asked together."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted import ScriptedEngine
from zerosearch.core.errors import SearchFailed
from zerosearch.core.types import Document, Question, SearchRequest, SearchResult
from zerosearch.engines.hybrid import HybridEngine, reciprocal_rank_fusion

A, B, C, D = (Document(text, id=text) for text in "abcd")
REQUEST = SearchRequest("q", Question("q", "?", ("x",)), k=3)


def test_by_pencil() -> None:
    # b: 1/62 + 1/61, a: 1/61 + 1/63, c: 1/63, d: 1/62
    fused = reciprocal_rank_fusion([[A, B, C], [B, D, A]])
    assert [document.text for document, _ in fused] == ["b", "a", "d", "c"]
    assert [score for _, score in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62, 1 / 63])
    assert reciprocal_rank_fusion([[A], [B]], constant=1) == [(A, 0.5), (B, 0.5)]  # a tie keeps the order
    assert reciprocal_rank_fusion([[A, A, B]]) == reciprocal_rank_fusion([[A, B]])
    assert reciprocal_rank_fusion([]) == [] == reciprocal_rank_fusion([[], []])


@given(st.lists(st.lists(st.sampled_from([A, B, C, D]), unique=True), max_size=4))
def test_what_every_ranking_prefers_comes_first(rankings: list[list[Document]]) -> None:
    scores = dict(reciprocal_rank_fusion(rankings))
    assert scores.keys() == {document for ranking in rankings for document in ranking}
    for x in scores:
        for y in scores:
            ahead = [r.index(x) < r.index(y) if y in r else True for r in rankings if x in r or y in r if x in r]
            if x != y and all(ahead) and len(ahead) == sum(x in r or y in r for r in rankings):
                assert scores[x] > scores[y]


def engine(*documents: Document) -> ScriptedEngine:
    return ScriptedEngine(lambda request: SearchResult(documents[: request.k]))


def test_engines_are_asked_deeply_and_answer_shallowly() -> None:
    halves = engine(A, B, C), engine(B, D, A)
    assert asyncio.run(HybridEngine(halves).search(REQUEST)).documents == (B, A, D)
    assert [r.k for half in halves for r in half.requests] == [100, 100]


def test_half_an_answer_is_none() -> None:
    def fails(request: SearchRequest) -> SearchResult:
        raise SearchFailed("quota used up")

    with pytest.raises(SearchFailed, match="quota used up"):
        asyncio.run(HybridEngine([engine(A), ScriptedEngine(fails)]).search(REQUEST))
