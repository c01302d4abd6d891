from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from zerosearch.viewer.conversations import Card, card, choose, conversation


def cards(steps: int, per_step: int, verdict: Callable[[int, int], str]) -> list[Card]:
    return [
        Card(index=step * per_step + i, step=step, phase="train", question_id=f"{step}-{i}", verdict=verdict(step, i))
        for step in range(steps)
        for i in range(per_step)
    ]


def test_few_are_all_shown() -> None:
    assert len(choose(cards(2, 3, lambda step, i: "wrong"))) == 6
    assert choose([]) == []


def test_the_choice_is_spread_mixed_and_reaches_the_last_step() -> None:
    chosen = choose(cards(100, 8, lambda step, i: "right" if i == 3 else "wrong"))
    steps = [c.step for c in chosen]
    assert steps[0] == 0 and steps[-1] == 99
    assert max(b - a for a, b in pairwise(steps)) <= 18
    assert 4 <= sum(c.verdict == "right" for c in chosen) <= 8
    assert chosen == choose(cards(100, 8, lambda step, i: "right" if i == 3 else "wrong"))


def test_a_single_unscored_one_in_the_middle_is_found() -> None:
    chosen = choose(cards(100, 8, lambda step, i: "unscored" if (step, i) == (54, 2) else "wrong"))
    assert "unscored" in {c.verdict for c in chosen}


def test_one_step_gives_a_dozen_different_questions() -> None:
    chosen = choose(cards(1, 40, lambda step, i: "right" if i % 2 else "wrong"))
    assert len({c.question_id for c in chosen}) == 12
    assert {c.verdict for c in chosen} == {"right", "wrong"}


def test_golds_are_marked_as_whole_words_and_tags_stay_text(make_trajectory: Callable[..., dict[str, Any]]) -> None:
    record = make_trajectory(120, 0, "train", random.Random(0))
    record["question"]["golden_answers"] = ["New York", "---"]
    record["spans"] = [{"author": "policy", "text": "<answer>NEW\nYORK & New Yorkers</answer>"}]
    html = str(conversation(record, card(record, 0)).blocks[0].html)
    assert html.count("<mark>") == 1
    assert "<mark>NEW\nYORK</mark> &amp; New Yorkers" in html
    assert html.startswith('<span class="tag">&lt;answer&gt;</span>')


def test_replies_carry_their_search_and_hints_do_not(make_trajectory: Callable[..., dict[str, Any]]) -> None:
    record = make_trajectory(120, 0, "train", random.Random(0))
    record["spans"].insert(2, {"author": "environment", "text": "That was not a legal action."})
    shown = conversation(record, card(record, 0))
    searches = [block.search.query if block.search else None for block in shown.blocks if block.author == "environment"]
    assert searches == [None, record["searches"][0]["query"], record["searches"][1]["query"]]
    assert not shown.unshown_searches


def test_a_search_that_failed_is_shown_all_the_same(make_trajectory: Callable[..., dict[str, Any]]) -> None:
    record = make_trajectory(120, 0, "train", random.Random(0))
    record["spans"] = record["spans"][:2]
    assert [s.query for s in conversation(record, card(record, 0)).unshown_searches] == [s["query"] for s in record["searches"]]
