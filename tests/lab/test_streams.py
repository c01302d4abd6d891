"""What the micro models read: known words, nothing of the test world, full weight where something is looked up, and nowhere else."""

import random
import re
from itertools import groupby, pairwise
from typing import Any

import pytest

from zerosearch.lab.base_model import demonstration_batch, pretraining_batch
from zerosearch.lab.language import CLAUSES, ONE_HOP, PIECES, RELATIONS, Names, make_tokenizer
from zerosearch.lab.streams import (
    GIVEN,
    LOOKED_UP,
    READ,
    REASONED,
    Sample,
    Sloppiness,
    demonstration,
    mixed_text,
    one_relation,
    random_documents,
    random_question,
)
from zerosearch.lab.world import World
from zerosearch.rollout.grammar import Answer, Malformed, Search, parse_turn

SAMPLES = 200


@pytest.fixture(scope="module")
def samples(worlds: tuple[World, World]) -> dict[str, list[Sample]]:
    rng = random.Random(0)
    names = Names(rng, worlds[1].all_entities())
    return {
        "one_relation": [one_relation(rng, names, rng.choice((2, 3, 4, 5)), 9) for _ in range(SAMPLES)],
        "mixed_text": [mixed_text(rng, names, 4, 8) for _ in range(SAMPLES)],
        "demonstration": [demonstration(rng, names) for _ in range(SAMPLES)],
    }


def turns(sample: Sample) -> list[str]:
    """What the policy says between one observation and the next."""
    return ["".join(text for text, _ in pieces) for weight, pieces in groupby(sample, key=lambda piece: piece[1]) if weight == LOOKED_UP]


def seen(sample: Sample) -> str:
    return "".join(text for text, weight in sample if weight == GIVEN)


def test_every_word_is_known(samples: dict[str, list[Sample]]) -> None:
    tokenizer: Any = make_tokenizer()
    texts = [text for stream in samples.values() for sample in stream for text, _ in sample]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert [text for text, ids in zip(texts, encoded, strict=True) if tokenizer.unk_token_id in ids or not ids] == []


def test_no_test_name_is_read(samples: dict[str, list[Sample]], worlds: tuple[World, World]) -> None:
    everything = "\n".join(text for stream in samples.values() for sample in stream for text, _ in sample)
    assert len(everything) > 10**5
    assert [e.name for e in worlds[1].all_entities() if e.name in everything] == []


def test_batches_keep_the_ban_and_are_pure_functions(worlds: tuple[World, World]) -> None:
    banned = worlds[1].all_entities()
    for batch in (lambda step: pretraining_batch(7, banned, step / 10), lambda step: demonstration_batch(7, banned, step)):
        assert batch(3) == batch(3) != batch(4)
        everything = "\n".join(text for step in range(5) for sample in batch(step) for text, _ in sample)
        assert [e.name for e in banned if e.name in everything] == []
    assert demonstration_batch(7, banned, 3) != demonstration_batch(8, banned, 3)


def test_one_relation_has_one_relation_and_full_weight_on_objects_only(samples: dict[str, list[Sample]]) -> None:
    for sample in samples["one_relation"]:
        assert sample[0] == ("<bos>", GIVEN) and sample[-1] == ("<eos>", GIVEN)
        # which relations could each piece of the sample speak of? one is left in the end
        possible = set(RELATIONS)
        facts = [text for text, _ in sample[1:-1] if text.endswith(".") and text != "."]
        asked = [(before, object) for (before, _), (object, weight) in pairwise(sample) if weight == LOOKED_UP]
        assert len(asked) == 9
        for said in [*facts, *(f"{lead} {object}." for lead, object in asked if not lead.startswith("Question:"))]:
            possible &= {
                r for r, clauses in CLAUSES.items() for c in clauses if re.fullmatch(re.escape(c).replace(r"\{s\}", ".+") + " .+", said)
            }
        for lead in (lead for lead, _ in asked if lead.startswith("Question:")):
            possible &= {r for r, questions in ONE_HOP.items() for q in questions if lead in with_any_subject(q, lead)}
        assert len(possible) == 1
        # every object that is looked up was read before, at the end of a fact
        assert all(any(fact.endswith(f" {object}.") for fact in facts) for _, object in asked)
        assert {weight for _, weight in sample} == {GIVEN, READ, LOOKED_UP} and LOOKED_UP == 1.0


