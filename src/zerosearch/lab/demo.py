"""A demo that needs no model and no download: BM25, with noise. A noisy reply is about something else, as a simulator's would be."""

from pathlib import Path
from random import Random

from zerosearch.core.types import Quality, SearchRequest, SearchResult
from zerosearch.engines.bm25 import BM25Engine
from zerosearch.engines.simulated import draw_quality
from zerosearch.lab.world import make_worlds, write_corpus


class DemoEngine:
    """What BM25 finds if useful is drawn; passages drawn from the whole corpus if noisy is."""

    def __init__(self, engine: BM25Engine) -> None:
        self._engine = engine

    async def search(self, request: SearchRequest) -> SearchResult:
        quality = draw_quality(request)
        if quality is Quality.USEFUL:
            return SearchResult((await self._engine.search(request)).documents, quality)
        rng = Random(f"demo/{request.seed}/{request.question.id}")
        return SearchResult(tuple(self._engine.passage(rng.randrange(len(self._engine))) for _ in range(request.k)), quality)

    def describe_draw(self, request: SearchRequest) -> dict[str, str]:
        return {"quality": draw_quality(request).value, "seed": str(request.seed), "question": request.question.id}


def demo_corpus(folder: Path) -> tuple[Path, str]:
    """The test world of the lab as a corpus file in `folder`, and a question that it answers."""
    _, world = make_worlds(0)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "micro-world.jsonl"
    write_corpus(file, world.documents)
    return file, next(q.question.text for q in world.questions if len(q.hops) == 1)
