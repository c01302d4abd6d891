"""Nearest neighbours by FAISS: exact (flat), a graph (HNSW), or inverted lists of compressed vectors (IVF-PQ).

kind     memory per vector of D floats finds
flat     4 D bytes                     the k nearest, always, looking at all vectors
hnsw     4 D + 256 bytes               nearly always those, looking at few vectors
ivfpq    D / 4 bytes                   most of them; for corpora that do not fit in memory otherwise
Nearest is largest inner product throughout.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosearch.core.errors import BadConfig
from zerosearch.core.install import not_installed

Advance = Callable[[int], None]
INDEX_KINDS = ("flat", "hnsw", "ivfpq")

_LINKS = 32  # per node of the graph
_TRAINING_POINTS = 39  # per centroid: FAISS asks for at least this many
_ADDED_AT_A_TIME = 16_384
_LEAST_FOR_IVFPQ = 1024


def faiss() -> Any:
    """The module. Raises BadConfig if it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise BadConfig(not_installed("dense retrieval", "FAISS", "dense")) from error
    return faiss


def _empty(kind: str, n: int, dimensions: int) -> Any:
    """An empty index for `n` vectors. Raises BadConfig if they are too few to learn the kind's codes from."""
    match kind:
        case "flat":
            return faiss().IndexFlatIP(dimensions)
        case "hnsw":
            index = faiss().IndexHNSWFlat(dimensions, _LINKS, faiss().METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = 128
            return index
        case _:  # about 4 √N lists, 4 dimensions per code; fewer bits if there are too few vectors to learn 256 centroids from
            if n < _LEAST_FOR_IVFPQ:
                raise BadConfig(
                    f"an ivfpq index is trained on its vectors, and {n} are too few; use index_kind=flat below {_LEAST_FOR_IVFPQ}."
                )
            lists = min(int(4 * math.sqrt(n)), n // _TRAINING_POINTS)
            codes = max(c for c in range(1, max(dimensions // 4, 1) + 1) if dimensions % c == 0)
            bits = min(8, int(math.log2(n / _TRAINING_POINTS)))
            return faiss().IndexIVFPQ(faiss().IndexFlatIP(dimensions), dimensions, lists, codes, bits, faiss().METRIC_INNER_PRODUCT)


def build(kind: str, vectors_ND: NDArray[np.float32], file: Path, advance: Advance) -> None:
    """Write an index of `vectors_ND` (may be memory-mapped; read in pieces) to `file`. `advance` is told how many are done."""
    n, dimensions = vectors_ND.shape
    index = _empty(kind, n, dimensions)
    if not index.is_trained:
        # k-means looks at 256 points per centroid at most, so no more of them are read into memory
        wanted = min(n, 256 * max(index.nlist, 256))
        index.train(np.ascontiguousarray(vectors_ND[np.linspace(0, n - 1, wanted, dtype=np.int64)]))
    for start in range(0, n, _ADDED_AT_A_TIME):
        index.add(np.ascontiguousarray(vectors_ND[start : start + _ADDED_AT_A_TIME]))
        advance(min(start + _ADDED_AT_A_TIME, n))
    faiss().write_index(index, str(file))


class Nearest:
    """An index file, memory-mapped if its kind allows it. `effort`: beam of HNSW, lists probed by IVF-PQ; 0 is the kind's own."""

    def __init__(self, file: Path, kind: str, effort: int = 0) -> None:
        self._index = faiss().read_index(str(file), faiss().IO_FLAG_MMAP_IFC)
        if kind == "hnsw":
            self._index.hnsw.efSearch = effort or 128
        elif kind == "ivfpq":
            self._index.nprobe = effort or max(8, self._index.nlist // 16)

    def __len__(self) -> int:
        return self._index.ntotal

    @property
    def dimensions(self) -> int:
        return self._index.d

    def find(self, queries_BD: NDArray[np.float32], k: int) -> list[list[tuple[int, float]]]:
        """(position, inner product) of at most k neighbours of each query, nearest first."""
        scores_BK, positions_BK = self._index.search(np.ascontiguousarray(queries_BD), min(k, len(self)))
        # an approximate index that found fewer than k fills up with -1
        return [
            [(p, s) for p, s in zip(row, scores, strict=True) if p >= 0]
            for row, scores in zip(positions_BK.tolist(), scores_BK.tolist(), strict=True)
        ]