def with_any_subject(question: str, lead: str) -> list[str]:
    before, after = question.split("{s}")
    return [lead] if lead.startswith(f"Question: {before}") and lead.endswith(f"{after} Answer:") else []


def test_mixed_text_asks_what_it_said(samples: dict[str, list[Sample]]) -> None:
    for sample in samples["mixed_text"]:
        documents = [text for text, _ in sample if text.startswith("Doc ")]
        objects = [text for text, weight in sample if weight == LOOKED_UP]
        assert [document[:6] for document in documents] == [f"Doc {i}:" for i in range(1, 5)] and len(objects) >= 8
        assert all(any(f" {object}." in document for document in documents) for object in objects)


def test_some_questions_are_worked_out_fact_by_fact(samples: dict[str, list[Sample]]) -> None:
    """The object of the first fact is the subject of the second."""
    worked_out = 0
    for sample in samples["mixed_text"]:
        clauses = [i for i, (_, weight) in enumerate(sample) if weight == REASONED]
        for first, second in zip(clauses[::2], clauses[1::2], strict=True):
            assert second == first + 3 and sample[first + 1][0] in sample[second][0]
            worked_out += 1
    assert worked_out > SAMPLES / 2


def test_demonstrations_are_turns_but_for_those_that_break_the_format(samples: dict[str, list[Sample]]) -> None:
    last: list[object] = []
    for sample in samples["demonstration"]:
        *searches, end = turns(sample)
        assert all(isinstance(parse_turn(turn), Search) for turn in searches)
        assert end.endswith("<eos>")
        last.append(parse_turn(end))
        assert seen(sample).count("<information>") == len(searches) and all(f"Doc {i}:" in seen(sample) for i in range(1, 6)) is bool(
            searches
        )
    assert not any(isinstance(action, Search) for action in last)
    assert sum(isinstance(action, Malformed) for action in last) / SAMPLES == pytest.approx(Sloppiness().breaks_format, abs=0.05)


def test_a_careful_demonstrator_searches_each_hop_and_reads_the_answer() -> None:
    rng = random.Random(1)
    names, careful = Names(rng), Sloppiness(searches=1, queries_well=1, second_hop=1, copies=1, breaks_format=0)
    numbers: list[int] = []
    for _ in range(100):
        sample = demonstration(rng, names, sloppy=careful)
        *searches, end = turns(sample)
        numbers.append(len(searches))
        answer = parse_turn(end)
        last_page = sample[-3][0]
        assert isinstance(answer, Answer) and f" {answer.text}." in last_page
        for turn in searches:
            query = parse_turn(turn)
            assert isinstance(query, Search) and any(word in seen(sample) for word in query.query.split() if word[0].isupper())
    assert set(numbers) == {1, 2} and 0.3 < numbers.count(2) / 100 < 0.7


def test_a_guesser_does_not_search() -> None:
    rng = random.Random(2)
    for _ in range(20):
        (turn,) = turns(demonstration(rng, Names(rng), sloppy=Sloppiness(searches=0, breaks_format=0)))
        assert isinstance(parse_turn(turn), Answer)


@pytest.mark.parametrize("useful", [True, False])
def test_random_documents_hold_the_fact_exactly_when_useful(useful: bool) -> None:
    rng = random.Random(3)
    names = Names(rng)
    for _ in range(100):
        hop = random_question(rng, names)[1][0]
        documents, mentioned = random_documents(rng, names, hop, 5, useful)
        said = [f"{c.format(s=hop.subject.name)} {hop.object.name}." for c in CLAUSES[hop.relation]]
        assert len(documents) == 5 and any(s in d.text for d in documents for s in said) is useful
        assert hop.object in mentioned or not useful
        about = [c.format(s=hop.subject.name) for c in CLAUSES[hop.relation]]
        assert not useful or sum(d.text.count(lead) for d in documents for lead in about) == 1  # and nothing contradicts it
        assert all(any(f" {e.name}." in d.text for d in documents) for e in mentioned)


def test_random_questions_chain() -> None:
    rng = random.Random(4)
    for _ in range(100):
        question, hops = random_question(rng, Names(rng))
        assert hops[0].subject.name in question and (len(hops) == 1 or hops[1].subject == hops[0].object)
        assert all((h.subject.type, h.object.type) == RELATIONS[h.relation] for h in hops)
        assert all(h.object.first in PIECES[h.object.type][0] for h in hops)
