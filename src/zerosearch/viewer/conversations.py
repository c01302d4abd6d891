"""A record → a readable conversation: who wrote what, what was drawn, where a gold answer occurs, how confident the policy was."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from zerosearch.core.scoring import normalise
from zerosearch.viewer.run_files import Record, mapping, mappings, number_or_none, text_of, texts

_TAG = r"</?(?:think|search|information|answer)>"
_AUTHORS = ("prompt", "policy", "environment")
Piece = tuple[str, str]  # text, and "tag", "gold" or ""


def conversation(record: Record, tokenizer: Path | None = None, masked: bool = True) -> dict[str, Any]:
    """Everything the page shows of one trajectory. Missing fields are blank: an old or foreign record is still readable.

    `tokenizer` spells the policy's tokens, if the record has their ids. `masked` is False if documents were trained on too.
    """
    question = mapping(record.get("question"))
    golds = texts(question.get("golden_answers"))
    marks = _marks(golds)
    searches = [_search(search, i, marks) for i, search in enumerate(mappings(record.get("searches")), start=1)]
    spans: list[dict[str, Any]] = []
    for span in mappings(record.get("spans")):
        author, text = text_of(span.get("author")), text_of(span.get("text"))
        # the environment also writes hints; only a reply to a search opens with <information>
        is_reply = author == "environment" and text.lstrip().startswith("<information>")
        spans.append(
            {
                "author": author if author in _AUTHORS else "environment",
                "masked": author != "policy" and (masked or author == "prompt"),
                "token_count": _token_count(span),
                "pieces": pieces(text.strip(), marks),
                "tokens": _tokens(span, tokenizer) if author == "policy" else None,
                "search": searches.pop(0) if is_reply and searches else None,
            }
        )
    scores, answer = mapping(record.get("scores")), record.get("answer")
    return {
        "step": record.get("step") if isinstance(record.get("step"), int) else 0,
        "phase": text_of(record.get("phase")) or "train",
        "sample": text_of(record.get("sample")),
        "question": {"id": text_of(question.get("id")), "text": text_of(question.get("text")), "golds": golds},
        "type": text_of(record.get("type")),
        "answer": answer if isinstance(answer, str) else None,
        "scores": {name: number_or_none(scores.get(name)) for name in ("em", "cover_em", "f1")} if scores else None,
        "reward": number_or_none(record.get("reward")),
        "advantage": number_or_none(record.get("advantage")),
        "stop_reason": text_of(record.get("stop_reason")) or "unknown",
        "cause": text_of(record.get("cause")),
        "malformed_turns": record.get("malformed_turns") if isinstance(record.get("malformed_turns"), int) else 0,
        "spans": spans,
        "unshown_searches": searches,  # their replies never became text, for instance because the engine failed
    }


def _search(search: Record, number: int, marks: re.Pattern[str]) -> dict[str, Any]:
    quality = search.get("quality")
    documents = [
        {"title": text_of(d.get("title")), "pieces": pieces(text_of(d.get("text")), marks)} for d in mappings(search.get("documents"))
    ]
    return {
        "number": number,
        "query": text_of(search.get("query")),
        "quality": quality if quality in ("useful", "noisy") else "",
        "remark": text_of(search.get("remark")),
        "documents": documents,
    }


def _token_count(span: Record) -> int:
    ids, count = span.get("token_ids"), span.get("tokens")
    if isinstance(ids, list) and ids:
        return len(cast(list[object], ids))
    return count if isinstance(count, int) else 0


def _tokens(span: Record, tokenizer: Path | None) -> dict[str, Any] | None:
    """The tokens of a span: `texts` that make up its text, with a log-prob each and, if the algorithm gives one per token, an advantage."""
    ids = span.get("token_ids")
    if tokenizer is None or not isinstance(ids, list) or not ids:
        return None
    spelled = spell(tokenizer, cast(list[object], ids))
    if spelled is None:
        return None
    numbers = {name: _aligned(span.get(name), len(spelled)) for name in ("logprobs", "advantages")}
    return {"texts": spelled, **numbers} if numbers["logprobs"] else None


def _aligned(value: object, length: int) -> list[float | None] | None:
    if not isinstance(value, list) or len(values := cast(list[object], value)) != length:
        return None
    return [number_or_none(item) for item in values]


def spell(tokenizer: Path, ids: Sequence[object]) -> list[str] | None:
    """The text that each token adds; a character that several tokens share is added by the last. None if these are not its tokens."""
    from tokenizers.decoders import DecodeStream

    words = _load_tokenizer(tokenizer, tokenizer.stat().st_mtime_ns)
    size = words.get_vocab_size() if words else 0
    if words is None or not all(isinstance(i, int) and 0 <= i < size for i in ids):
        return None
    stream = DecodeStream(skip_special_tokens=False)
    return [stream.step(words, i) or "" for i in ids]


@lru_cache(maxsize=4)
def _load_tokenizer(file: Path, _: int) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file))
    except Exception:  # tokenizers raises a bare Exception for a broken file
        return None


def _marks(golds: Sequence[str]) -> re.Pattern[str]:
    """Our tags, and the golds as whole words in any case and spacing; longest first, so that none hides another."""
    usable = sorted((gold for gold in golds if normalise(gold)), key=len, reverse=True)
    words = [r"\s+".join(map(re.escape, gold.split())) for gold in usable]
    gold = rf"|(?P<gold>(?<!\w)(?:{'|'.join(words)})(?!\w))" if words else "|(?P<gold>(?!))"
    return re.compile(rf"(?P<tag>{_TAG}){gold}", re.IGNORECASE)


def pieces(text: str, marks: re.Pattern[str]) -> list[Piece]:
    """The text, cut where a tag or a gold answer begins or ends."""
    found, end = list[Piece](), 0
    for match in marks.finditer(text):
        found += [(text[end : match.start()], ""), (match[0], "gold" if match["gold"] else "tag")]
        end = match.end()
    return [piece for piece in (*found, (text[end:], "")) if piece[0]]


def documents_marked(documents: object, golds: Sequence[str]) -> list[dict[str, Any]]:
    """Documents of a stored reply, ready to be shown side by side."""
    return [{"title": text_of(d.get("title")), "pieces": pieces(text_of(d.get("text")), _marks(golds))} for d in mappings(documents)]
