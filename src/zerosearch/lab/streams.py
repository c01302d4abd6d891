"""What the micro models read before RL: text about fresh random facts, and flawed demonstrations of searching.

Each sample is a list of (text, weight) pieces; the weight is that piece's share in the loss. Facts are drawn afresh for
every sample, so nothing can be memorised: the only way to predict an object is to look it up in the context.
"""

import random
from dataclasses import dataclass, replace

from zerosearch.core.types import Document
from zerosearch.lab.language import KEYWORDS, NOUNS, ONE_HOP, RELATIONS, RELATIONS_OF, TWO_HOP, Entity, Names, clause, query_for
from zerosearch.lab.world import Hop, passage
from zerosearch.rollout.grammar import render_information

Sample = list[tuple[str, float]]
LOOKED_UP, REASONED, READ, GIVEN = 1.0, 0.5, 0.1, 0.0


def one_relation(rng: random.Random, names: Names, subjects: int, questions: int) -> Sample:
    """Several subjects, ONE relation: an object can be told from the others only by its subject.

    With mixed relations the object's type gives it away, and the model never learns to look the subject up.
    """
    relation = rng.choice(list(RELATIONS))
    subject_type, object_type = RELATIONS[relation]
    first = names.draw(subject_type)
    facts: list[tuple[Entity, Entity]] = []
    sample: Sample = [("<bos>", GIVEN)]
    for i in range(subjects):
        subject = first if i == 0 else names.near(first) if rng.random() < 0.25 else names.draw(subject_type)
        facts.append((subject, names.draw(object_type)))
        sample.append((f"{clause(rng, relation, subject)} {facts[-1][1].name}.", READ))
    for _ in range(questions):
        subject, object = rng.choice(facts)
        sample += _ask(rng, relation, subject, object, as_question=rng.random() < 0.3)
    return [*sample, ("<eos>", GIVEN)]


def mixed_text(rng: random.Random, names: Names, documents: int, questions: int) -> Sample:
    """Numbered passages about several subjects, then questions and paraphrases about them.

    In every other text one passage leads to another, and some of the questions need both.
    """
    chain = _chain(rng, names) if rng.random() < 0.5 else None
    subjects: list[tuple[Entity, tuple[str, Entity] | None]] = []
    if chain:
        subjects = [(hop.subject, (hop.relation, hop.object)) for hop in chain[1]]
    first = subjects[0][0] if subjects else names.draw(rng.choice(list(RELATIONS_OF)))
    while len(subjects) < documents:
        subject = first if not subjects else names.near(first) if rng.random() < 0.4 else names.draw(rng.choice(list(RELATIONS_OF)))
        subjects.append((subject, None))
    if chain:
        rng.shuffle(subjects)
    facts: list[tuple[Entity, str, Entity]] = []
    sample: Sample = [("<bos>", GIVEN)]
    for i, (subject, must) in enumerate(subjects, start=1):
        about = random_facts(rng, names, subject, rng.choice((1, 2, 3)), must)
        facts += [(subject, relation, object) for relation, object in about]
        sample.append((f"Doc {i}: {passage(rng, subject, about)}", READ))
    for _ in range(questions):
        if chain and rng.random() < 0.25:
            sample += _work_out(rng, *chain)
        else:
            subject, relation, object = rng.choice(facts)
            sample += _ask(rng, relation, subject, object, as_question=rng.random() < 0.5)
    return [*sample, ("<eos>", GIVEN)]


def _chain(rng: random.Random, names: Names) -> tuple[str, list[Hop]]:
    """A two-hop question and the facts that lead to its answer."""
    (first, second), template = rng.choice(list(TWO_HOP.items()))
    subject, bridge = names.draw(RELATIONS[first][0]), names.draw(RELATIONS[first][1])
    hops = [Hop(subject, first, bridge), Hop(bridge, second, names.draw(RELATIONS[second][1]))]
    return template.format(s=subject.name), hops


def _work_out(rng: random.Random, question: str, hops: list[Hop]) -> Sample:
    """The question, then one fact after another: knowing which fact comes next is the reasoning that a second search needs."""
    sample: Sample = [(f"Question: {question} Answer:", READ)]
    for hop in hops:
        sample += [(clause(rng, hop.relation, hop.subject), REASONED), (hop.object.name, LOOKED_UP), (".", READ)]
    return sample


def _ask(rng: random.Random, relation: str, subject: Entity, object: Entity, as_question: bool) -> Sample:
    lead = f"Question: {rng.choice(ONE_HOP[relation]).format(s=subject.name)} Answer:" if as_question else clause(rng, relation, subject)
    return [(lead, READ), (object.name, LOOKED_UP), (".", READ)]


def random_facts(
    rng: random.Random, names: Names, subject: Entity, count: int, must: tuple[str, Entity] | None = None
) -> list[tuple[str, Entity]]:
    relations = [r for r in RELATIONS_OF[subject.type] if must is None or r != must[0]]
    rng.shuffle(relations)
    facts = [must] if must else []
    return (facts + [(r, names.draw(RELATIONS[r][1])) for r in relations])[: max(count, len(facts))]


