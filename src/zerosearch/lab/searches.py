"""Real searches in the training world: queries good and bad, sent to BM25, labelled by whether they found the hop's fact."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Sequence

from zerosearch.lab.language import KEYWORDS, Entity, Names, query_for
from zerosearch.lab.world import Hop, World, WorldQuestion
from zerosearch.simulator.pairs import SearchPair
from zerosearch.types import Document, Quality

Retrieve = Callable[[str, int], Sequence[Document]]


def collect_pairs(
    world: World,
    questions: Sequence[WorldQuestion],
    retrieve: Retrieve,
    rng: random.Random,
    count: int,
    banned: Container[Entity],
    k: int = 5,
    off_target: float = 0.25,
) -> list[SearchPair]:
    """`count` searches, each under a keyword drawn at random. No query names an entity of `banned` (the test world's).

    Useful replies are what the engine found. Noisy ones are what it found for somebody else: beside the point, and nothing that answers.
    An off-target query (a wrong name, or none) never gets the answer under either keyword: a bad query stays a bad query.
    """
    names = Names(rng, banned)
    pairs: list[SearchPair] = []
    while len(pairs) < count:
        item = rng.choice(questions)
        hop = rng.choice(item.hops)
        quality = rng.choice(list(Quality))
        subject, query = off_target_query(world, names, rng, hop) if rng.random() < off_target else (hop.subject, on_target_query(rng, hop))
        on_target = subject == hop.subject
        if quality is Quality.NOISY:
            other = rng.choice(world.entities[(subject or hop.subject).type])
            documents = [d for d in retrieve(query_for(rng, other, hop.relation), k + 8) if not _shares_name(d, subject)]
        else:
            documents = list(retrieve(query, k + 8))
        if quality is Quality.NOISY or not on_target:
            answers = {hop.object.name, *item.question.golden_answers}
            documents = [d for d in documents if not any(name in d.text for name in answers)]
        documents = _fill_page(documents, world, rng, k, hop, item)
        found = any(hop.subject.name in d.text and hop.object.name in d.text for d in documents)
        if found == (quality is Quality.USEFUL and on_target):
            pairs.append(SearchPair(item.question, query, tuple(documents), quality))
    return pairs


def _shares_name(document: Document, entity: Entity | None) -> bool:
    return entity is not None and (entity.first in document.text or entity.second in document.text)


def _fill_page(documents: list[Document], world: World, rng: random.Random, k: int, hop: Hop, item: WorldQuestion) -> list[Document]:
    """The first `k`; where the engine found fewer, random pages about the same type of thing, none of which holds an answer."""
    page = documents[:k]
    banned = {hop.subject.name, hop.object.name, *item.question.golden_answers}
    others = world.entities[hop.subject.type]
    for entity in rng.sample(others, len(others)) if len(page) < k else ():
        document = world.document_of[entity]
        if document not in page and not any(name in document.text for name in banned):
            page.append(document)
    return page[:k]


def on_target_query(rng: random.Random, hop: Hop) -> str:
    return query_for(rng, hop.subject, hop.relation)


def off_target_query(world: World, names: Names, rng: random.Random, hop: Hop) -> tuple[Entity | None, str]:
    """A query that does not ask for the hop, and whom it names: somebody of a similar name, another entity of the world, or nobody."""
    draw = rng.random()
    if draw < 0.15:
        return None, rng.choice(KEYWORDS[hop.relation])
    other = names.near(hop.subject) if draw < 0.35 else rng.choice(world.entities[hop.subject.type])
    if other == hop.subject:
        return off_target_query(world, names, rng, hop)
    return other, query_for(rng, other, hop.relation)
