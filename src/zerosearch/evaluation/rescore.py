"""Score finished transcripts again, from any source: JSON lines of question, golden_answers and response.

Our own rollouts record who wrote what (`Span.author`). A raw transcript does not, so authorship is derived from the grammar.
"""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zerosearch.core.errors import BadFile, BadInput
from zerosearch.core.scoring import score
from zerosearch.core.statistics import bootstrap_interval
from zerosearch.core.types import Scores
from zerosearch.data.questions import golds_field, read_objects, text_field

# what an environment appends: a block right after a search. Punctuation may follow in the token that closed the search.
_REPLY = re.compile(r"(</search>)[^\w<]*<information>.*?(?:</information>|\Z)", re.DOTALL)
# any other closed block: the policy imagined documents, or the format is unknown. Nothing in it counts as an answer.
_BLOCK = re.compile(r"<information>.*?</information>", re.DOTALL)
# "put the query between <search> and </search>": the tags are mentioned, not used (unless an engine replied to it)
_MENTION = re.compile(r"between\s+<(search|answer)>\s+and\s+</\1>(?![^\w<]*<information>)")


def policy_text(response: str) -> str:
    """The transcript without what the policy did not write: replies to its searches, cut ones included.

    An `<information>` that follows no search was opened by the policy itself. If it is never closed, the text after it
    is still the policy's and its answer counts. Real replies go first, so that such an opening cannot pair up with
    the end of a later reply and swallow the policy's own turn between them.
    """
    return _BLOCK.sub("", _REPLY.sub(r"\1", _MENTION.sub("", response)))


def _contents(text: str, tag: str) -> list[str]:
    """The text in each complete `<tag>…</tag>`, from the last opening before each closing (as in `grammar.parse_turn`)."""
    pieces = text.split(f"</{tag}>")[:-1]
    contents = (" ".join(piece.rpartition(f"<{tag}>")[2].split()) for piece in pieces if f"<{tag}>" in piece)
    return [content for content in contents if content]


def last_answer(policy_text: str) -> str | None:
    """The last complete answer in what the policy wrote; None if there is none."""
    answers = _contents(policy_text, "answer")
    return answers[-1] if answers else None


def count_searches(policy_text: str) -> int:
    """Complete searches in what the policy wrote."""
    return len(_contents(policy_text, "search"))


def rescore(path: Path | str, with_rows: bool = False) -> dict[str, Any]:
    """EM, cover match and F1 of a file of transcripts, each with a 95% interval; with `with_rows` also each row's scores.

    Rows whose golds all normalise to nothing are left out and counted in "excluded"; rows without an answer score 0
    and are counted in "no_answer". Raises BadFile, naming the file and the line.
    """
    path = Path(path)
    rows: list[dict[str, Any]] = []
    scores: list[Scores] = []
    searches = no_answer = excluded = 0
    for line_number, row in read_objects(path):
        text_field(row, "question", path, line_number)
        golds = golds_field(row, path, line_number)
        response = text_field(row, "response", path, line_number)
        written = policy_text(response)
        answer = last_answer(written)
        try:
            row_scores = score(answer, golds)
        except BadInput:
            excluded += 1
            continue
        scores.append(row_scores)
        searches += count_searches(written)
        no_answer += answer is None
        rows.append({"id": row.get("id", str(line_number)), "answer": answer, **asdict(row_scores)})
    if not scores:
        raise BadFile(f"{path}: none of its {excluded} rows has a golden answer that can be matched; check 'golden_answers'.")
    report: dict[str, Any] = {
        "file": str(path),
        "n": len(scores),
        "excluded": excluded,
        **{name: bootstrap_interval([getattr(s, name) for s in scores]).as_json() for name in ("em", "cover_em", "f1")},
        "no_answer": no_answer,
        "searches_per_question": searches / len(scores),
    }
    return report | {"rows": rows} if with_rows else report
