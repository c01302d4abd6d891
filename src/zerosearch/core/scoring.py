"""How an answer is scored: the only place where EM, cover match and F1 are defined.

answer                      golds       EM   cover   F1
"Rome"                      ["Rome"]    1    1       1
"It is Rome."               ["Rome"]    0    1       1/2     precision 1/3, recall 1
"Paris or London or Rome"   ["Rome"]    0    1       1/3     precision 1/5, recall 1
"yes it is"                 ["yes"]     0    1       0       a yes or no never matches a longer answer in part

Dates are text, as in the benchmarks' own scorers: "20 June 1837" is not "June 20, 1837" unless the golds hold both.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from zerosearch.core.errors import BadInput
from zerosearch.core.types import Document, Scores

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_YES_NO = frozenset({"yes", "no", "noanswer"})
_WORD = re.compile(r"[^\W_]+")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """Lower-case, without punctuation, articles and surplus spaces: the normalisation of SQuAD's `evaluate-v1.1.py`."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _normalised(golds: Sequence[str]) -> list[str]:
    # some NQ golds ("---", "The") normalise to nothing, which every answer would contain
    return [text for text in map(normalise, golds) if text]


def usable_golds(golds: Sequence[str]) -> tuple[str, ...]:
    """The golds that can be matched at all. Raises BadInput if there is none: such a question cannot be scored."""
    usable = tuple(gold for gold in golds if normalise(gold))
    if not usable:
        raise BadInput(f"no golden answer is left after normalisation, received {list(golds)!r}; remove this question.")
    return usable


def is_yes_no(golds: Sequence[str]) -> bool:
    """True if a gold is a bare yes or no: almost any text holds such an answer, so its presence says nothing."""
    return any(normalise(gold) in _YES_NO for gold in golds)


def exact_match(answer: str, golds: Sequence[str]) -> bool:
    """True if the normalised answer equals a normalised gold."""
    return normalise(answer) in _normalised(golds)


def cover_match(answer: str, golds: Sequence[str]) -> bool:
    """True if the normalised answer contains a normalised gold, token by token: "Romeo" does not contain "Rome".

    Lenient with answers that name many things; published "EM" figures are sometimes this measure, taken over characters.
    """
    padded = f" {normalise(answer)} "
    return any(f" {gold} " in padded for gold in _normalised(golds))


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """F1 = 2PR / (P + R) over the bags of normalised tokens; the best over the golds.

    With c common tokens, P = c / |answer| and R = c / |gold|, so F1 = 2c / (|answer| + |gold|). Where either is a bare yes or no,
    it is 1 if they are equal, else 0: the rule of HotpotQA's and 2WikiMultiHopQA's own scripts.
    """
    text = normalise(answer)
    tokens = Counter(text.split())
    best = 0.0
    for gold in _normalised(golds):
        if gold != text and not _YES_NO.isdisjoint((gold, text)):
            continue
        gold_tokens = Counter(gold.split())
        best = max(best, 2 * (tokens & gold_tokens).total() / (tokens.total() + gold_tokens.total()))
    return best


def holds_answer(text: str, golds: Sequence[str]) -> bool:
    """True if the words of a gold follow one another in a document, whatever the case and the punctuation between them.

    The measure of retrievers since DPR (Karpukhin et al., 2020, `has_answer`), except that punctuation does not have to match.
    Unlike cover_match, "Anglo-American" holds "American", and articles count.
    """
    padded = f" {_words(text)} "
    return any(f" {words} " in padded for words in map(_words, golds) if words)


def documents_hold_answer(documents: Sequence[Document], golds: Sequence[str]) -> bool:
    """True if the title or the text holds a gold: the definition that the guard, labels, cards, training metrics and recall share."""
    return rank_of_answer(documents, golds) is not None


def rank_of_answer(documents: Sequence[Document], golds: Sequence[str]) -> int | None:
    """Rank, from 1, of the first document whose title and text hold a gold (`holds_answer`); None if none does."""
    return next((rank for rank, d in enumerate(documents, start=1) if holds_answer(f"{d.title} {d.text}", golds)), None)


def _words(text: str) -> str:
    return " ".join(_WORD.findall(unicodedata.normalize("NFC", text).casefold()))


def score(answer: str | None, golds: Sequence[str]) -> Scores:
    """All three scores of one answer; no answer scores zero. Raises BadInput if no gold can be matched."""
    golds = usable_golds(golds)
    if answer is None:
        return Scores(em=0.0, cover_em=0.0, f1=0.0)
    return Scores(em=float(exact_match(answer, golds)), cover_em=float(cover_match(answer, golds)), f1=token_f1(answer, golds))
