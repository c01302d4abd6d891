"""Real searches in the training world: good and bad queries, sent to BM25, labelled by whether they found the hop's fact.

They make an ordinary directory of searches, which `zerosearch tune` and `zerosearch card` also accept.
"""

import random
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zerosearch.core.types import Document, Quality
from zerosearch.data.files import locked, new_directory, writing
from zerosearch.lab.language import KEYWORDS, Entity, Names, query_for
from zerosearch.lab.world import Hop, World, WorldQuestion
from zerosearch.simulator.judge import Verdict
from zerosearch.simulator.label import Labelling, write_labels
from zerosearch.simulator.pairs import SearchPair
from zerosearch.simulator.searches import SearchesDirectory, SearchExample

Retrieve = Callable[[str, int], Sequence[Document]]


@dataclass(frozen=True, slots=True)
class ScriptedPair(SearchPair):
    """`reason` says how the documents were made; it becomes the label's reason."""

    reason: str


def collect_pairs(
    world: World,
    questions: Sequence[WorldQuestion],
    retrieve: Retrieve,
    rng: random.Random,
    count: int,
    banned: Container[Entity],
    k: int = 5,
    off_target: float = 0.25,
) -> list[ScriptedPair]:
    """`count` searches, each under a keyword drawn at random. No query names an entity of `banned` (the test world's).

    Useful replies are what the engine found. Noisy ones are what it found for something else: off topic, and without any answer.
    An off-target query (a wrong name, or none) never gets the answer under either keyword: a bad query stays bad.
    """
    names = Names(rng, banned)
    pairs: list[ScriptedPair] = []
    while len(pairs) < count:
        item = rng.choice(questions)
        hop = rng.choice(item.hops)
        quality = rng.choice(list(Quality))
        subject, query = off_target_query(world, names, rng, hop) if rng.random() < off_target else (hop.subject, on_target_query(rng, hop))
        on_target = subject == hop.subject
        if quality is Quality.NOISY:
            other = rng.choice(world.entities[(subject or hop.subject).type])
            own = (subject.first, subject.second) if subject else ()
            documents = [d for d in retrieve(query_for(rng, other, hop.relation), k + 8) if not any(name in d.text for name in own)]
        else:
            documents = list(retrieve(query, k + 8))
        if quality is Quality.NOISY or not on_target:
            answers = {hop.object.name, *item.question.golden_answers}
            documents = [d for d in documents if not any(name in d.text for name in answers)]
        documents = _fill_page(documents, world, rng, k, hop, item)
        found = any(hop.subject.name in d.text and hop.object.name in d.text for d in documents)
        if found == (quality is Quality.USEFUL and on_target):
            pairs.append(ScriptedPair(item.question, query, tuple(documents), quality, _reason(quality, on_target)))
    return pairs


def _reason(quality: Quality, on_target: bool) -> str:
    asks = "asks for the fact" if on_target else "asks for something else"
    if quality is Quality.USEFUL and on_target:
        return f"the query {asks}; these documents were found for it"
    found = "it" if quality is Quality.USEFUL else "a query about something else"
    return f"the query {asks}; these documents were found for {found}, without pages that hold the answer"


def write_searches(folder: Path, origin: Mapping[str, Any], collect: Callable[[], Sequence[ScriptedPair]]) -> None:
    """The searches that `collect` makes, as a labelled directory; does nothing if it exists. Only one of several processes writes."""
    with writing(folder):
        lock = locked(folder).acquire()
    with lock:
        if folder.exists():
            return
        # each search is its own rollout, because they do not follow one another
        searches = [
            (SearchExample(f"{pair.question.id}/{i}/0", pair.question, pair.query, pair.documents, 0, None, None, None, "scripted"), pair)
            for i, pair in enumerate(collect())
        ]
        labels = {found.id: Verdict(found.id, pair.quality, pair.reason) for found, pair in searches}
        with new_directory(folder) as partial:
            directory = SearchesDirectory(partial)
            directory.begin(origin)
            directory.write_searches(found for found, _ in searches)
            write_labels(directory, Labelling({"script": labels}, labels))


def _fill_page(documents: list[Document], world: World, rng: random.Random, k: int, hop: Hop, item: WorldQuestion) -> list[Document]:
    """The first `k`; if the engine found fewer, also random pages about the same type of thing, none of which holds an answer."""
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
    """A query that does not ask for the hop, and whom it names: someone with a similar name, another entity of the world, or no one."""
    draw = rng.random()
    if draw < 0.15:
        return None, rng.choice(KEYWORDS[hop.relation])
    other = names.near(hop.subject) if draw < 0.35 else rng.choice(world.entities[hop.subject.type])
    if other == hop.subject:
        return off_target_query(world, names, rng, hop)
    return other, query_for(rng, other, hop.relation)
