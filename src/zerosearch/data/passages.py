"""A corpus file, and the copy of it that an index keeps: passages by their position, memory-mapped.

A store is two files in an index's folder:
    corpus.jsonl    the passages, uncompressed, one per line
    offsets.npy     where each line starts, and one more for the end
"""

import gzip
import json
import mmap
import os
import zlib
from array import array
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import numpy as np

from zerosearch.core.errors import BadFile
from zerosearch.core.types import Document

MANIFEST = "manifest.json"  # of an index: what was indexed, and how
STORE_FILES = _LINES, _OFFSETS = ("corpus.jsonl", "offsets.npy")
_ENDS_BYTES = 2**20


class PassageStore:
    """The passages of a finished store; nothing is read into memory."""

    def __init__(self, folder: Path) -> None:
        self._offsets = np.load(folder / _OFFSETS, mmap_mode="r")
        with open(folder / _LINES, "rb") as file:
            self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, position: int) -> Document:
        return document_of(json.loads(self._lines[self._offsets[position] : self._offsets[position + 1]]))


def store_passages(corpus: Path, folder: Path) -> Iterator[Document]:
    """Copy a corpus into a store and yield its passages meanwhile; the store is complete when the iterator is exhausted.

    Raises BadFile at the first bad line, or if there is no passage.
    """
    offsets = array("q", [0])
    with open(folder / _LINES, "wb") as copy:
        for line, document in read_passages(corpus):
            offsets.append(offsets[-1] + copy.write(line + b"\n"))
            yield document
    if len(offsets) == 1:
        raise BadFile(f"{corpus}: has no passages; a corpus is a JSONL file with a 'text' on each line.")
    np.save(folder / _OFFSETS, np.frombuffer(offsets, dtype=np.int64))


def read_passages(corpus: Path) -> Iterator[tuple[bytes, Document]]:
    """Line number and passage of every line that is not blank. Raises BadFile at the first bad one."""
    number = 0
    try:
        with gzip.GzipFile(corpus) if corpus.suffix == ".gz" else open(corpus, "rb") as file:
            for number, line in enumerate(file, start=1):
                line = line.removeprefix(b"\xef\xbb\xbf").strip()
                if not line:
                    continue
                try:
                    record: Any = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise BadFile(f"{corpus}, line {number}: not JSON ({error}): {_shown(line)}") from error
                document = document_of(cast(Mapping[str, Any], record)) if isinstance(record, dict) else Document("")
                if not document.text.strip():
                    raise BadFile(f"{corpus}, line {number}: a passage needs a 'text' or 'contents': {_shown(line)}")
                yield line, document
    except (OSError, EOFError, zlib.error) as error:  # gzip raises all three
        raise BadFile(f"{corpus}: cannot be read past line {number} ({error}); is the file complete?") from error


def document_of(record: Mapping[str, Any]) -> Document:
    """`{id, title, text}`, or `{id, contents}` where contents is `"title"\\ntext` (FlashRAG, Search-R1)."""
    title, text = record.get("title"), record.get("text")
    if not isinstance(text, str):
        contents = record.get("contents")
        head, newline, rest = contents.partition("\n") if isinstance(contents, str) else ("", "", "")
        text = rest if newline else head
        if newline and not isinstance(title, str):
            title = head.strip().removeprefix('"').removesuffix('"')
    return Document(text, title if isinstance(title, str) else "", str(record.get("id", "")))


def indexed_text(document: Document) -> str:
    """What an index sees of a passage: the title once, then the text."""
    return document.text if document.text.startswith(document.title) else f"{document.title} {document.text}"


def existing(corpus_path: str | Path) -> Path:
    corpus = Path(corpus_path)
    if not corpus.is_file():
        raise BadFile(f"{corpus}: no such file; a corpus is a .jsonl or .jsonl.gz file, one passage per line.")
    return corpus


def fingerprint(corpus: Path) -> str:
    """The same for the same content in any place. Computed from the size and the first and last MiB, so it is quick at any size."""
    size = corpus.stat().st_size
    digest = blake2b(str(size).encode(), digest_size=8)
    with open(corpus, "rb") as file:
        digest.update(file.read(_ENDS_BYTES))
        file.seek(-min(size, _ENDS_BYTES), os.SEEK_END)
        digest.update(file.read())
    return digest.hexdigest()


def index_places(corpus: Path, suffix: str, index_dir: str | Path | None) -> list[Path]:
    """Where the index of a corpus may be: in `index_dir`, or beside it, or in the user's cache if that cannot be written."""
    if index_dir is not None:
        return [Path(index_dir)]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # corpora of one name in different folders do not share an index
    where = blake2b(str(corpus.resolve()).encode(), digest_size=6).hexdigest()
    return [corpus.with_name(f"{corpus.name}.{suffix}"), root / "zerosearch" / f"{corpus.name}-{where}.{suffix}"]


def read_manifest(index_dir: Path) -> dict[str, Any]:
    """What an index's manifest says; {} if there is none that can be read."""
    try:
        found = json.loads((index_dir / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("utf-8", "replace"))
