"""A real search engine over a corpus file: BM25 by bm25s, whose index is built once and then memory-mapped.

An index is a folder, `<corpus>.bm25`, that is complete or absent:
    manifest.json               what was indexed, and how; if any of it has changed the index is stale
    corpus.jsonl, offsets.npy   the passages (data/passages.py)
    *.index.*                   bm25s' own files: the scores as a sparse matrix, one column per term
"""

import json
import logging
import re
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, cast

import bm25s
import numpy as np
import Stemmer
from bm25s.stopwords import STOPWORDS_EN
from numpy.typing import NDArray

from zerosearch.core.errors import BadFile
from zerosearch.core.function_engine import FunctionEngine
from zerosearch.core.types import Document, SearchRequest, SearchResult
from zerosearch.data.passages import MANIFEST, PassageStore, existing, index_places, indexed_text, read_manifest, store_passages

_BM25: Any = bm25s.BM25  # has no types, like the stemmer
_stem_word: Callable[[str], str] = cast(Any, Stemmer).Stemmer("english").stemWord
logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG, whatever the application configures

Progress = Callable[[str], None]

_FORMAT = "zerosearch bm25 index 1"
_WORDS = re.compile(r"(?u)\b\w\w+\b")  # bm25s' own pattern
_STOP_WORDS = frozenset(STOPWORDS_EN)
_REPORT_EVERY = 20_000
_BLOCK = 256


class BM25Engine:
    """The SearchEngine of a local corpus: `BM25Engine("corpus.jsonl.gz")`.

    score(q, d) = Σ_t∈q idf(t) · tf / (tf + k1 (1 - b + b |d| / mean |d|)), k1 = 1.5, b = 0.75 (Lucene's variant, bm25s'
    defaults), over lower-cased words of two letters or more, without English stop words, stemmed (Snowball English).
    """

    def __init__(self, corpus: str | Path, index_dir: str | Path | None = None, progress: Progress | None = None) -> None:
        """The engine of a JSONL or JSONL.gz corpus with `text` (and `id`, `title`), or `contents` as FlashRAG writes it.

        The index is looked for in `index_dir`, then beside the corpus (`<corpus>.bm25/`), then in the user's cache; if it is
        missing or stale, it is built in the first of these that can be written; an index of another corpus is left alone. `progress` gets
        a line now and then; by default it is printed on stderr if building takes long.

        Raises BadFile, naming the file and the line, if the corpus is missing, empty or malformed.
        """
        corpus = existing(corpus)
        manifest = _manifest_of(corpus)
        places = index_places(corpus, "bm25", index_dir)
        for place in places:
            if read_manifest(place) == manifest:
                with suppress(OSError, ValueError, EOFError):  # a damaged index is rebuilt
                    self._load(place)
                    return
        reasons: list[str] = []
        for place in places:
            try:
                self._load(_built(corpus, place, manifest, progress or _once_it_takes_long()))
                return
            except OSError as error:  # no permission, a read-only or a full disk: all are treated alike
                reasons.append(str(error))
        raise BadFile(f"{corpus}: no index can be written for it: {'; '.join(reasons)}; choose another index_dir.")

    @classmethod
    def load(cls, index_dir: Path) -> Self:
        """A finished index, of any corpus."""
        engine = cls.__new__(cls)
        engine._load(index_dir)
        return engine

    def _load(self, index_dir: Path) -> None:
        """Only the vocabulary is read into memory."""
        index = _BM25.load(index_dir, mmap=True)
        # plain views of the mapped files: slicing np.memmap itself costs more
        self._scores: NDArray[np.float32] = np.asarray(index.scores["data"])
        self._positions: NDArray[np.int32] = np.asarray(index.scores["indices"])
        self._columns: NDArray[np.int64] = np.asarray(index.scores["indptr"])
        self._vocabulary: dict[str, int] = index.vocab_dict
        self._passages = PassageStore(index_dir)
        self._engine = FunctionEngine(self._search)
        self.index_dir = index_dir

    def __reduce__(self) -> tuple[Any, ...]:
        return BM25Engine.load, (self.index_dir,)  # another process maps the same files

    def __len__(self) -> int:
        return len(self._passages)

    def passage(self, position: int) -> Document:
        return self._passages[position]

    async def search(self, request: SearchRequest) -> SearchResult:
        """The best `request.k` passages with a term of `request.query` in them; there may be none."""
        return await self._engine.search(request)

    def retrieve(self, query: str, k: int) -> list[tuple[Document, float]]:
        """At most k passages with their scores, best first, ties in the order of the corpus."""
        return self._best(self._terms(query), k)

    async def _search(self, query: str, k: int) -> list[Document]:
        # no thread: its end would decide which rows the sampler decodes together, and so the last bits of a run that must be repeatable
        return [document for document, _ in self.retrieve(query, k)]

    def _terms(self, query: str) -> list[int]:
        known = (self._vocabulary.get(_stem_word(word)) for word in _words(query))
        return [term for term in known if term is not None]

    def _best(self, terms: list[int], k: int) -> list[tuple[Document, float]]:
        if not terms or k < 1:
            return []
        scores_N = np.zeros(len(self), dtype=self._scores.dtype)  # N passages
        for term in terms:
            column = slice(self._columns[term], self._columns[term + 1])
            np.add.at(scores_N, self._positions[column], self._scores[column])
        positions = _candidates(scores_N, k)
        best = positions[np.argsort(-scores_N[positions], kind="stable")[:k]]
        return [(self._passages[position], float(scores_N[position])) for position in best.tolist()]


