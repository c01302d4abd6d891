from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosearch.core.errors import BadInput
from zerosearch.core.scoring import (
    cover_match,
    documents_hold_answer,
    exact_match,
    holds_answer,
    is_yes_no,
    normalise,
    rank_of_answer,
    score,
    token_f1,
    usable_golds,
)
from zerosearch.core.types import Document, Scores


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Beatles!", "beatles"),
        ("An apple, a day", "apple day"),
        ("Theatre", "theatre"),  # an article only as a whole word
        ("U.S.A.", "usa"),
        ("well-known", "wellknown"),
        (" \n\t ", ""),
        ("---", ""),
        ("The", ""),
        ("Béla Kun", "béla kun"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text())
def test_every_usable_answer_matches_itself(text: str) -> None:
    if normalise(text):
        assert score(text, [text]) == Scores(1.0, 1.0, 1.0)


@given(st.text(alphabet="ab the.", max_size=30), st.lists(st.text(alphabet="ab the.", max_size=10), max_size=3))
def test_an_exact_match_is_also_a_cover_match_and_has_f1_one(answer: str, golds: list[str]) -> None:
    assert exact_match(answer, golds) <= cover_match(answer, golds)
    assert 0 <= token_f1(answer, golds) <= 1
    if exact_match(answer, golds):
        assert token_f1(answer, golds) == 1


@pytest.mark.parametrize(
    ("answer", "golds", "em", "cover", "f1"),
    [
        ("Rome", ["Rome"], 1, 1, 1),
        ("the rome.", ["Paris", "Rome"], 1, 1, 1),
        ("It is Rome.", ["Rome"], 0, 1, 2 * 1 / (3 + 1)),
        ("Paris or London or Rome", ["Rome"], 0, 1, 2 * 1 / (5 + 1)),
        ("Romeo", ["Rome"], 0, 0, 0),  # whole tokens only
        ("New York", ["New York City"], 0, 0, 2 * 2 / (2 + 3)),
        ("York New", ["New York"], 0, 0, 1),  # a bag has no order
        ("x x", ["x"], 0, 1, 2 * 1 / (2 + 1)),  # a repeated token is matched once
        ("a b c", ["z", "b c d", "c"], 0, 1, 2 * 2 / (2 + 3)),  # "a" is an article; the best gold is "b c d"
        ("", ["Rome"], 0, 0, 0),
        # a bare yes or no shares nothing with a longer answer, as HotpotQA's and 2WikiMultiHopQA's own scorers have it
        ("Yes.", ["yes"], 1, 1, 1),
        ("yes it is", ["yes"], 0, 1, 0),
        ("no", ["No Country for Old Men", "no way"], 0, 0, 0),
        ("no", ["yes", "no"], 1, 1, 1),
        # dates are text to them
        ("20 June 1837", ["June 20, 1837"], 0, 0, 1),
    ],
)
def test_scores_by_pencil(answer: str, golds: list[str], em: float, cover: float, f1: float) -> None:
    scores = score(answer, golds)
    assert (scores.em, scores.cover_em) == (em, cover)
    assert scores.f1 == pytest.approx(f1)


def test_no_answer_scores_zero() -> None:
    assert score(None, ["Rome"]) == Scores(0.0, 0.0, 0.0)


@pytest.mark.parametrize("answer", ["", "---", "the", "anything at all"])
def test_a_gold_that_normalises_to_nothing_never_matches(answer: str) -> None:
    golds = ["---", "the"]
    assert not exact_match(answer, golds)
    assert not cover_match(answer, golds)
    assert token_f1(answer, golds) == 0
    assert score(answer, ["---", "Rome"]) == Scores(0.0, 0.0, 0.0)


def test_usable_golds_keeps_the_others() -> None:
    assert usable_golds(["---", "Rome", "The"]) == ("Rome",)


@pytest.mark.parametrize("answer", [None, "Rome"])
def test_a_question_without_usable_golds_cannot_be_scored(answer: str | None) -> None:
    with pytest.raises(BadInput, match="no golden answer is left"):
        score(answer, ["---"])


@pytest.mark.parametrize(
    ("text", "golds", "held"),
    [
        ("It is in ROME.", ["Rome"], True),
        ("Romeo and Juliet", ["Rome"], False),
        ("an Anglo-American firm", ["American"], True),  # cover_match would read "angloamerican"
        ("He was born in 1932–33.", ["1932"], True),
        ("the U.S. army", ["U.S"], True),
        ("Be\u0301la Kun", ["B\u00e9la Kun"], True),  # composed or not
        ("Rome", ["The Rome"], False),  # articles are words here
        ("Paris, then Rome", ["Paris Rome", "then rome"], True),
        ("--- ---", ["---"], False),  # no word, no match
        ("anything", [], False),
    ],
)
def test_holds_answer(text: str, golds: list[str], held: bool) -> None:
    assert holds_answer(text, golds) is held


def test_a_title_counts_and_the_first_document_that_holds_it() -> None:
    documents = [Document("noise"), Document("It is old.", "Rome"), Document("Rome")]
    assert rank_of_answer(documents, ["Rome"]) == 2 and documents_hold_answer(documents, ["Rome"])
    assert rank_of_answer(documents[:1], ["Rome"]) is None and not documents_hold_answer(documents[:1], ["Rome"])


@pytest.mark.parametrize(
    ("golds", "yes_no"), [(["Yes."], True), (["no", "he did not"], True), (["noanswer"], True), (["Norway"], False), ([], False)]
)
def test_yes_and_no(golds: list[str], yes_no: bool) -> None:
    assert is_yes_no(golds) is yes_no
