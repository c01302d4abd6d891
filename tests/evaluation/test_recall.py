"""How often an engine finds the answer: by pencil, with what is left out, and over the real passages."""

import asyncio
from pathlib import Path

import pytest

from scripted import ScriptedEngine
from zerosearch.core.errors import BadConfig, SearchFailed
from zerosearch.core.types import Document, Question, SearchRequest, SearchResult
from zerosearch.data.questions import load_questions
from zerosearch.engines.bm25 import BM25Engine
from zerosearch.evaluation.recall import Recall, recall

PAGES = {
    "first": ["Rome it is.", "noise", "noise"],
    "third": ["noise", "noise", "in ROME, they say"],
    "never": ["Romeo and Juliet", "noise"],
    "nothing": [],
}


def engine(request: SearchRequest) -> SearchResult:
    if request.query not in PAGES:
        raise SearchFailed("quota used up")
    return SearchResult(tuple(map(Document, PAGES[request.query][: request.k])))


def questions(*texts: str, golds: tuple[str, ...] = ("Rome",)) -> list[Question]:
    return [Question(text, text, golds) for text in texts]


def measure(asked: list[Question], ks: list[int]) -> tuple[Recall, int]:
    scripted, heard = ScriptedEngine(engine), [0]

    def on_done() -> None:
        heard[0] += 1

    found = asyncio.run(recall(scripted, asked, ks, on_done))
    assert heard[0] == len(scripted.requests)
    return found, len(scripted.requests)


def test_by_pencil() -> None:
    found, searches = measure(questions("first", "third", "never", "nothing"), [3, 1])
    assert searches == 4  # once each, for the largest k
    assert {k: estimate.mean for k, estimate in found.at.items()} == {1: 0.25, 3: 0.5}
    assert found.n == 4 and 0 <= found.at[1].low <= 0.25 <= found.at[1].high < 1


def test_yes_and_no_are_left_out_and_failures_are_told(tmp_path: Path) -> None:
    asked = [*questions("first", "broken"), *questions("yes?", golds=("Yes",)), *questions("no?", golds=("no", "nope"))]
    found, searches = measure(asked, [1])
    assert searches == 2 and found.yes_no == 2 and found.n == 1
    assert found.as_dict()["failures"] == [{"id": "broken", "cause": "quota used up"}]
    nothing, _ = measure(questions("broken"), [1])
    assert nothing.at == {} and nothing.n == 0 and nothing.as_dict()["recall"] == {}


@pytest.mark.parametrize("ks", [[], [0, 5], [-1]])
def test_depths_that_cannot_be(ks: list[int]) -> None:
    with pytest.raises(BadConfig, match="must be at least 1"):
        asyncio.run(recall(ScriptedEngine(engine), questions("first"), ks))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reference"),
    [("nq", 0.748), ("triviaqa", 0.716), ("popqa", 0.449), ("hotpotqa", 0.302), ("2wiki", 0.328), ("musique", 0.169), ("bamboogle", 0.177)],
)
def test_bm25_finds_what_the_reference_finds(shared: Path, wiki: BM25Engine, name: str, reference: float) -> None:
    """The reference is of full samples, these files are half of each (shared/data/README.md)."""
    found = asyncio.run(recall(wiki, load_questions(shared / "data" / "qa" / f"{name}.jsonl.gz"), [5]))
    assert found.at[5].mean == pytest.approx(reference, abs=0.02)


@pytest.fixture(scope="module")
def wiki(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> BM25Engine:
    return BM25Engine(shared / "data/corpus/wiki_passages.jsonl.gz", tmp_path_factory.mktemp("wiki") / "index")