@dataclass(frozen=True, slots=True)
class Sloppiness:
    """How often a demonstration does each thing right. A base LLM searches and chains badly, and so does this one.

    Mostly it does not search at all. RL first discovers searching. What it discovers next (a second search, a fact restated before
    the next search) must occur often enough to be rewarded now and then: a rollout is right only if every part of it is.
    """

    searches: float = 0.42
    queries_well: float = 0.9
    second_hop: float = 0.95
    restates: float = 0.8  # says what the first search found before it continues
    copies: float = 0.7
    breaks_format: float = 0.1


BASE_LIKE = Sloppiness()
TWO_HOPS = 0.65  # of demonstrations: which relation comes second is the hardest part of them (docs/log.md)


def random_question(rng: random.Random, names: Names) -> tuple[str, list[Hop]]:
    if rng.random() < TWO_HOPS:
        return _chain(rng, names)
    relation = rng.choice(list(RELATIONS))
    subject = names.draw(RELATIONS[relation][0])
    return rng.choice(ONE_HOP[relation]).format(s=subject.name), [Hop(subject, relation, names.draw(RELATIONS[relation][1]))]


def random_documents(rng: random.Random, names: Names, hop: Hop, k: int, useful: bool) -> tuple[list[Document], list[Entity]]:
    """`k` documents of random facts around the hop's subject, and every object they mention.

    The fact itself is among them exactly when `useful`.
    """
    written: list[tuple[str, list[Entity]]] = []

    def write(subject: Entity, must: tuple[str, Entity] | None = None) -> None:
        facts = random_facts(rng, names, subject, rng.choice((1, 2, 3)), must)
        written.append((passage(rng, subject, facts), [object for _, object in facts]))

    if useful:
        write(hop.subject, (hop.relation, hop.object))
    while len(written) < k:
        draw = rng.random()
        other = names.near(hop.subject) if draw < 0.5 else names.draw(hop.subject.type if draw < 0.75 else rng.choice(list(RELATIONS_OF)))
        if other != hop.subject:  # a second document about it would contradict the first
            write(other)
    if rng.random() < 0.5:
        rng.shuffle(written)
    return [Document(text) for text, _ in written], [object for _, objects in written for object in objects]


def demonstration(rng: random.Random, names: Names, k: int = 5, sloppy: Sloppiness = Sloppiness()) -> Sample:
    """One rollout as a base model might produce it: the tags are right, but the searching and the chaining often are not."""
    question, hops = random_question(rng, names)
    answer_type = RELATIONS[hops[-1].relation][1]
    sample: Sample = [(f"<bos>Question: {question}", GIVEN)]
    if rng.random() > sloppy.searches:
        guess = rng.choice(("i guess", "maybe i know this", "i think i know"))
        return [*sample, (f"<think> {guess} </think>", LOOKED_UP), *_answer(rng, names.draw(answer_type), sloppy)]
    plan = hops if len(hops) == 1 or rng.random() < sloppy.second_hop else hops[:1]
    hop, found, mentioned = plan[0], True, list[Entity]()
    for i, planned in enumerate(plan):
        wanted = rng.choice(
            ("i need to find the", "i must look for the", "first find the") if i == 0 else ("now i need the", "then find the")
        )
        # after a search that failed, it continues with any name of the right type that it saw
        hop = planned if found else replace(planned, subject=_any(rng, names, mentioned, planned.subject.type))
        recalled = ""
        if i > 0 and found and rng.random() < sloppy.restates:
            recalled = f"{clause(rng, plan[i - 1].relation, plan[i - 1].subject)} {hop.subject.name}. "
        found = rng.random() < sloppy.queries_well
        query = query_for(rng, hop.subject, hop.relation) if found else _poor_query(rng, names, hop)
        documents, mentioned = random_documents(rng, names, hop, k, found)
        sample += [
            (f"<think> {recalled}{wanted} {NOUNS[hop.relation]} of {hop.subject.name} </think><search> {query} </search>", LOOKED_UP),
            (render_information(documents), GIVEN),
        ]
        if not found and i == len(plan) - 1 and rng.random() < 0.3:
            documents, mentioned = random_documents(rng, names, hop, k, True)
            retry = f"<think> not relevant, try again </think><search> {query_for(rng, hop.subject, hop.relation)} </search>"
            sample += [(retry, LOOKED_UP), (render_information(documents), GIVEN)]
            found = True
    copies = found and len(plan) == len(hops) and rng.random() < sloppy.copies
    answer = hop.object if copies else _any(rng, names, mentioned, answer_type)
    restated = f"<think> {clause(rng, hop.relation, hop.subject)} {answer.name} </think>"
    return [*sample, (restated, LOOKED_UP), *_answer(rng, answer, sloppy)]


def _any(rng: random.Random, names: Names, mentioned: list[Entity], type: str) -> Entity:
    fitting = [entity for entity in mentioned if entity.type == type]
    return rng.choice(fitting) if fitting else names.draw(type)


def _poor_query(rng: random.Random, names: Names, hop: Hop) -> str:
    draw = rng.random()
    if draw < 0.4:
        return rng.choice(KEYWORDS[hop.relation])
    return query_for(rng, names.near(hop.subject) if draw < 0.7 else names.draw(hop.subject.type), hop.relation)


def _answer(rng: random.Random, answer: Entity, sloppy: Sloppiness) -> Sample:
    if rng.random() >= sloppy.breaks_format:
        text = f"<answer> {answer.name} </answer>"
    else:
        text = rng.choice((f"<answer> {answer.name}", f"{answer.name}.", f"<think> i think {answer.name} </think>"))
    return [(f"{text}<eos>", LOOKED_UP)]
