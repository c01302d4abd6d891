"""Nearest neighbours by FAISS: exact (flat), a graph (HNSW), or inverted lists of compressed vectors (IVF-PQ).

kind     memory a vector of D floats   finds
flat     4 D bytes                     the k nearest, always, looking at all vectors
hnsw     4 D + 256 bytes               them nearly always, looking at few vectors
ivfpq    D / 4 bytes                   most of them; for corpora that do not fit otherwise
Nearest is largest inner product throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosearch.core.errors import BadConfig

Advance = Callable[[int], None]

_LINKS = 32  # of a node of the graph
_TRAINING_POINTS = 39  # a centroid: FAISS asks for no fewer
_ADDED_AT_A_TIME = 16_384
_LEAST_FOR_IVFPQ = 1024


def faiss() -> Any:
    """The module. Raises BadConfig when it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise BadConfig("dense retrieval needs FAISS; install it: pip install 'zerosearch[dense]'.") from error
    return faiss


@dataclass(frozen=True, slots=True)
class Kind:
    """How an empty index is made for N vectors of D dimensions, and how hard an index looks."""

    make: Callable[[int, int], Any]
    set_effort: Callable[[Any, int], None]
    effort: Callable[[Any], int]  # where none is given


def _flat(n: int, dimensions: int) -> Any:
    return faiss().IndexFlatIP(dimensions)


def _hnsw(n: int, dimensions: int) -> Any:
    index = faiss().IndexHNSWFlat(dimensions, _LINKS, faiss().METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 128
    return index


def _ivfpq(n: int, dimensions: int) -> Any:
    """About 4 √N lists, 4 dimensions a code; fewer bits where there are too few vectors to learn 256 centroids from."""
    if n < _LEAST_FOR_IVFPQ:
        raise BadConfig(f"an ivfpq index learns from its vectors and {n} are too few; take index_kind flat below {_LEAST_FOR_IVFPQ}.")
    lists = min(int(4 * math.sqrt(n)), n // _TRAINING_POINTS)
    codes = max(c for c in range(1, max(dimensions // 4, 1) + 1) if dimensions % c == 0)
    bits = min(8, int(math.log2(n / _TRAINING_POINTS)))
    quantizer = faiss().IndexFlatIP(dimensions)
    return faiss().IndexIVFPQ(quantizer, dimensions, lists, codes, bits, faiss().METRIC_INNER_PRODUCT)


def _set_nothing(index: Any, effort: int) -> None:
    del index, effort


def _set_beam(index: Any, effort: int) -> None:
    index.hnsw.efSearch = effort


def _set_probes(index: Any, effort: int) -> None:
    index.nprobe = effort


INDEX_KINDS = {
    "flat": Kind(_flat, _set_nothing, lambda index: 0),
    "hnsw": Kind(_hnsw, _set_beam, lambda index: 128),
    "ivfpq": Kind(_ivfpq, _set_probes, lambda index: max(8, index.nlist // 16)),
}


def build(kind: str, vectors_ND: NDArray[np.float32], file: Path, advance: Advance) -> None:
    """Write an index of `vectors_ND` (may be memory-mapped; read in pieces) to `file`. `advance` hears how many are in."""
    n, dimensions = vectors_ND.shape
    index = INDEX_KINDS[kind].make(n, dimensions)
    if not index.is_trained:
        # k-means looks at 256 points a centroid at most: no need to bring more of them into memory
        wanted = min(n, 256 * max(index.nlist, 256))
        index.train(np.ascontiguousarray(vectors_ND[np.linspace(0, n - 1, wanted, dtype=np.int64)]))
    for start in range(0, n, _ADDED_AT_A_TIME):
        index.add(np.ascontiguousarray(vectors_ND[start : start + _ADDED_AT_A_TIME]))
        advance(min(start + _ADDED_AT_A_TIME, n))
    faiss().write_index(index, str(file))


class Nearest:
    """An index file, memory-mapped where its kind allows it. `effort`: beam of HNSW, lists probed by IVF-PQ; 0 is the kind's own."""

    def __init__(self, file: Path, kind: str, effort: int = 0) -> None:
        self._index = faiss().read_index(str(file), faiss().IO_FLAG_MMAP_IFC)
        INDEX_KINDS[kind].set_effort(self._index, effort or INDEX_KINDS[kind].effort(self._index))

    def __len__(self) -> int:
        return self._index.ntotal

    @property
    def dimensions(self) -> int:
        return self._index.d

    def find(self, queries_BD: NDArray[np.float32], k: int) -> list[list[tuple[int, float]]]:
        """(position, inner product) of at most k neighbours of each query, nearest first."""
        scores_BK, positions_BK = self._index.search(np.ascontiguousarray(queries_BD), min(k, len(self)))
        # -1 fills up where an approximate index met fewer than k
        return [
            [(p, s) for p, s in zip(row, scores, strict=True) if p >= 0]
            for row, scores in zip(positions_BK.tolist(), scores_BK.tolist(), strict=True)
        ]
