"""The style of texts, and how far two sets of them are apart: lengths, words, repetition."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean

from zerosearch.core.scoring import normalise


def words_of(text: str) -> list[str]:
    return normalise(text).split()


def vocabulary_overlap(a: Sequence[str], b: Sequence[str]) -> float:
    """Σ_w min(p_a(w), p_b(w)), in [0, 1]: how much of their words two sets of texts share, by frequency (1 − total variation).

    Pencil: "x x y" and "x y z" share min(2/3, 1/3) + min(1/3, 1/3) = 2/3.
    """
    counts = [Counter(word for text in texts for word in words_of(text)) for texts in (a, b)]
    totals = [c.total() for c in counts]
    if not all(totals):
        return 0.0
    return sum(min(counts[0][w] / totals[0], counts[1][w] / totals[1]) for w in counts[0])


def bleu(candidate: Sequence[str], references: Sequence[Sequence[str]], order: int = 4) -> float:
    """BLEU of one text (Papineni et al., 2002), in [0, 1]: BP · exp(Σ_n log p_n / N), p_n the clipped precision of n-grams.

    BP = exp(min(0, 1 − r / c)), r the length of the reference nearest to the candidate's length c. For n ≥ 2, one is added to both
    counts of p_n, as such short texts need (Lin & Och, 2004). Pencil: "a b" against "a c" at order 1 is 1/2.
    """
    if not candidate or not references:
        return 0.0
    logs = 0.0
    for n in range(1, order + 1):
        grams, theirs = _grams(tuple(candidate), n), [_grams(tuple(reference), n) for reference in references]
        hits = sum(min(count, max(reference.get(gram, 0) for reference in theirs)) for gram, count in grams.items())
        total, smooth = sum(grams.values()), int(n > 1)
        if hits + smooth == 0:
            return 0.0
        logs += math.log((hits + smooth) / (total + smooth))
    nearest = min((len(r) for r in references), key=lambda r: (abs(r - len(candidate)), r))
    return math.exp(min(0.0, 1 - nearest / len(candidate)) + logs / order)


def self_bleu(texts: Sequence[str], most: int = 100, seed: int = 0) -> float:
    """Mean BLEU of each text against the others (Zhu et al., 2018): near 1 if they all say the same. On a seeded sample of `most`."""
    sample = [tuple(words_of(t)) for t in (random.Random(seed).sample(list(texts), most) if len(texts) > most else texts)]
    if len(sample) < 2:
        return 0.0
    return fmean(bleu(text, sample[:i] + sample[i + 1 :]) for i, text in enumerate(sample))


def near_duplicates(texts: Sequence[str], threshold: float = 0.8) -> float:
    """Share of the texts of one reply that nearly repeat an earlier one: |A ∩ B| / |A ∪ B| ≥ threshold (Jaccard)."""
    bags = [frozenset(words_of(text)) for text in texts]
    copies = sum(any(len(bag & b) >= threshold * max(1, len(bag | b)) for b in bags[:i]) for i, bag in enumerate(bags))
    return copies / len(texts) if texts else 0.0


@lru_cache(maxsize=4096)  # self-BLEU needs those of each text a hundred times
def _grams(words: tuple[str, ...], n: int) -> dict[tuple[str, ...], int]:
    return dict(Counter(words[i : i + n] for i in range(len(words) - n + 1)))
