"""The labelled (query, documents) pairs that a simulator is tuned on. ZeroSearch (arXiv 2505.04588), section 3.2."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from zerosearch.core.types import Document, Quality, Question
from zerosearch.engines.prompts import WEB, Imitated, simulator_text
from zerosearch.rollout.grammar import render_document


@dataclass(frozen=True, slots=True)
class SearchPair:
    """One search made against a real engine, and the kind of reply its documents are."""

    question: Question
    query: str
    documents: tuple[Document, ...]
    quality: Quality


Pair = TypeVar("Pair", bound=SearchPair)


def balanced(pairs: Sequence[Pair], rng: random.Random) -> list[Pair]:
    """As many useful as noisy pairs, in random order: the larger side loses some at random.

    Pairs that are already balanced are unchanged.
    """
    sides = [[p for p in pairs if p.quality is quality] for quality in Quality]
    size = min(map(len, sides))
    if len(pairs) == 2 * size:
        return list(pairs)
    chosen = [p for side in sides for p in rng.sample(side, size)]
    rng.shuffle(chosen)
    return chosen


def tuning_text(
    pair: SearchPair,
    template: str,
    bos: str,
    eos: str,
    lesser_weight: float = 1.0,
    documents: int | None = None,
    between: str = " ",
    imitated: Imitated = WEB,
) -> list[tuple[str, float]]:
    """Weighted text for `models.sft`: the prompt carries no loss, the documents and the end of the text do.

    `lesser_weight` is the weight of all documents but the first, which is the one a query is usually about. With `documents` the text
    ends after that many, to save time: the first ones are those that answer the query. `between` separates two
    documents.
    """
    first, *others = [render_document(d, i) for i, d in enumerate(pair.documents, start=1)] or [""]
    prompt = bos + simulator_text(template, pair.question, pair.query, pair.quality, len(pair.documents), imitated)
    kept = others if documents is None else others[: documents - 1]
    end = eos if len(kept) == len(others) else ""
    return [(prompt, 0.0), (first, 1.0), ("".join(between + d for d in kept) + end, lesser_weight)]
