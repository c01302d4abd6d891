"""Documents as a model writes them: text ↔ list. Reading is tolerant, writing is strict."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from zerosearch.core.types import Document


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """The documents of a reply; `remark` says what was unusual ("3 documents instead of 5"), "" if nothing was."""

    documents: tuple[Document, ...]
    remark: str


@dataclass(frozen=True, slots=True)
class _Marker:
    """Where a document's marker stands, and what the marker says."""

    start: int
    end: int
    number: int
    title: str = ""
    opens_line: bool = True
    leaves_bold_open: bool = False  # "**1. Berlin** is …": the marker took the opening ** but not the closing one


# "Doc 1: …", "Doc 1(Title: X) …", "**Doc 1:** …", "### Document 1", "[Doc 1] …", "- Doc 1 - …", "1. Doc 1: …"
_NAMED = re.compile(
    r"""^[ \t>#*•–-]{0,8} (?:\d{1,3}[.)][ \t]+)?            # a quote, a heading, a bullet, a number
    (?P<bold>(?<=\*\*)|\*\*)?
    \[?(?:doc|document)\.?[ \t]*\#?(?P<number>\d{1,3})\]?
    (?:
        (?P<title>[ \t]*(?=\(title\b))                      # read separately: titles may nest parentheses
      | (?(bold)(?:[ \t]*\*\*)?) [ \t]*
        (?: : | [.)](?=\s|$) | (?<=\]) | [ \t][-–—][ \t] | $ )
        (?(bold)(?:\*\*)?)
    )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
# within a line only the spelling that cannot mean anything else
_NAMED_INLINE = re.compile(
    r"""(?<=\s) (?P<bold>\*\*)? \b(?:doc|document)[ \t](?P<number>\d{1,3})
    (?: (?P<title>[ \t]?(?=\(title:)) | : (?(bold)(?:\*\*)?) )""",
    re.IGNORECASE | re.VERBOSE,
)
# "1. …", "1) …", "1: …", "[1] …", "(1) …", "**1.** …"
_NUMBERED = re.compile(
    r"""^[ \t>#]{0,8} (?P<bold>\*\*)?
    (?: (?P<plain>\d{1,3})[.):](?=\s|\*\*) | \[(?P<square>\d{1,3})\][.:]? | \((?P<round>\d{1,3})\) )
    (?P<closed>\*\*)?""",
    re.MULTILINE | re.VERBOSE,
)
# "…\nDo": a marker in which the reply was cut off
_CUT_MARKER = re.compile(r"\n[ \t]*D(?:o(?:c(?:[ \t]\d{0,3})?)?)?\Z")
_BULLET = re.compile(r"^[ \t]{0,8}[-*•–][ \t]+(?=\S)", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_RULE = re.compile(r"^[ \t]*(?:```\w*|[-*_=]{3,})[ \t]*$", re.MULTILINE)

# what models say around a list, and never inside a document
_CHATTER = re.compile(
    r"(?:sure|certainly|of course|okay|ok|absolutely|here (?:are|is)|below (?:are|is)|i hope|let me know|feel free|please let|"
    r"(?:these|the|all|the above|all of these)\b.{0,30}\b(?:documents|passages|results|snippets)\b)\b",
    re.IGNORECASE,
)
_SENTENCE_END = (".", "!", "?", '"', "”", ")", "…", "]")


def parse_documents(text: str, k: int) -> ParsedReply:
    """Read a model's reply as a list of at most k documents.

    The first of these that occurs is used: "Doc 1: …", "1. …" or "[1] …", bullets, paragraphs, lines.
    A marker counts at the start of a line; within a line only "Doc n:" does, when it continues the numbering. Never raises.
    """
    text = _unwrapped(text)
    if _NAMED.search(text):
        text = _CUT_MARKER.sub("", text)
    for find in (_named_markers, _numbered_markers, _bullet_markers):
        documents = _marked(text, find(text, k), k)
        if documents is not None:
            break
    else:
        documents = _unmarked(text)
    return ParsedReply(tuple(documents[:k]), _remark(len(documents), k))


def render_documents(documents: Sequence[Document]) -> str:
    """One line per document, `Doc 1: text` or `Doc 1(Title: T) text`, as a simulator is taught to write them.

    Whitespace is collapsed to single spaces; parentheses that do not pair up in a title become square brackets, because the
    title ends where its parenthesis does. Ids are not written.
    """
    return "\n".join(_rendered(position, document) for position, document in enumerate(documents, start=1))


def _rendered(position: int, document: Document) -> str:
    title, text = _collapsed(document.title), _collapsed(document.text)
    if not title:
        return f"Doc {position}: {text}"
    if _closing(f"({title})", 0) != len(title) + 1:
        title = title.replace("(", "[").replace(")", "]")
    return f"Doc {position}(Title: {title}) {text}"


def _remark(found: int, k: int) -> str:
    if found == k:
        return ""
    remark = f"{found} document{'' if found == 1 else 's'} instead of {k}"
    if found <= k:
        return remark
    return f"{remark}: the last {'one' if found == k + 1 else found - k} dropped"


def _unwrapped(text: str) -> str:
    """The reply without what is wrapped around the list: thoughts, <information> tags, code fences, rules."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for tag in ("</think>", "<information>"):
        _, _, after = text.partition(tag)
        text = after if after.strip() else text.replace(tag, "\n")
    before, _, after = text.partition("</information>")
    return _RULE.sub("", before if before.strip() else after).strip()


def _named_markers(text: str, k: int) -> list[_Marker]:
    """Every "Doc n" that opens a line, and every "Doc n:" within a line that continues the numbering.

    A document may mention "Doc 2:" itself. A mention within a line counts if its number follows the one before it, is
    below that of the next line's marker and, where documents stand on lines of their own, not above k.
    """
    lines = [_named(match, text, opens_line=True) for match in _NAMED.finditer(text)]
    starts = {marker.start for marker in lines}
    more = text.lower().count("doc") > len(lines)  # most replies have no other, and this is the slowest of these searches
    inline = [_named(match, text, opens_line=False) for match in _NAMED_INLINE.finditer(text)] if more else []
    found = sorted([*lines, *(m for m in inline if m.start not in starts)], key=lambda marker: marker.start)
    taken: list[_Marker] = []
    for i, marker in enumerate(found):
        if taken and marker.start < taken[-1].end:
            continue
        if marker.opens_line:
            taken.append(marker)
            continue
        # a reply may open with the text of document 1, if the prompt ended in "Doc 1:"
        expected = (taken[-1].number + 1,) if taken else (1, 2)
        bound = next((m.number for m in found[i:] if m.opens_line), 1000 if len(lines) < 2 and k > 1 else k + 1)
        if marker.number in expected and marker.number < bound:
            taken.append(marker)
    # a single one within a sentence ("as Doc 1: says") is not a marker
    return taken if len(taken) > 1 or any(marker.opens_line for marker in taken) else []


def _named(match: re.Match[str], text: str, *, opens_line: bool) -> _Marker:
    end, title = match.end(), ""
    if match["title"] is not None:
        closing = _closing(text, end)
        if closing > 0:
            title = _collapsed(re.sub(r"^\(title:?", "", text[end:closing], flags=re.IGNORECASE))
            end = closing + 1
            after = re.compile(r"[ \t]*\*\*:?|:\*\*|:" if match["bold"] is not None else ":").match(text, end)
            end = after.end() if after else end
    return _Marker(match.start(), end, int(match["number"]), title, opens_line)


def _closing(text: str, opening: int) -> int:
    """Index of the parenthesis that closes the one at `opening`, on the same line; -1 if none does."""
    depth = 0
    for i in range(opening, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
        if text[i] == "\n":
            break
    return -1


def _numbered_markers(text: str, _: int) -> list[_Marker]:
    """Line starts that count 1, 2, 3, …; "1. FC Köln" at the start of a line in document 3 is not the next number."""
    taken: list[_Marker] = []
    for match in _NUMBERED.finditer(text):
        number = int(match["plain"] or match["square"] or match["round"])
        if number == taken[-1].number + 1 if taken else number == 1 or (number == 2 and match.start() > 0):
            bold_open = match["bold"] is not None and match["closed"] is None
            taken.append(_Marker(match.start(), match.end(), number, leaves_bold_open=bold_open))
    return taken


def _bullet_markers(text: str, _: int) -> list[_Marker]:
    return [_Marker(match.start(), match.end(), i) for i, match in enumerate(_BULLET.finditer(text), start=1)]


def _marked(text: str, markers: Sequence[_Marker], k: int) -> list[Document] | None:
    """The documents that follow markers; None if the markers do not form a list."""
    if not markers:
        return None
    leading = text[: markers[0].start].strip()
    ends = [marker.start for marker in markers[1:]] + [len(text)]
    bodies = [_without_chatter(_paragraphs(text[m.end : end])) for m, end in zip(markers, ends, strict=True)]
    if len(markers) == 1 and markers[0].number == 1 and len(bodies[0]) > 1 and k > 1:
        return None  # one marker and several paragraphs: the paragraphs are the documents
    documents = [Document(leading)] if markers[0].number > 1 and not _is_chatter(leading) else []
    late: list[str] = []
    if len(documents) + len(bodies) < k and len(bodies) > 1 and all(len(body) <= 1 for body in bodies[:-1]):
        # fewer than requested, one paragraph each, and more paragraphs at the end: the model stopped numbering
        bodies[-1], late = bodies[-1][:1], bodies[-1][1:]
    for marker, body in zip(markers, bodies, strict=True):
        content = _collapsed(" ".join(body))
        documents.append(Document(content.replace("**", "", 1) if marker.leaves_bold_open else content, marker.title))
    documents += [Document(paragraph) for paragraph in late]
    return [Document(_collapsed(d.text), d.title) for d in documents if d.text.strip()]


def _unmarked(text: str) -> list[Document]:
    """Paragraphs; or, if there is only one, its lines if each ends like a sentence."""
    paragraphs = _paragraphs(text)
    if len(paragraphs) <= 2:
        # a preamble may be a paragraph of its own
        lines = [line for paragraph in paragraphs for line in paragraph.split("\n") if line.strip()]
        listed = lines[1:] if lines and _is_chatter(lines[0]) else lines
        if len(listed) > len(paragraphs) and all(line.rstrip().endswith(_SENTENCE_END) for line in listed[:-1]):
            paragraphs = lines
    if len(paragraphs) > 1 and _is_chatter(paragraphs[0]):
        paragraphs = paragraphs[1:]
    return [Document(_collapsed(paragraph)) for paragraph in _without_chatter(paragraphs) if paragraph.strip()]


def _paragraphs(text: str) -> list[str]:
    return [paragraph.strip() for paragraph in _BLANK_LINE.split(text) if paragraph.strip()]


def _without_chatter(paragraphs: list[str]) -> list[str]:
    """The documents without closing remarks; the first paragraph always counts as a document."""
    kept = list(paragraphs)
    while len(kept) > 1 and _is_chatter(kept[-1]):
        kept.pop()
    return kept


def _is_chatter(text: str) -> bool:
    return not text or text.rstrip("*_ ").endswith(":") or _CHATTER.match(text) is not None


def _collapsed(text: str) -> str:
    return " ".join(text.split())