def _candidates(scores_N: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Positions, in order, of a few positive scores that include the k highest and all that tie with them.

    The k-th highest of the maxima of blocks is a lower bound for the k-th highest score, because k blocks hold a score that
    reaches it. Ten times faster here than np.argpartition, which is slow on arrays that are mostly zero.
    """
    blocks = len(scores_N) // _BLOCK
    if blocks > k:
        maxima = scores_N[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
        bound = np.partition(maxima, -k)[-k]
        if bound > 0:
            return np.flatnonzero(scores_N >= bound)
    return np.flatnonzero(scores_N > 0)


def _words(text: str) -> list[str]:
    return [word for word in _WORDS.findall(text.lower()) if word not in _STOP_WORDS]


# ---- finding an index


def _manifest_of(corpus: Path) -> dict[str, Any]:
    stat = corpus.stat()
    return {
        "format": _FORMAT,
        "corpus": corpus.name,
        "corpus_bytes": stat.st_size,
        "corpus_mtime_ns": stat.st_mtime_ns,
        "bm25s": bm25s.__version__,
        "stemmer": "english",
    }


# ---- building an index


def _built(corpus: Path, index_dir: Path, manifest: Mapping[str, Any], progress: Progress) -> Path:
    """Build in a separate folder, then rename it: an index is complete or absent, however the build ends.

    Raises OSError if `index_dir` must not or cannot be written.
    """
    if what := _in_the_way(index_dir, manifest):
        raise PermissionError(f"{index_dir} {what} and will not be overwritten")
    index_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{index_dir.name}.building-", dir=index_dir.parent) as name:
        building = Path(name, "new")
        building.mkdir()  # follows the user's umask, unlike the scratch folder
        _build(corpus, building, progress)
        (building / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if index_dir.exists():
            index_dir.rename(Path(name, "stale"))
        try:
            building.rename(index_dir)
        except OSError:
            if read_manifest(index_dir) != manifest:
                raise  # otherwise another process has built the same index meanwhile
    return index_dir


def _in_the_way(index_dir: Path, manifest: Mapping[str, Any]) -> str:
    """Why what is there must stay; "" if there is nothing, or an index of the same corpus in another state or version."""
    if not index_dir.exists() or (index_dir.is_dir() and not any(index_dir.iterdir())):
        return ""
    found = read_manifest(index_dir)
    if found.get("format") != _FORMAT:
        return "is not a BM25 index"
    other = found.get("corpus", manifest["corpus"])
    return "" if other == manifest["corpus"] else f"is the index of another corpus ('{other}')"


def _build(corpus: Path, folder: Path, progress: Progress) -> None:
    passages: list[array[int]] = []  # term ids, four bytes each: lists of ints would take ten times the memory
    vocabulary: dict[str, int] = {}
    term_of = _TermOf(vocabulary)
    for document in store_passages(corpus, folder):
        passages.append(array("i", [term_of[word] for word in _words(indexed_text(document))]))
        if len(passages) % _REPORT_EVERY == 0:
            progress(f"{corpus.name}: {len(passages):,} passages read")
    if not vocabulary:
        raise BadFile(f"{corpus}: none of its {len(passages)} passages contains a searchable word; check the 'text' fields.")
    progress(f"{corpus.name}: indexing {len(passages):,} passages, {len(vocabulary):,} terms")
    index = _BM25()
    index.index((passages, vocabulary), create_empty_token=False, show_progress=False)
    index.save(folder, show_progress=False)


class _TermOf(dict[str, int]):
    """word → id of its stem, filled as words occur: each word is stemmed once."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, word: str) -> int:
        term = self._vocabulary.setdefault(_stem_word(word), len(self._vocabulary))
        self[word] = term
        return term


def _once_it_takes_long(after_s: float = 2.0) -> Progress:
    """Lines on stderr during a long first search; a small corpus is indexed before the first line is due."""
    started = time.monotonic()

    def say(line: str) -> None:
        if time.monotonic() - started > after_s:
            print(f"{line} (once; the index is kept)", file=sys.stderr, flush=True)

    return say
