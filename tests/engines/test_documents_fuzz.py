"""1,000 replies as models write them: no exception, no lost document, no text invented."""

import random

import pytest

from zerosearch.engines.documents import parse_documents

WORDS = "river treaty 1848 Lima engine (later) museum; film, O'Hara its 3.14 south-east founded the of was “Blue” novel and".split()
MARKERS = (
    "Doc {n}: ", "Doc {n}:\n", "**Doc {n}:** ", "### Document {n}\n", "[Doc {n}] ", "- Doc {n} - ", "Document {n} - ", "Document {n}: ",
    "doc {n}: ", "{n}. ", "{n}) ", "[{n}] ", "({n}) ", "**{n}.** ", "> Doc {n}: ",
)  # fmt: skip
GAPS = ("\n", "\n\n", "\n \n\n", "\r\n")
BEFORE = ("", "", "Sure! Here are the documents:\n\n", "<information>\n", "<think>Which ones?</think>\n", "```\n")
AFTER = ("", "", "\n", "\n\nLet me know if you need more documents.", "\n</information>", "\n```")


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(4, 40))).capitalize() + "."


@pytest.mark.parametrize("part", range(10))
def test_no_lost_document(part: int) -> None:
    for i in range(100):
        rng = random.Random(f"{part}/{i}")
        k = rng.randint(1, 8)
        texts = [sentence(rng) for _ in range(k)]
        marker, gap, before, after = (rng.choice(choices) for choices in (MARKERS, GAPS, BEFORE, AFTER))
        reply = before + gap.join(marker.format(n=n) + text for n, text in enumerate(texts, start=1)) + after
        parsed = parse_documents(reply, k)
        assert [d.text for d in parsed.documents] == texts, reply
        assert parsed.remark == ""


@pytest.mark.parametrize("part", range(5))
def test_a_reply_that_breaks_off_keeps_what_is_whole(part: int) -> None:
    """A reply that is cut anywhere: every document before the cut is there, and the cut one as far as it goes."""
    for i in range(100):
        rng = random.Random(f"cut/{part}/{i}")
        k = rng.randint(2, 6)
        texts = [sentence(rng) for _ in range(k)]
        whole = "\n".join(f"Doc {n}: {text}" for n, text in enumerate(texts, start=1))
        cut = whole[: rng.randrange(len(texts[0]), len(whole))]
        finished = cut.count("\n")
        parsed = parse_documents(cut, k)
        assert [d.text for d in parsed.documents[:finished]] == texts[:finished], cut
        assert finished <= len(parsed.documents) <= finished + 1
