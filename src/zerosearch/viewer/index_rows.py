"""A line of trajectories.jsonl.gz → a row of the index: everything a table shows or a filter asks for, and where the line lies."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic_core import from_json

from zerosearch.viewer.gzip_index import IndexedLine
from zerosearch.viewer.run_files import Record, mapping, mappings, number_or_none, object_or_none, text_of, texts

# token ids and log-probs are most of a line, and are not indexed; inside a JSON string the quotes would be escaped
_NUMBERS = re.compile(rb'"(?:token_ids|logprobs|advantages)": ?\[[^\]"]*\]')
_COUNTED = re.compile(rb'"token_ids": ?\[([^\]"]*)\]')

COLUMNS = (
    "source start length step phase question_id question folded type hops sample answer em f1 reward advantage searches useful noisy drawn "
    "stop_reason malformed policy_tokens tokens"
).split()


def parsed(data: bytes) -> Record | None:
    try:
        record = from_json(data, allow_inf_nan=True)  # twice as fast as json, but it refuses a lone surrogate
    except ValueError:
        return object_or_none(data)
    return cast(Record, record) if isinstance(record, dict) else None


def row_of(line: IndexedLine, source: int) -> tuple[list[Any], list[list[Any]]] | None:
    """A line as a row of the table, and its searches; None if it is not a record. Missing fields are blank, as an older run's are."""
    record = parsed(_NUMBERS.sub(b'"_":0', line.data))
    if record is None:
        return None
    question, scores = mapping(record.get("question")), mapping(record.get("scores"))
    spans, searches = mappings(record.get("spans")), mappings(record.get("searches"))
    counts = list(_token_counts(line.data, spans))
    qualities = [search.get("quality") for search in searches]
    useful, noisy = qualities.count("useful"), qualities.count("noisy")
    text, question_id, step = text_of(question.get("text")), text_of(question.get("id")), record.get("step")
    row: list[Any] = [
        *(source, line.start, len(line.data), step if type(step) is int else 0, text_of(record.get("phase")) or "train", question_id, text),
        f"{text} {question_id} {' '.join(texts(question.get('golden_answers')))}".casefold(),
        *(text_of(record.get("type")), text_of(record.get("hops")), _whole(record.get("sample"))),
        *(record["answer"] if isinstance(record.get("answer"), str) else None, number_or_none(scores.get("em"))),
        *(number_or_none(value) for value in (scores.get("f1"), record.get("reward"), record.get("advantage"))),
        *(len(searches), useful, noisy, _drawn(len(searches), useful, noisy)),
        *(text_of(record.get("stop_reason")), _whole(record.get("malformed_turns"))),
        *(sum(n for n, span in zip(counts, spans, strict=False) if span.get("author") == "policy"), sum(counts)),
    ]
    found = [
        [question_id, text_of(s.get("query")), s["quality"], i] for i, s in enumerate(searches) if s.get("quality") in ("useful", "noisy")
    ]
    return [_storable(value) for value in row], [[_storable(value) for value in search] for search in found]


def _token_counts(data: bytes, spans: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    lists = _COUNTED.findall(data)
    if len(lists) == len(spans):
        yield from (ids.count(b",") + 1 if ids.strip() else 0 for ids in lists)
    else:
        yield from (_whole(span.get("tokens")) for span in spans)  # an evaluation's rows have only counts


def _drawn(searches: int, useful: int, noisy: int) -> str:
    """The quality drawn for a rollout's searches, in words; "none drawn" if a real engine answered."""
    if not searches:
        return "no search"
    if not useful and not noisy:
        return "none drawn"
    return "useful and noisy" if useful and noisy else "useful" if useful else "noisy"


def _whole(value: object) -> int:
    return value if type(value) is int and abs(value) < 2**60 else 0


def _storable(value: Any) -> Any:
    """SQLite takes neither a lone surrogate nor an integer beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode()
    return value if not isinstance(value, int) or abs(value) < 2**63 else 0
