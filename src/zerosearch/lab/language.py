"""The micro world's language: relations, ways to state them and to ask about them, compositional names, and a tokenizer.

A name is two pieces ("Brai" + "sun"), so entities that no model ever saw are still spelled with familiar pieces,
as unseen names in English are. Every clause ends with its object, so "look it up and copy it" is a single skill.
"""

import random
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from zerosearch.core.templates import read_texts
from zerosearch.rollout.grammar import TAGS

_TEXTS = read_texts(__file__, "language.toml")
_WORDS: dict[str, list[str]] = {name: words.split() for name, words in _TEXTS["words"].items()}


def _table(field: str) -> dict[str, Any]:
    return {relation: row[field] for relation, row in _TEXTS["relations"].items()}


# relation → (type of the subject, type of the object)
RELATIONS: dict[str, tuple[str, str]] = {r: (row["subject"], row["object"]) for r, row in _TEXTS["relations"].items()}
CLAUSES: dict[str, list[str]] = _table("clauses")
ONE_HOP: dict[str, list[str]] = _table("questions")
KEYWORDS: dict[str, list[str]] = _table("keywords")  # what a user types into a search box
TWO_HOP: dict[tuple[str, str], str] = {(hops.split(" > ")[0], hops.split(" > ")[1]): text for hops, text in _TEXTS["two_hop"].items()}
NOUNS: dict[str, str] = {relation: words[0] for relation, words in KEYWORDS.items()}
RELATIONS_OF: dict[str, list[str]] = {}
for _relation, (_subject, _) in RELATIONS.items():
    RELATIONS_OF.setdefault(_subject, []).append(_relation)

DOCUMENT_MARKERS = [f"Doc {i}:" for i in range(1, 6)]
FIELD_MARKERS = ["Question:", "Answer:", "Gold:", "Query:", "Docs:"]


def _syllables(n: int, seed: int, ends: tuple[str, ...]) -> list[str]:
    """`n` distinct syllables, none a prefix of another, so that a name can be split in only one way."""
    rng, found = random.Random(seed), list[str]()
    onsets, vowels = "b d f g h j k l m n p r s t v z br dr kr st tr gl".split(), "a e i o u ai ou".split()
    while len(found) < n:
        word = rng.choice(onsets) + rng.choice(vowels) + rng.choice(ends)
        if not any(word.startswith(other) or other.startswith(word) for other in found):
            found.append(word)
    return found


def _two_syllables(n: int, seed: int, ends: tuple[str, ...]) -> list[str]:
    return [a.capitalize() + b for a, b in zip(_syllables(n, seed, ("n", "r", "l", "s", "m")), _syllables(n, seed + 50, ends), strict=True)]


_ENDS = ("n", "r", "l", "s", "m")
# type → (first pieces, second pieces, what joins them)
PIECES: dict[str, tuple[Sequence[str], Sequence[str], str]] = {
    "person": (_two_syllables(40, 1, _ENDS), _two_syllables(40, 3, ("n", "r", "sk", "l")), " "),
    "city": ([s.capitalize() for s in _syllables(24, 5, _ENDS)], _syllables(24, 13, _ENDS), ""),
    "country": ([s.capitalize() + "o" for s in _syllables(20, 7, _ENDS)], _WORDS["country_endings"], ""),
    "film": (_WORDS["adjectives"], _WORDS["nouns"], " "),
    "company": ([s.capitalize() + "a" for s in _syllables(24, 8, _ENDS)], _WORDS["company_endings"], ""),
}


@dataclass(frozen=True, slots=True)
class Entity:
    type: str
    first: str
    second: str

    @property
    def name(self) -> str:
        return self.first + PIECES[self.type][2] + self.second


class Names:
    """Random entities that are not in `banned` (the test world's, which must not leak into training)."""

    def __init__(self, rng: random.Random, banned: Container[Entity] = ()) -> None:
        self.rng, self.banned = rng, banned

    def draw(self, type: str) -> Entity:
        first, second, _ = PIECES[type]
        while True:
            entity = Entity(type, self.rng.choice(first), self.rng.choice(second))
            if entity not in self.banned:
                return entity

    def near(self, entity: Entity) -> Entity:
        """Another entity of the same type that shares one piece of the name."""
        first, second, _ = PIECES[entity.type]
        while True:
            keep_first = self.rng.random() < 0.5
            other = Entity(
                entity.type,
                entity.first if keep_first else self.rng.choice(first),
                self.rng.choice(second) if keep_first else entity.second,
            )
            if other != entity and other not in self.banned:
                return other


def clause(rng: random.Random, relation: str, subject: Entity) -> str:
    """A sentence up to its object, for instance "Silent Harbor was directed by"."""
    return rng.choice(CLAUSES[relation]).format(s=subject.name)


def query_for(rng: random.Random, subject: Entity, relation: str) -> str:
    keyword = rng.choice(KEYWORDS[relation])
    return f"{subject.name} {keyword}" if rng.random() < 0.7 else f"{keyword} {subject.name}"


def vocabulary() -> list[str]:
    def words(templates: Iterable[str]) -> list[str]:
        return [w for t in templates for w in t.replace("{s}", " ").replace("?", " ").split()]

    ordered = ["<pad>", "<bos>", "<eos>", "<unk>", *_WORDS["extra"]]
    for table in (CLAUSES, ONE_HOP, KEYWORDS):
        for templates in table.values():
            ordered += words(templates)
    ordered += words(TWO_HOP.values())
    for first, second, joint in PIECES.values():
        ordered += [*first, *(second if joint else [f"##{piece}" for piece in second])]
    return list(dict.fromkeys(ordered))


@cache
def make_tokenizer() -> Any:
    """The micro world's tokenizer: one token per word, two per name, one per tag; an ordinary fast Hugging Face tokenizer."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = vocabulary()
    core = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")])
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    # tags are ordinary added tokens, not special ones: decoding must never drop them
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in [*TAGS, *DOCUMENT_MARKERS, *FIELD_MARKERS]])
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", pair=None, special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
