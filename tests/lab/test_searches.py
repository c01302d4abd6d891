"""Searches of the training world: what a useful reply holds, and what no other may hold."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zerosearch.core.types import Document, Quality
from zerosearch.engines.bm25 import BM25Engine
from zerosearch.lab.language import KEYWORDS, Names
from zerosearch.lab.searches import ScriptedPair, collect_pairs, off_target_query, on_target_query, write_searches
from zerosearch.lab.world import Hop, World, write_corpus
from zerosearch.simulator.label import read_labelled
from zerosearch.simulator.pairs import SearchPair
from zerosearch.simulator.searches import SearchesDirectory

COUNT = 400


@pytest.fixture(scope="module")
def engine(worlds: tuple[World, World], tmp_path_factory: pytest.TempPathFactory) -> BM25Engine:
    corpus = tmp_path_factory.mktemp("world") / "corpus.jsonl"
    write_corpus(corpus, worlds[0].documents)
    return BM25Engine(Path(corpus))


def collected(worlds: tuple[World, World], engine: BM25Engine, off_target: float, count: int = COUNT, seed: int = 0) -> list[ScriptedPair]:
    def retrieve(query: str, k: int) -> list[Document]:
        return [document for document, _ in engine.retrieve(query, k)]

    train, test = worlds
    banned = test.all_entities()
    return collect_pairs(train, train.questions, retrieve, random.Random(seed), count, banned, off_target=off_target)


@pytest.fixture(scope="module")
def off_target(worlds: tuple[World, World], engine: BM25Engine) -> list[ScriptedPair]:
    return collected(worlds, engine, off_target=1.0)


def hops_of(world: World, pair: SearchPair) -> tuple[Hop, ...]:
    return next(item.hops for item in world.questions if item.question == pair.question)


def holds(documents: tuple[Document, ...], *names: str) -> bool:
    return any(all(name in document.text for name in names) for document in documents)


def test_on_target(worlds: tuple[World, World], engine: BM25Engine) -> None:
    pairs = collected(worlds, engine, off_target=0.0)
    for pair in pairs:
        hops = hops_of(worlds[0], pair)
        asked = [hop for hop in hops if hop.subject.name in pair.query and any(k in pair.query for k in KEYWORDS[hop.relation])]
        assert asked and len(set(pair.documents)) == 5
        if pair.quality is Quality.USEFUL:
            assert any(holds(pair.documents, hop.subject.name, hop.object.name) for hop in asked)
        else:
            assert not holds(pair.documents, *pair.question.golden_answers)
            assert not all(holds(pair.documents, hop.object.name) for hop in asked)  # neither the answer nor the bridge
    assert {pair.quality for pair in pairs} == set(Quality)


def test_off_target(worlds: tuple[World, World], off_target: list[SearchPair]) -> None:
    """A bad query stays a bad query, whichever keyword it comes under."""
    for pair in off_target:
        hops = hops_of(worlds[0], pair)
        assert not holds(pair.documents, *pair.question.golden_answers)
        assert len(set(pair.documents)) == 5
        assert any(not holds(pair.documents, hop.subject.name, hop.object.name) for hop in hops)
    share = sum(pair.quality is Quality.USEFUL for pair in off_target) / COUNT
    assert 0.35 < share < 0.65  # the keyword is no hint at the query


def test_no_name_of_the_test_world(worlds: tuple[World, World], off_target: list[SearchPair]) -> None:
    names = {entity.name for entity in worlds[1].all_entities()}
    everything = "\n".join(f"{p.query}\n{p.question.text}\n{p.question.golden_answers}\n{p.documents}" for p in off_target)
    assert [name for name in names if name in everything] == []


def test_off_target_queries(worlds: tuple[World, World]) -> None:
    train, test = worlds
    rng = random.Random(0)
    names = Names(rng, test.all_entities())
    kinds: set[str] = set()
    for item in train.questions[:500]:
        hop = item.hops[0]
        subject, query = off_target_query(train, names, rng, hop)
        assert subject != hop.subject and hop.subject.name not in query and subject not in test.all_entities()
        assert any(keyword in query for keyword in KEYWORDS[hop.relation])
        if subject is None:
            assert query in KEYWORDS[hop.relation]
        else:
            assert subject.name in query and subject.type == hop.subject.type
        kinds.add("nobody" if subject is None else "known" if subject in train.all_entities() else "unheard of")
        assert hop.subject.name in on_target_query(rng, hop)
    assert kinds == {"nobody", "known", "unheard of"}


def test_the_searches_are_written_once_and_read_as_they_were(worlds: tuple[World, World], engine: BM25Engine, tmp_path: Path) -> None:
    pairs, calls = collected(worlds, engine, 0.3, 60), list[int]()
    folder = tmp_path / "searches"
    (tmp_path / ".partial-searches").mkdir()  # what a kill leaves
    (tmp_path / ".partial-searches" / "searches.jsonl").write_text("half")

    def collect() -> list[ScriptedPair]:
        calls.append(1)
        time.sleep(0.05)
        return pairs

    with ThreadPoolExecutor() as two:
        for done in [two.submit(write_searches, folder, {"seed": 0}, collect) for _ in range(2)]:
            done.result()
    assert len(calls) == 1 and not (tmp_path / ".partial-searches").exists()
    directory = SearchesDirectory(folder)
    read = read_labelled(directory)
    assert [(p.question.id, p.question.golden_answers, p.query, p.documents, p.quality) for p in read] == [
        (p.question.id, p.question.golden_answers, p.query, p.documents, p.quality) for p in pairs
    ]
    assert json.loads(directory.origin.read_text()) == {"seed": 0}
    assert json.loads(directory.label_report.read_text())["labels"]["useful"] == sum(p.quality is Quality.USEFUL for p in pairs)
    reasons = {(row["quality"], row["reason"]) for row in map(json.loads, directory.labels.read_text().splitlines())}
    assert ("useful", "the query asks for the fact; these documents were found for it") in reasons and len(reasons) == 4


def test_the_same_seed_collects_the_same(worlds: tuple[World, World], engine: BM25Engine) -> None:
    assert collected(worlds, engine, 0.3, 50) == collected(worlds, engine, 0.3, 50) != collected(worlds, engine, 0.3, 50, seed=1)
