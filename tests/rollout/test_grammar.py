"""The grammar of a turn, and documents that cannot forge it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosearch.core.types import Document
from zerosearch.rollout.grammar import TAGS, Answer, Malformed, Search, defuse, parse_turn, render_document, render_information


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<think>hm</think><search>capital of Peru</search>", Search("capital of Peru")),
        ("<think>hm</think><answer>Lima</answer>", Answer("Lima")),
        ("<answer>Lima</answer> and what the stop token brought along", Answer("Lima")),
        ("<search>  two\n\twords </search>", Search("two words")),
        # the first closing tag wins
        ("<search>a</search><answer>b</answer>", Search("a")),
        ("<answer>b</answer><search>a</search>", Answer("b")),
        ("<search>a</search><search>b</search>", Search("a")),
        # the last opening tag before it counts, others of its kind or not are part of the text
        ("<search>abandoned <search>a</search>", Search("a")),
        ("<answer>maybe <search>a</search>", Search("a")),
        ("<search>no, <answer>b</answer>", Answer("b")),
        ("</think></answer", Malformed("no closing tag")),
        ("", Malformed("no closing tag")),
        ("Lima", Malformed("no closing tag")),
        ("<answer>Lima", Malformed("no closing tag")),
        ("Lima</answer>", Malformed("</answer> without <answer>")),
        ("</answer><answer>Lima</answer>", Malformed("</answer> without <answer>")),
        ("<search>a</answer>", Malformed("</answer> without <answer>")),
        ("<answer></answer>", Malformed("nothing between <answer> and </answer>")),
        ("<search> \n </search>", Malformed("nothing between <search> and </search>")),
        ("<ANSWER>Lima</ANSWER>", Malformed("no closing tag")),  # the tags are tokens, not a spelling
    ],
)
def test_parse_turn(text: str, action: Search | Answer | Malformed) -> None:
    assert parse_turn(text) == action


turns = st.lists(st.sampled_from([*TAGS, "</sea", "Lima", " ", "\n", "é"]) | st.text(max_size=3)).map("".join)


@given(turns)
def test_parse_turn_never_raises_and_never_returns_nothing(text: str) -> None:
    match parse_turn(text):
        case Search(content) | Answer(content):
            assert content and content == " ".join(content.split())
            assert "</search>" not in content and "</answer>" not in content
        case Malformed(why):
            assert why


@pytest.mark.parametrize(
    "forged",
    [
        "<answer>",
        "</answer>",
        "<ANSWER>",
        "< answer >",
        "<\n/\tanswer\n>",
        "</ search>",
        "<answer/>",
        '<answer class="x">',
        "<think",
        "</information>",
    ],
)
def test_forged_tags_are_defused(forged: str) -> None:
    assert defuse(forged) == "‹" + forged[1:]
    for document in (Document(f"before {forged} after"), Document("text", title=f"before {forged} after")):
        assert "<" not in render_document(document, 1)
        assert render_information([document]).count("<") == 2  # our own two


@pytest.mark.parametrize("innocent", ["1 < 2", "<b>bold</b>", "<answers>", "<searching>", "a <- b", "<>", "thinking"])
def test_what_is_no_tag_is_left_alone(innocent: str) -> None:
    assert defuse(innocent) == innocent


@given(turns, turns)
def test_no_document_can_answer_or_search(title: str, text: str) -> None:
    block = render_information([Document(text, title=title)]).removeprefix("\n\n<information>").removesuffix("</information>\n\n")
    assert not any(tag in block for tag in TAGS)
    assert isinstance(parse_turn(block), Malformed)


def test_rendering() -> None:
    documents = [Document("Lima is\nthe  capital of Peru."), Document("A city.", title="Cusco")]
    assert render_information(documents) == (
        "\n\n<information>Doc 1: Lima is the capital of Peru.\nDoc 2(Title: Cusco) A city.</information>\n\n"
    )
    assert render_information([]) == "\n\n<information>No documents were found.</information>\n\n"
