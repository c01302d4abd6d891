"""A small fictional world: entities, facts, one passage per entity, one- and two-hop questions.

Training and test worlds share no entity: `make_worlds` bans the names of each from the other.
"""

import json
import random
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zerosearch.core.types import Document, Question
from zerosearch.lab.language import ONE_HOP, RELATIONS, RELATIONS_OF, TWO_HOP, Entity, Names, clause

TRAIN_SIZES = {"person": 240, "city": 60, "country": 20, "film": 120, "company": 60}
TEST_SIZES = {"person": 120, "city": 36, "country": 14, "film": 60, "company": 36}


@dataclass(frozen=True, slots=True)
class Hop:
    subject: Entity
    relation: str
    object: Entity


@dataclass(frozen=True, slots=True)
class WorldQuestion:
    """A question with the facts that lead to its answer, first hop first."""

    question: Question
    hops: tuple[Hop, ...]


class World:
    def __init__(self, name: str, seed: int, sizes: Mapping[str, int], banned: Container[Entity] = ()) -> None:
        self.name = name
        rng = random.Random(seed)
        names = Names(rng, banned)
        self.entities: dict[str, list[Entity]] = {}
        for type, count in sizes.items():
            chosen: dict[Entity, None] = {}
            while len(chosen) < count:
                chosen.setdefault(names.draw(type))
            self.entities[type] = list(chosen)
        self.facts: dict[tuple[Entity, str], Entity] = {
            (entity, relation): rng.choice(self.entities[RELATIONS[relation][1]])
            for type, entities in self.entities.items()
            for entity in entities
            for relation in RELATIONS_OF[type]
        }
        people = self.entities["person"]
        for one, other in zip(people[::2], people[1::2], strict=False):
            self.facts[one, "spouse"], self.facts[other, "spouse"] = other, one
        self.document_of = {
            entity: Document(
                id=f"{name}-{entity.name}", text=passage(rng, entity, [(r, self.facts[entity, r]) for r in RELATIONS_OF[entity.type]])
            )
            for entities in self.entities.values()
            for entity in entities
        }
        self.documents = list(self.document_of.values())
        self.questions = self._make_questions(rng)

    def _make_questions(self, rng: random.Random) -> list[WorldQuestion]:
        found: list[WorldQuestion] = []

        def add(template: str, hops: tuple[Hop, ...]) -> None:
            question = Question(
                id=f"{self.name}-{len(found)}",
                text=template.format(s=hops[0].subject.name),
                golden_answers=(hops[-1].object.name,),
                metadata={"hops": len(hops), "type": " > ".join(hop.relation for hop in hops)},
            )
            found.append(WorldQuestion(question, hops))

        for relation, (subject_type, _) in RELATIONS.items():
            for subject in self.entities[subject_type]:
                add(rng.choice(ONE_HOP[relation]), (Hop(subject, relation, self.facts[subject, relation]),))
        for (first, second), template in TWO_HOP.items():
            for subject in self.entities[RELATIONS[first][0]]:
                bridge = self.facts[subject, first]
                if (answer := self.facts[bridge, second]) != subject:
                    add(template, (Hop(subject, first, bridge), Hop(bridge, second, answer)))
        rng.shuffle(found)
        return found

    def all_entities(self) -> set[Entity]:
        return {entity for entities in self.entities.values() for entity in entities}


def passage(rng: random.Random, subject: Entity, facts: Iterable[tuple[str, Entity]]) -> str:
    """One sentence per fact, in random order and random words."""
    sentences = [f"{clause(rng, relation, subject)} {object.name}." for relation, object in facts]
    rng.shuffle(sentences)
    return " ".join(sentences)


def make_worlds(seed: int) -> tuple[World, World]:
    """The training world and the test world. They share no entity."""
    train = World("train", 2 * seed + 1, TRAIN_SIZES)
    return train, World("test", 2 * seed + 2, TEST_SIZES, banned=train.all_entities())


def write_corpus(path: Path, documents: Iterable[Document]) -> None:
    path.write_text("".join(json.dumps({"id": d.id, "title": d.title, "text": d.text}) + "\n" for d in documents))


def write_questions(path: Path, questions: Iterable[WorldQuestion]) -> None:
    rows = (
        {"id": q.question.id, "question": q.question.text, "golden_answers": list(q.question.golden_answers), **q.question.metadata}
        for q in questions
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
