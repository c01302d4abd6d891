"""Trajectories → conversations that can be read: a dozen are chosen, their authors named, gold answers marked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from zerosearch.scoring import normalise
from zerosearch.viewer.run_files import Record, mapping, mappings, number_or_none, texts

SHOWN = 12
_LONGEST_TEXT = 12_000  # characters of one span
_TAG = r"</?(?:think|search|information|answer)>"
_AUTHORS = {"prompt": "Prompt", "policy": "Policy", "environment": "Environment"}


@dataclass(frozen=True, slots=True)
class Card:
    """What choosing needs to know of one record: `verdict` is right, wrong or unscored."""

    index: int
    step: int
    phase: str
    question_id: str
    verdict: str


@dataclass(frozen=True, slots=True)
class SearchView:
    number: int
    query: str
    quality: str  # "useful", "noisy", or "" for a real engine
    remark: str
    documents: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Block:
    author: str
    author_name: str
    token_count: int
    html: Markup
    search: SearchView | None
    hidden_characters: int


@dataclass(frozen=True, slots=True)
class Conversation:
    card: Card
    sample: str
    question: str
    golds: Sequence[str]
    answer: str | None
    scores: Sequence[tuple[str, str]]
    reward: str
    advantage: str
    stop_reason: str
    cause: str
    blocks: Sequence[Block]
    unshown_searches: Sequence[SearchView]  # searches whose reply never became text, as when the engine failed


def card(record: Record, index: int) -> Card:
    em = number_or_none(mapping(record.get("scores")).get("em"))
    step = record.get("step")
    return Card(
        index=index,
        step=step if isinstance(step, int) else 0,
        phase=str(record.get("phase", "train")),
        question_id=str(mapping(record.get("question")).get("id", "")),
        verdict="unscored" if em is None else "right" if em == 1 else "wrong",
    )


def choose(cards: Iterable[Card], count: int = SHOWN) -> list[Card]:
    """A deterministic sample: evenly over the steps up to the last, right and wrong in turn, one unscored if there is one.

    Each slot takes the record with the least cost: distance from its step (in slots), plus something for the wrong
    verdict, a question shown already, or the wrong phase. So a wish is granted by moving less than a slot, or not at all.
    """
    left = sorted(cards, key=lambda c: (c.step, c.index))
    if len(left) <= count:
        return left
    rank = {step: i for i, step in enumerate(sorted({c.step for c in left}))}
    slot_of_rank = (count - 1) / max(1, len(rank) - 1)
    chosen: list[Card] = []
    for slot in range(count):
        wanted = "unscored" if slot == count // 2 else ("right", "wrong")[slot % 2 == 0]
        phase = "evaluate" if slot % 3 == 2 else "train"
        seen = {c.question_id for c in chosen}
        costs = [
            abs(rank[c.step] * slot_of_rank - slot) * (len(rank) > 1)
            + 0.8 * (c.verdict != wanted)
            + 0.6 * (c.question_id in seen)
            + 0.3 * (c.phase != phase)
            for c in left
        ]
        chosen.append(left.pop(costs.index(min(costs))))
    return sorted(chosen, key=lambda c: (c.step, c.index))


def conversation(record: Record, its_card: Card) -> Conversation:
    """Everything one trajectory shows. Missing fields are left blank: an old or foreign file is still readable."""
    question = mapping(record.get("question"))
    golds = texts(question.get("golden_answers"))
    blocks, unshown = _blocks(record, _marks(golds))
    scores = mapping(record.get("scores"))
    answer = record.get("answer")
    return Conversation(
        card=its_card,
        sample=str(record.get("sample", "")),
        question=str(question.get("text", "")),
        golds=golds,
        answer=answer if isinstance(answer, str) else None,
        scores=[(name, _number(scores[key])) for key, name in (("em", "EM"), ("cover_em", "cover EM"), ("f1", "F1")) if key in scores],
        reward=_number(record.get("reward")),
        advantage=_number(record.get("advantage"), sign="+"),
        stop_reason=str(record.get("stop_reason", "unknown")).replace("_", " "),
        cause=str(record.get("cause") or ""),
        blocks=blocks,
        unshown_searches=unshown,
    )


def _blocks(record: Record, marks: re.Pattern[str]) -> tuple[list[Block], list[SearchView]]:
    searches = [_search(search, i) for i, search in enumerate(mappings(record.get("searches")), start=1)]
    blocks: list[Block] = []
    for span in mappings(record.get("spans")):
        author, text, token_ids = str(span.get("author", "")), str(span.get("text", "")), span.get("token_ids")
        # the environment also writes hints; only a reply to a search opens with <information>
        is_reply = author == "environment" and text.lstrip().startswith("<information>")
        blocks.append(
            Block(
                author=author if author in _AUTHORS else "environment",
                author_name=_AUTHORS.get(author, author),
                token_count=len(token_ids) if isinstance(token_ids, list) else 0,  # pyright: ignore[reportUnknownArgumentType]
                html=_marked(text[:_LONGEST_TEXT].strip(), marks),
                search=searches.pop(0) if is_reply and searches else None,
                hidden_characters=max(0, len(text) - _LONGEST_TEXT),
            )
        )
    return blocks, searches


def _search(search: Record, number: int) -> SearchView:
    quality = search.get("quality")
    return SearchView(
        number=number,
        query=str(search.get("query", "")),
        quality=quality if quality in ("useful", "noisy") else "",
        remark=str(search.get("remark") or ""),
        documents=[(str(d.get("title", "")), str(d.get("text", ""))) for d in mappings(search.get("documents"))],
    )


def _marks(golds: Sequence[str]) -> re.Pattern[str]:
    """Our tags, and the golds as whole words whatever their case and spacing; longest first, so that none hides in another."""
    usable = sorted((gold for gold in golds if normalise(gold)), key=len, reverse=True)
    words = [r"\s+".join(map(re.escape, gold.split())) for gold in usable]
    gold = rf"|(?P<gold>(?<!\w)(?:{'|'.join(words)})(?!\w))" if words else "|(?P<gold>(?!))"
    return re.compile(rf"(?P<tag>{_TAG}){gold}", re.IGNORECASE)


def _marked(text: str, marks: re.Pattern[str]) -> Markup:
    """The text, HTML-escaped piece by piece, with tags dimmed and golds marked."""
    html, end = Markup(), 0
    for match in marks.finditer(text):
        wrap = Markup("<mark>{}</mark>") if match["gold"] else Markup('<span class="tag">{}</span>')
        html += escape(text[end : match.start()]) + wrap.format(match[0])
        end = match.end()
    return html + escape(text[end:])


def _number(value: object, sign: str = "") -> str:
    number = number_or_none(value)
    return "" if number is None else f"{number:{sign}.3g}".replace("-", "−")
