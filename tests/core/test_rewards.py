"""Rewards by hand, and the line that says what is wrong with one."""

from dataclasses import replace

import pytest

from zerosearch.core.errors import BadConfig
from zerosearch.core.rewards import REWARDS, reward_of, reward_weights
from zerosearch.core.types import Author, Question, Scores, SearchRecord, SearchResult, Span, StopReason, Trajectory

QUESTION = Question("q7", "?", ("Rome",))
SPANS = (Span(Author.PROMPT, (1,) * 9, ""), Span(Author.POLICY, (2,) * 40, "", (-1.0,) * 40), Span(Author.ENVIRONMENT, (3,) * 900, ""))
FOUND = tuple(SearchRecord(turn, "?", SearchResult(())) for turn in range(3))
ANSWERED = Trajectory(QUESTION, 0, SPANS, FOUND, StopReason.ANSWERED, answer="It is Rome", scores=Scores(em=0.0, cover_em=1.0, f1=0.5))


@pytest.mark.parametrize(
    ("name", "value"), [("f1", 0.5), ("em", 0.0), ("cover_em", 1.0), ("format", 1.0), ("searches", 0.3), ("length", 0.04)]
)
def test_terms(name: str, value: float) -> None:
    assert REWARDS[name](ANSWERED) == value  # the 900 tokens of a document are not the policy's length


def test_a_clean_format_has_no_malformed_turn_and_an_answer() -> None:
    assert REWARDS["format"](replace(ANSWERED, malformed_turns=1)) == REWARDS["format"](replace(ANSWERED, answer=None)) == 0


def test_terms_end_at_one() -> None:
    long = replace(ANSWERED, searches=FOUND * 9, spans=(Span(Author.POLICY, (2,) * 5000, "", (-1.0,) * 5000),))
    assert REWARDS["searches"](long) == REWARDS["length"](long) == 1


def test_composition() -> None:
    """0.5 + 0.1 · 1 - 0.05 · 0.3"""
    assert reward_of(ANSWERED, {"f1": 1.0, "format": 0.1, "searches": -0.05}) == pytest.approx(0.585)
    assert reward_weights("em") == {"em": 1.0} and reward_weights({"f1": 2}) == {"f1": 2}


@pytest.mark.parametrize("value", [1.7, -0.1, float("nan")])
def test_a_term_outside_its_range(value: float) -> None:
    with pytest.raises(BadConfig, match=r"the reward term 'mine' gave .* for question 'q7'; a term must lie in \[0, 1\]"):
        reward_of(ANSWERED, {"mine": 1.0}, {"mine": lambda t: value})


def test_names() -> None:
    with pytest.raises(BadConfig, match="unknown reward 'cover'; did you mean 'cover_em'?"):
        reward_weights("cover")
    with pytest.raises(BadConfig, match="no term with a weight other than 0"):
        reward_weights({"f1": 0.0})
