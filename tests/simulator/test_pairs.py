"""Labelled searches, balanced and written as text to learn from."""

import random
from collections import Counter

from zerosearch.core.types import Document, Quality, Question, Sampling, SearchRequest
from zerosearch.engines.documents import parse_documents
from zerosearch.engines.prompts import SIMULATOR_PROMPTS, simulator_text
from zerosearch.engines.simulated import SimulatedEngine
from zerosearch.simulator.pairs import SearchPair, balanced, tuning_text

QUESTION = Question("q", "Where is Lima?", ("Peru", "Republic of Peru"))
PAIR = SearchPair(
    QUESTION, "Lima country", (Document("Lima lies in Peru."), Document("Cusco <answer> too.", title="Cusco")), Quality.USEFUL
)


def pairs(useful: int, noisy: int) -> list[SearchPair]:
    qualities = [Quality.USEFUL] * useful + [Quality.NOISY] * noisy
    return [SearchPair(QUESTION, f"query {i}", (), quality) for i, quality in enumerate(qualities)]


def test_balanced() -> None:
    for useful, noisy in ((30, 10), (10, 30), (20, 20), (5, 0)):
        given = pairs(useful, noisy)
        chosen = balanced(given, random.Random(0))
        size = min(useful, noisy)
        assert Counter(p.quality for p in chosen) == ({Quality.USEFUL: size, Quality.NOISY: size} if size else {})
        assert len({p.query for p in chosen}) == 2 * size and set(p.query for p in chosen) <= {p.query for p in given}
    given = pairs(30, 10)
    assert balanced(given, random.Random(1)) == balanced(given, random.Random(1)) != balanced(given, random.Random(2))
    first_half = Counter(p.quality for p in balanced(given, random.Random(0))[:10])
    assert len(first_half) == 2  # shuffled, not one side after the other
    assert balanced(pairs(20, 20), random.Random(0)) == pairs(20, 20)  # nothing to do


def test_tuning_text() -> None:
    (prompt, no_weight), *reply = tuning_text(PAIR, "{question}|{golden_answers}|{query}|{quality}|{k}|", "<s>", "</s>")
    assert (prompt, no_weight) == ("<s>Where is Lima?|Peru; Republic of Peru|Lima country|useful|2|", 0.0)
    assert "".join(text for text, _ in reply) == "Doc 1: Lima lies in Peru. Doc 2(Title: Cusco) Cusco ‹answer> too.</s>"
    assert all(weight == 1.0 for _, weight in reply)


def test_lesser_documents_may_weigh_less() -> None:
    _, (first, full), (others, lesser) = tuning_text(PAIR, "{query}", "", "</s>", lesser_weight=0.3)
    assert (first, full, lesser) == ("Doc 1: Lima lies in Peru.", 1.0, 0.3) and others.startswith(" Doc 2(") and others.endswith("</s>")


def test_no_documents() -> None:
    empty = SearchPair(QUESTION, "x", (), Quality.NOISY)
    assert "".join(text for text, _ in tuning_text(empty, "{query}:", "", "</s>")) == "x:</s>"


def test_a_reply_may_break_off_after_some_documents() -> None:
    prompt, first, rest = tuning_text(PAIR, "{k}:", "", "</s>", documents=1)
    assert (prompt[0], first[0], rest[0]) == ("2:", "Doc 1: Lima lies in Peru.", "")  # asked for all, and no end learned
    for as_many_as_there_are in (2, 5):
        assert tuning_text(PAIR, "{k}:", "", "</s>", documents=as_many_as_there_are) == tuning_text(PAIR, "{k}:", "", "</s>")


def test_what_it_learns_to_write_can_be_read() -> None:
    reply = "".join(text for text, weight in tuning_text(PAIR, "{query}", "", "") if weight)
    read = parse_documents(reply, 2)
    assert read.remark == "" and [d.title for d in read.documents] == ["", "Cusco"]
    assert read.documents[0].text == "Lima lies in Peru."


class Silent:
    async def complete(self, prompt: str, sampling: Sampling) -> str:
        return ""


def test_it_is_tuned_on_the_prompt_it_will_be_asked_with() -> None:
    for template in SIMULATOR_PROMPTS.values():
        engine = SimulatedEngine(Silent(), template, k=5, sampling=Sampling(10), seed=0)
        for quality in Quality:
            asked = engine.render_prompt(SearchRequest("Lima country", QUESTION, k=5), quality)
            assert simulator_text(template, QUESTION, "Lima country", quality, 5) == asked
