"""Questions from a file: JSON lines, gzipped or not, or parquet."""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from zerosearch.core.errors import BadFile, BadInput, one_line
from zerosearch.core.install import not_installed
from zerosearch.core.scoring import usable_golds
from zerosearch.core.types import Question
from zerosearch.data.files import write_atomically

_GZIP_MAGIC = b"\x1f\x8b"


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file with their line numbers (blank lines are skipped), or the rows of a .parquet file with theirs.

    Raises BadFile for a file that is missing, empty, damaged, or not of that form.
    """
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    line_number = 0
    found = False
    try:
        with path.open("rb") as probe:
            gzipped = probe.read(2) == _GZIP_MAGIC
        with gzip.open(path, "rb") if gzipped else path.open("rb") as lines:
            for line_number, line in enumerate(lines, start=1):
                if line.strip():
                    found = True
                    yield line_number, _as_object(line, path, line_number)
    except FileNotFoundError:
        raise BadFile(f"{path}: no such file; check the path.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{path}, after line {line_number}: cannot be read ({error}); is the file whole?") from None
    if not found:
        raise BadFile(f"{path}: the file is empty; it needs one JSON object per line.")


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise BadFile(not_installed(f"{path}: a parquet file", "pyarrow", "parquet")) from None
    if not path.is_file():
        raise BadFile(f"{path}: no such file; check the path.")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pyarrow.ArrowException) as error:
        raise BadFile(f"{path}, after row {number}: cannot be read ({one_line(error, 120)}); is the file whole?") from None
    if not number:
        raise BadFile(f"{path}: the file is empty; it needs one question per row.")


def _as_object(line: bytes, path: Path, line_number: int) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig" if line_number == 1 else "utf-8"))
    except (ValueError, RecursionError):
        shown = line[:60].decode("utf-8", errors="replace").strip()
        raise BadFile(f"{path}, line {line_number}: not JSON, received {shown!r}; write one JSON object per line.") from None
    if not isinstance(value, dict):
        raise BadFile(f"{path}, line {line_number}: received a {type(value).__name__} instead of a JSON object; write one object per line.")
    return cast(dict[str, Any], value)


def text_field(row: Mapping[str, Any], name: str, path: Path, line_number: int) -> str:
    """A field that must be text. Raises BadFile."""
    where = f"{path}, line {line_number}"
    if name not in row:
        raise BadFile(f"{where}: no field '{name}'; the fields are {', '.join(sorted(row)) or 'none'}.")
    if not isinstance(row[name], str):
        raise BadFile(f"{where}: '{name}' must be text, received {str(row[name])[:60]!r}.")
    return row[name]


def golds_field(row: Mapping[str, Any], path: Path, line_number: int) -> tuple[str, ...]:
    """`golden_answers`, a list of text or one text. Raises BadFile."""
    where = f"{path}, line {line_number}"
    if "golden_answers" not in row:
        raise BadFile(f"{where}: no field 'golden_answers'; the fields are {', '.join(sorted(row)) or 'none'}.")
    value: object = row["golden_answers"]
    if isinstance(value, str):
        return (value,)
    golds = cast(list[object], value) if isinstance(value, list) else [None]
    answers = tuple(gold for gold in golds if isinstance(gold, str))
    if len(answers) < len(golds):
        shown = json.dumps(row["golden_answers"])[:60]
        raise BadFile(f"{where}: 'golden_answers' must be a list of text, received {shown}.")
    if not answers:
        raise BadFile(f"{where}: 'golden_answers' is empty; give at least one answer.")
    return answers


def load_questions(
    path: Path | str, limit: int | None = None, seed: int | None = None, on_unusable: Callable[[str], None] | None = None
) -> list[Question]:
    """Every question of a file, or `limit` of them: the first ones, or with `seed` a random sample, in the file's order.

    Fields beside id, question and golden_answers become metadata, and so do those of a `metadata` object (FlashRAG keeps `type` there). A
    question whose golds normalise to nothing cannot be scored: it is an error, or is left out and its id passed to `on_unusable`.
    Raises BadFile, naming the file and the line.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise BadInput(f"limit must be at least 1, received {limit}; leave it out to take every question.")
    questions: list[Question] = []
    line_of: dict[str, int] = {}
    for line_number, row in read_objects(path):
        question = _question(row, path, line_number)
        if question.id in line_of:
            raise BadFile(f"{path}, line {line_number}: id '{question.id}' is already on line {line_of[question.id]}; ids must be unique.")
        line_of[question.id] = line_number
        try:
            usable_golds(question.golden_answers)
            questions.append(question)
        except BadInput as error:
            if on_unusable is None:
                raise BadFile(f"{path}, line {line_number}: {error}") from None
            on_unusable(question.id)
    if limit is None or limit >= len(questions):
        return questions
    if seed is None:
        return questions[:limit]
    return [questions[i] for i in sorted(random.Random(seed).sample(range(len(questions)), limit))]


def _question(row: Mapping[str, Any], path: Path, line_number: int) -> Question:
    rest = {key: value for key, value in row.items() if key not in ("id", "question", "golden_answers")}
    if isinstance(nested := rest.get("metadata"), dict):
        del rest["metadata"]
        rest = {**cast(dict[str, Any], nested), **rest}
    return Question(
        id=text_field(row, "id", path, line_number),
        text=text_field(row, "question", path, line_number),
        golden_answers=golds_field(row, path, line_number),
        metadata=rest,
    )


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """A question file that `load_questions` reads: id, question, golden_answers, metadata."""
    rows = ({"id": q.id, "question": q.text, "golden_answers": list(q.golden_answers), "metadata": dict(q.metadata)} for q in questions)
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
