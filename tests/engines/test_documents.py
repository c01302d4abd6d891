"""Documents as a model writes them, and as we write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerosearch.core.types import Document
from zerosearch.engines.documents import parse_documents, render_documents


def texts(reply: str, k: int = 3) -> list[str]:
    return [document.text for document in parse_documents(reply, k).documents]


ABC = {
    "one per line": "Doc 1: a\nDoc 2: b\nDoc 3: c",
    "one in mid-line": "Doc 1: a Doc 2: b Doc 3: c",
    "after a preamble in the same line": "Here you are: Doc 1: a Doc 2: b Doc 3: c",
    "preamble and closing words": "Here are three documents:\n\nDoc 1: a\n\nDoc 2: b\n\nDoc 3: c\n\nI hope this helps!",
    "Document": "Document 1 - a\nDocument 2 – b\nDocument 3: c",
    "no space": "Doc1: a\nDOC 2: b\ndoc. 3: c",
    "bold": "**Doc 1:** a\n**Doc 2**: b\n\n**Doc 3:** c",
    "headings": "### Document 1\na\n\n### Document 2\nb\n\n### Document 3\nc",
    "named in brackets": "[Doc 1] a\n[Doc 2]: b\n[Doc 3] c",
    "numbered twice": "1. Doc 1: a\n2. Doc 2: b\n3. Doc 3: c",
    "numbers": "1. a\n2. b\n3. c",
    "parentheses": "1) a\n2) b\n3) c",
    "brackets": "[1] a\n[2] b\n[3] c",
    "round brackets": "(1) a\n(2) b\n(3) c",
    "bold numbers": "**1.** a\n**2.** b\n**3.** c",
    "bullets": "Documents:\n- a\n* b\n• c",
    "paragraphs": "a\n\nb\n\nc",
    "paragraphs with words around": "Sure!\n\na\n\nb\n\nc\n\nLet me know if you need more.",
    "information tags": "<information>\nDoc 1: a\nDoc 2: b\nDoc 3: c\n</information>\nDone.",
    "a stop string that was cut": "<information>Doc 1: a\nDoc 2: b\nDoc 3: c",
    "thoughts": "<think>Doc 1: hm?</think>Doc 1: a\nDoc 2: b\nDoc 3: c",
    "code fence": "```text\nDoc 1: a\nDoc 2: b\nDoc 3: c\n```",
    "rules": "Doc 1: a\n---\nDoc 2: b\n---\nDoc 3: c",
    "Windows": "Doc 1: a\r\nDoc 2: b\r\nDoc 3: c\r\n",
    "the prompt ended in Doc 1:": " a\nDoc 2: b\nDoc 3: c",
    "the same in one line": " a Doc 2: b Doc 3: c",
    "the last one without its marker": "Doc 1: a\n\nDoc 2: b\n\nc",
    "numbered alike": "Doc 1: a\nDoc 1: b\nDoc 1: c",
}


@pytest.mark.parametrize("reply", ABC.values(), ids=ABC)
def test_every_way_to_write_a_b_c(reply: str) -> None:
    parsed = parse_documents(reply, 3)
    assert parsed.documents == (Document("a"), Document("b"), Document("c"))
    assert parsed.remark == ""


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Doc 1: In 1. FC Köln he played.\nDoc 2: On\n1. January it rained.", ["In 1. FC Köln he played.", "On 1. January it rained."]),
        ("1. He joined\n1. FC Köln\n2. Born on 2. May", ["He joined 1. FC Köln", "Born on 2. May"]),
        ("1. FC Köln is a club.\n\nBayern is another.", ["1. FC Köln is a club.", "Bayern is another."]),
        ("Doc 1: as Doc 2: says\nDoc 2: b", ["as Doc 2: says", "b"]),
        ("Document 1 of the treaty says so.\n\nb", ["Document 1 of the treaty says so.", "b"]),
        ("Doc 1: a\n\nmore of a\n\nDoc 2: b", ["a more of a", "b"]),
        ("1. **Berlin**: a\n   capital\n2. **Paris**: b", ["**Berlin**: a capital", "**Paris**: b"]),
        ("**1. Berlin** is\n**2. Paris** is", ["Berlin is", "Paris is"]),
        ("Here they are:\nA is b.\nC is", ["A is b.", "C is"]),
    ],
)
def test_what_only_looks_like_a_marker_splits_nothing(reply: str, expected: list[str]) -> None:
    assert texts(reply, 2) == expected


def test_a_paragraph_that_was_wrapped_is_one_document() -> None:
    assert texts("Paris is the capital\nof France.", 1) == ["Paris is the capital of France."]


def test_titles_may_hold_parentheses() -> None:
    reply = 'Doc 1(Title: "Tosca (opera)") a\nDoc 2 (Title: Aida): b\n**Doc 3 (Title: Norma)**\nc'
    assert parse_documents(reply, 3).documents == (Document("a", '"Tosca (opera)"'), Document("b", "Aida"), Document("c", "Norma"))


def test_a_title_that_was_cut_short_is_text() -> None:
    assert texts("Doc 1: a\nDoc 2(Title: Tos") == ["a", "(Title: Tos"]


@pytest.mark.parametrize(
    ("reply", "found", "remark"),
    [
        ("Doc 1: a\nDoc 2: b\nDoc 3: c", 3, "3 documents instead of 5"),
        ("Doc 1: a", 1, "1 document instead of 5"),
        ("Doc 1: a\nDoc 2: b\nDoc 3: c\nDoc 4: d\nDoc 5:", 4, "4 documents instead of 5"),
        ("", 0, "0 documents instead of 5"),
        ("Doc 1:\nDoc 2:", 0, "0 documents instead of 5"),
        ("a\n\nb\n\nc\n\nd\n\ne\n\nf", 5, "6 documents instead of 5: the last one dropped"),
        ("Doc 1: a Doc 2: b Doc 3: c Doc 4: d Doc 5: e Doc 6: f Doc 7: g", 5, "7 documents instead of 5: the last 2 dropped"),
    ],
)
def test_the_remark_counts(reply: str, found: int, remark: str) -> None:
    parsed = parse_documents(reply, 5)
    assert (len(parsed.documents), parsed.remark) == (found, remark)


def test_rendering() -> None:
    documents = [Document("Paris is\n the capital."), Document("A city.", title="Lyon (France)"), Document("x", title=":-)")]
    assert render_documents(documents) == "Doc 1: Paris is the capital.\nDoc 2(Title: Lyon (France)) A city.\nDoc 3(Title: :-]) x"


# words that are hard to read, as a model might write them; the tags of a reply are not text of a document
_HARD = "Doc Document doc 1 2 3 7 1: Doc_1: Doc_2: Doc_3: [1] (1) 1. 2) - * ** • # ( ) (Title: : ``` --- > Sure Here_are: I_hope"
_PIECES = st.sampled_from([*_HARD.replace("_", "\t").split(" "), "\n", "\n\n"]).map(lambda piece: piece.replace("\t", " "))
_TEXT = st.one_of(st.text(max_size=40), st.lists(_PIECES, max_size=12).map(" ".join))
_CLEAN = _TEXT.filter(lambda text: not any(tag in text for tag in ("</think>", "<information>", "</information>")))
_WORDY = _CLEAN.filter(lambda text: bool(text.split()))
_DOCUMENTS = st.lists(st.builds(Document, text=_WORDY, title=_CLEAN), min_size=1, max_size=6)


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@settings(max_examples=500, deadline=None)
@given(_DOCUMENTS)
def test_what_is_rendered_is_read_back(documents: list[Document]) -> None:
    parsed = parse_documents(render_documents(documents), len(documents))
    assert parsed.remark == ""
    assert [document.text for document in parsed.documents] == [in_one_line(document.text) for document in documents]
    for read, written in zip(parsed.documents, documents, strict=True):
        brackets = str.maketrans("[]", "()")  # unpaired parentheses of a title are written as brackets
        assert read.title.translate(brackets) == in_one_line(written.title).translate(brackets)


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.one_of(_TEXT, st.sampled_from(["\n", "\n\n", "<information>", "</information>", "</think>"])), max_size=12),
    st.integers(1, 6),
)
def test_no_reply_is_too_strange(pieces: list[str], k: int) -> None:
    parsed = parse_documents("".join(pieces), k)
    assert len(parsed.documents) <= k
    assert all(document.text.strip() for document in parsed.documents)
    assert (parsed.remark == "") == (len(parsed.documents) == k and "dropped" not in parsed.remark)
