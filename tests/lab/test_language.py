"""The micro world's language: every name is two tokens, every word is known, and what is written can be read again."""

import itertools
import random
from typing import Any

import pytest

from zerosearch.core.templates import fill
from zerosearch.core.types import Document
from zerosearch.engines.prompts import SIMULATOR_PROMPTS
from zerosearch.lab.language import (
    CLAUSES,
    KEYWORDS,
    ONE_HOP,
    PIECES,
    RELATIONS,
    TWO_HOP,
    Entity,
    Names,
    clause,
    make_tokenizer,
    query_for,
    vocabulary,
)
from zerosearch.rollout.grammar import TAGS, Answer, Search, parse_turn, render_information
from zerosearch.rollout.prompts import MICRO

ALL = [Entity(type, a, b) for type, (first, second, _) in PIECES.items() for a, b in itertools.product(first, second)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


def encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_every_name_is_two_known_tokens_and_comes_back(tokenizer: Any) -> None:
    names = [entity.name for entity in ALL]
    encoded = tokenizer(names, add_special_tokens=False)["input_ids"]
    assert [name for name, ids in zip(names, encoded, strict=True) if len(ids) != 2 or tokenizer.unk_token_id in ids] == []
    assert tokenizer.batch_decode(encoded) == names


def test_no_two_entities_share_a_name_or_hide_in_one_another() -> None:
    """Whether a document holds a name is asked by substring."""
    assert len({entity.name for entity in ALL}) == len(ALL)
    joined = [e.name for e in ALL if PIECES[e.type][2] == ""]  # one word, which could be a piece of another name
    everything = " ".join(e.name for e in ALL)
    assert [name for name in joined if everything.count(name) > 1] == []
    for type in ("person", "film"):  # two words: neither may begin or end another one
        first, second, _ = PIECES[type]
        assert not any(a != b and b.endswith(a) for a, b in itertools.permutations(first, 2))
        assert not any(a != b and b.startswith(a) for a, b in itertools.permutations(second, 2))


def test_the_vocabulary_has_no_word_twice(tokenizer: Any) -> None:
    assert len(vocabulary()) == len(set(vocabulary())) and vocabulary()[:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]
    assert [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id] == [0, 1, 2, 3]


def test_tags_are_one_token_that_decoding_keeps(tokenizer: Any) -> None:
    for tag in TAGS:
        assert len(encode(tokenizer, tag)) == len(encode(tokenizer, f"x{tag}x")) - 2 == 1
        assert tokenizer.decode(encode(tokenizer, tag), skip_special_tokens=True) == tag


def test_every_template_is_known_and_comes_back(tokenizer: Any) -> None:
    lines = [t.format(s="Silent Harbor") for table in (CLAUSES, ONE_HOP, KEYWORDS) for templates in table.values() for t in templates]
    lines += [template.format(s="Silent Harbor") for template in TWO_HOP.values()] + [MICRO.malformed, f"{lines[0]} Silent Harbor."]
    for line in lines:
        ids = encode(tokenizer, line)
        assert tokenizer.unk_token_id not in ids and tokenizer.decode(ids) == line


def test_a_prompt_begins_with_bos_and_the_simulator_s_is_known(tokenizer: Any) -> None:
    values = {"question": "who founded Silent Harbor?", "golden_answers": "Silent Harbor", "query": "founder Silent Harbor"}
    for quality in ("useful", "noisy"):
        ids = tokenizer(fill(SIMULATOR_PROMPTS["micro"], {**values, "quality": quality}))["input_ids"]
        assert ids[0] == tokenizer.bos_token_id and tokenizer.bos_token_id not in ids[1:] and tokenizer.unk_token_id not in ids


def test_a_rendered_trajectory_comes_back(tokenizer: Any) -> None:
    rng = random.Random(0)
    names = Names(rng)
    for _ in range(50):
        subject, answer = names.draw("film"), names.draw("person")
        documents = [
            Document(f"{clause(rng, 'director', subject)} {answer.name}. {clause(rng, 'born', answer)} {names.draw('city').name}.")
        ] * 5
        search = f"<think> i must look for the director of {subject.name} </think><search> {query_for(rng, subject, 'director')} </search>"
        end = f"<think> {clause(rng, 'director', subject)} {answer.name} </think><answer> {answer.name} </answer>"
        text = f"Question: who directed {subject.name}?{search}{render_information(documents)}{end}<eos>"
        ids = encode(tokenizer, text)
        back = tokenizer.decode(ids)
        assert tokenizer.unk_token_id not in ids
        assert encode(tokenizer, back) == ids
        assert "".join(back.split()) == "".join(text.split())  # spaces around tags are the decoder's
        assert parse_turn(tokenizer.decode(encode(tokenizer, end))) == Answer(answer.name)
        assert parse_turn(tokenizer.decode(encode(tokenizer, search))) == parse_turn(search)
        assert isinstance(parse_turn(search), Search)


def test_names_never_draws_what_is_banned() -> None:
    rng = random.Random(0)
    banned = {entity for entity in ALL if rng.random() < 0.5}
    names = Names(rng, banned)
    entity = names.draw("country")
    for _ in range(500):
        assert names.draw("country") not in banned
        near = names.near(entity)
        assert near not in banned and near != entity and near.type == "country"
        assert (near.first == entity.first) != (near.second == entity.second)


def test_tables_speak_of_the_same_relations() -> None:
    assert set(RELATIONS) == set(CLAUSES) == set(ONE_HOP) == set(KEYWORDS)
    for first, second in TWO_HOP:
        assert RELATIONS[first][1] == RELATIONS[second][0]  # the bridge has the type that the second hop asks about
