"""Several engines as one, which ranks first what any of them ranks high."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from zerosearch.core.interfaces import SearchEngine, close
from zerosearch.core.types import Document, SearchRequest, SearchResult


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Document]], constant: int = 60) -> list[tuple[Document, float]]:
    """Documents with their fused scores, best first; ties keep their order of appearance.

    score(d) = Σ_rankings 1 / (constant + rank(d)), rank from 1; a ranking without d adds nothing.
    Cormack, Clarke and Büttcher, SIGIR 2009; their constant is 60. Documents are the same if title, text and id are.
    """
    scores: dict[Document, float] = {}
    for ranking in rankings:
        for rank, document in enumerate(dict.fromkeys(ranking), start=1):
            scores[document] = scores.get(document, 0.0) + 1 / (constant + rank)
    return sorted(scores.items(), key=lambda item: -item[1])


class HybridEngine:
    """A SearchEngine that asks all of `engines` at once for their `depth` best and fuses the rankings."""

    def __init__(self, engines: Sequence[SearchEngine], *, depth: int = 100, constant: int = 60) -> None:
        self._engines, self._depth, self._constant = tuple(engines), depth, constant

    async def search(self, request: SearchRequest) -> SearchResult:
        """Raises SearchFailed if any of the engines does: the rest alone would be another engine."""
        deep = replace(request, k=max(self._depth, request.k))
        results = await asyncio.gather(*(engine.search(deep) for engine in self._engines))
        fused = reciprocal_rank_fusion([result.documents for result in results], self._constant)
        return SearchResult(tuple(document for document, _ in fused[: request.k]))

    async def aclose(self) -> None:
        for engine in self._engines:
            await close(engine)
