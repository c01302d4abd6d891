"""Searches of the training world: what a useful reply holds, and what no other may hold."""

import random
from pathlib import Path

import pytest

from zerosearch.lab.language import KEYWORDS, Names
from zerosearch.lab.searches import ScriptedPair, collect_pairs, off_target_query, on_target_query
from zerosearch.lab.world import Hop, World, write_corpus
from zerosearch.search.corpus import BM25Engine
from zerosearch.simulator.pairs import SearchPair
from zerosearch.types import Document, Quality

COUNT = 400


@pytest.fixture(scope="module")
def engine(worlds: tuple[World, World], tmp_path_factory: pytest.TempPathFactory) -> BM25Engine:
    corpus = tmp_path_factory.mktemp("world") / "corpus.jsonl"
    write_corpus(corpus, worlds[0].documents)
    return BM25Engine.open(Path(corpus))


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


def test_the_same_seed_collects_the_same(worlds: tuple[World, World], engine: BM25Engine) -> None:
    assert collected(worlds, engine, 0.3, 50) == collected(worlds, engine, 0.3, 50) != collected(worlds, engine, 0.3, 50, seed=1)
