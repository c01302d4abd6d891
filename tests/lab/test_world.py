"""Worlds whose answers follow from their facts, and which share no name."""

import json
import random
from pathlib import Path

import pytest

from zerosearch.data.questions import load_questions
from zerosearch.lab.language import CLAUSES, ONE_HOP, RELATIONS, RELATIONS_OF, TWO_HOP, Entity
from zerosearch.lab.world import TEST_SIZES, TRAIN_SIZES, World, make_worlds, passage, write_corpus, write_questions

SMALL = {"person": 10, "city": 6, "country": 4, "film": 5, "company": 3}


@pytest.fixture(scope="module", params=["train", "test"])
def world(request: pytest.FixtureRequest, worlds: tuple[World, World]) -> World:
    return worlds[request.param == "test"]


def test_the_worlds_share_no_name(worlds: tuple[World, World]) -> None:
    for train, test in (worlds, make_worlds(1)):
        assert not {e.name for e in train.all_entities()} & {e.name for e in test.all_entities()}


def test_sizes(worlds: tuple[World, World]) -> None:
    for world, sizes in zip(worlds, (TRAIN_SIZES, TEST_SIZES), strict=True):
        assert {type: len(set(entities)) for type, entities in world.entities.items()} == sizes


def test_a_seed_gives_one_world() -> None:
    one, again, other = (World("w", seed, SMALL) for seed in (5, 5, 6))
    assert one.questions == again.questions and one.documents == again.documents
    assert one.questions != other.questions


def test_facts_have_the_right_types_and_spouses_agree(world: World) -> None:
    assert set(world.facts) == {(e, r) for e in world.all_entities() for r in RELATIONS_OF[e.type]}
    for (subject, relation), object in world.facts.items():
        assert (subject.type, object.type) == RELATIONS[relation]
        assert object in world.all_entities()
        if relation == "spouse":
            assert object != subject and world.facts[object, "spouse"] == subject


def test_golds_follow_from_the_facts(world: World) -> None:
    names = {e.name: e for e in world.all_entities()}
    for item in world.questions:
        (answer,) = item.question.golden_answers
        here = item.hops[0].subject
        for hop in item.hops:
            assert hop.subject == here
            here = world.facts[here, hop.relation]
            assert hop.object == here
        assert names[answer] == here
        templates = ONE_HOP[item.hops[0].relation] if len(item.hops) == 1 else [TWO_HOP[item.hops[0].relation, item.hops[1].relation]]
        assert item.question.text in [template.format(s=item.hops[0].subject.name) for template in templates]
        assert item.question.metadata == {"hops": len(item.hops), "type": " > ".join(hop.relation for hop in item.hops)}
        assert answer not in item.question.text


def test_every_fact_is_asked_and_every_type_is_there(world: World) -> None:
    one_hop = [(q.hops[0].subject, q.hops[0].relation) for q in world.questions if len(q.hops) == 1]
    assert len(one_hop) == len(world.facts) and set(one_hop) == set(world.facts)
    assert {tuple(h.relation for h in q.hops) for q in world.questions if len(q.hops) == 2} == set(TWO_HOP)
    assert len({q.question.id for q in world.questions}) == len(world.questions)


def test_a_document_states_exactly_its_entity_s_facts(world: World) -> None:
    assert len(world.documents) == len(world.all_entities())
    for entity, document in world.document_of.items():
        sentences = document.text.removesuffix(".").split(". ")
        expected = [{f"{c.format(s=entity.name)} {world.facts[entity, r].name}" for c in CLAUSES[r]} for r in RELATIONS_OF[entity.type]]
        assert len(sentences) == len(expected) and all(len(said & set(sentences)) == 1 for said in expected)


def test_passage() -> None:
    film, city = Entity("film", "Silent", "Harbor"), Entity("city", "Bra", "sun")
    said = {passage(random.Random(seed), film, [("director", city)]) for seed in range(20)}
    assert said == {"Silent Harbor was directed by Brasun.", "Silent Harbor was made by Brasun."}


def test_files_are_what_the_rest_of_the_system_reads(worlds: tuple[World, World], tmp_path: Path) -> None:
    _, world = worlds
    write_questions(tmp_path / "q.jsonl", world.questions)
    assert load_questions(tmp_path / "q.jsonl") == [item.question for item in world.questions]
    write_corpus(tmp_path / "c.jsonl", world.documents)
    rows = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert [(row["id"], row["text"]) for row in rows] == [(d.id, d.text) for d in world.documents]
