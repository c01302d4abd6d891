"""The grammar of a turn: text → Search | Answer | Malformed, and documents → an `<information>` block.

A turn of the policy is `<think>…</think>` followed by `<search>query</search>` or `<answer>text</answer>`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from zerosearch.core.types import Document

TAGS = ("<think>", "</think>", "<search>", "</search>", "<information>", "</information>", "<answer>", "</answer>")
STOP_TAGS = ("</search>", "</answer>")

_TAG_NAMES = "|".join(tag.strip("<>") for tag in TAGS if not tag.startswith("</"))
# what a tokenizer or a tolerant reader might still take for one of our tags
_TAG_LIKE = re.compile(rf"<(?=\s*/?\s*(?:{_TAG_NAMES})\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Search:
    query: str


@dataclass(frozen=True, slots=True)
class Answer:
    text: str


@dataclass(frozen=True, slots=True)
class Read:
    """Which of the documents just listed to open (only `ra-agent` uses it, see rollout/agents.py)."""

    numbers: str


@dataclass(frozen=True, slots=True)
class Malformed:
    why: str


Action = Search | Answer | Read | Malformed
_ACTIONS = {"</search>": Search, "</answer>": Answer, "</read>": Read}


def parse_turn(text: str, stop_tags: Sequence[str] = STOP_TAGS) -> Action:
    """What the policy did in one turn: the action whose closing tag, one of `stop_tags`, comes first.

    The opening tag is the last one before that closing tag, so a query never swallows an earlier, abandoned one.
    Anything after the closing tag (a stop string may end inside a token) is not part of the action.
    """
    ends = [(text.find(tag), tag) for tag in stop_tags if tag in text]
    if not ends:
        return Malformed("no closing tag")
    end, closing = min(ends)
    opening = closing.replace("/", "")
    start = text.rfind(opening, 0, end)
    if start < 0:
        return Malformed(f"{closing} without {opening}")
    content = " ".join(text[start + len(opening) : end].split())
    if not content:
        return Malformed(f"nothing between {opening} and {closing}")
    return _ACTIONS[closing](content)


def defuse(text: str) -> str:
    """Text that cannot be taken for our tags: `<answer>` from a web page becomes `‹answer>`."""
    return _TAG_LIKE.sub("‹", text)


def render_document(document: Document, position: int) -> str:
    """One line, for instance `Doc 2(Title: Paris) Paris is …`; tags inside the document are defused."""
    title = f"Doc {position}(Title: {document.title})" if document.title else f"Doc {position}:"
    return defuse(" ".join(f"{title} {document.text}".split()))


def render_information(documents: Sequence[Document]) -> str:
    """The block the environment appends after a search. If nothing was found, it says so in words."""
    lines = [render_document(document, i) for i, document in enumerate(documents, start=1)]
    return "\n\n<information>" + ("\n".join(lines) or "No documents were found.") + "</information>\n\n"
