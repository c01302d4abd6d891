"""A real search engine over a corpus file by meaning: one encoder makes vectors of passages and query, FAISS finds the nearest.

encoder = Encoder.load("intfloat/e5-base-v2")
settings = DenseSettings(query_prefix="query: ", passage_prefix="passage: ")
build_dense_index("corpus.jsonl.gz", encoder, settings)      # engines/dense_build.py; also `zerosearch index`
engine = DenseEngine.open("corpus.jsonl.gz", encoder, settings)
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from zerosearch.core.errors import BadFile, SearchFailed, one_line, one_of
from zerosearch.core.function_engine import FunctionEngine
from zerosearch.core.types import Document, SearchRequest, SearchResult
from zerosearch.data.passages import MANIFEST, PassageStore, existing, fingerprint, index_places, read_manifest
from zerosearch.engines.nearest import INDEX_KINDS, Nearest, faiss
from zerosearch.engines.settings import EngineConfig
from zerosearch.models.encoder import Encoder

INDEX, PROBE = "index.faiss", "probe.npy"
FORMAT = "zerosearch dense index 1"
_PROBE_TEXT = "Which river flows through the city in which the treaty was signed?"
_PROBE_TOLERANCE = 0.02  # devices and libraries round differently; other weights are much further away
_GPU_BATCH = 64


@dataclass(frozen=True, slots=True)
class DenseSettings:
    """The prefixes are put before a query and a passage; E5 wants "query: " and "passage: "."""

    encoder: str = ""  # its name, for the manifest and the messages
    index_kind: str = "flat"
    query_prefix: str = ""
    passage_prefix: str = ""

    def __post_init__(self) -> None:
        one_of("index_kind", self.index_kind, INDEX_KINDS)

    @property
    def suffix(self) -> str:
        """The suffix of such an index's name, after that of its corpus."""
        return f"{Path(self.encoder).name or 'dense'}.{self.index_kind}"


class DenseEngine:
    """The SearchEngine of a corpus and an encoder. score(q, d) = ⟨encoder(prefix + q), encoder(prefix + d)⟩.

    Queries wait for one another: on a GPU the waiting ones form one batch, on a CPU they go one at a time, because rounding depends on
    what else is in a batch, and a run on a CPU must be repeatable bit by bit.
    """

    def __init__(self, index_dir: Path, encoder: Encoder, settings: DenseSettings, effort: int = 0) -> None:
        """Open a finished index without checking what it was built from; `open` checks."""
        self.index_dir = index_dir
        self._encoder, self._prefix = encoder, settings.query_prefix
        self._passages = PassageStore(index_dir)
        self._nearest = Nearest(index_dir / INDEX, settings.index_kind, effort)
        self._waiting: list[tuple[str, int, asyncio.Future[list[Document]]]] = []
        self._server: asyncio.Task[None] | None = None
        self._engine = FunctionEngine(self._search)

    @classmethod
    def open(
        cls, corpus_path: str | Path, encoder: Encoder, settings: DenseSettings, index_dir: str | Path | None = None, effort: int = 0
    ) -> Self:
        """Looked for in `index_dir`, then beside the corpus, then in the user's cache.

        Raises BadFile if there is none, or if it was built from another corpus, encoder or version; the message says which.
        """
        faiss()
        corpus = existing(corpus_path)
        places = index_places(corpus, settings.suffix, index_dir)
        found = next((place for place in places if (place / MANIFEST).exists()), None)
        again = f"run: zerosearch index {corpus} --kind dense --encoder {settings.encoder or 'ENCODER'} --index-kind {settings.index_kind}"
        if found is None:
            raise BadFile(f"{places[0]}: there is no dense index; {again}.")
        manifest = read_manifest(found)
        wrong = difference(manifest, manifest_of(corpus, encoder, settings)) or _other_encoder(found, encoder, manifest)
        if wrong:
            raise BadFile(f"{found}: the index was built {wrong}; {again}, or choose another index_dir.")
        try:
            return cls(found, encoder, settings, effort)
        except (OSError, ValueError, EOFError, RuntimeError) as error:
            raise BadFile(f"{found}: the index is damaged ({one_line(error, 120)}); remove it and {again}.") from error

    def __len__(self) -> int:
        return len(self._passages)

    async def search(self, request: SearchRequest) -> SearchResult:
        """The `request.k` nearest passages; there are always some, however distant."""
        return await self._engine.search(request)

    def retrieve(self, query: str, k: int) -> list[tuple[Document, float]]:
        """At most k passages with their scores, best first."""
        return self.retrieve_many([query], k)[0]

    def retrieve_many(self, queries: Sequence[str], k: int) -> list[list[tuple[Document, float]]]:
        if k < 1:
            return [[] for _ in queries]
        vectors_BD = self._encoder.encode([self._prefix + query for query in queries])
        return [[(self._passages[position], score) for position, score in row] for row in self._nearest.find(vectors_BD, k)]

    async def _search(self, query: str, k: int) -> list[Document]:
        future: asyncio.Future[list[Document]] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, k, future))
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        size = _GPU_BATCH if self._encoder.on_gpu else 1
        while self._waiting:
            batch, self._waiting = self._waiting[:size], self._waiting[size:]
            queries, k = [query for query, _, _ in batch], max(k for _, k, _ in batch)
            try:
                if self._encoder.on_gpu:  # a thread, so that the event loop can decode tokens meanwhile
                    rows = await asyncio.to_thread(self.retrieve_many, queries, k)
                else:  # on a CPU a run must be repeatable bit by bit, and the timing of threads is not
                    rows = self.retrieve_many(queries, k)
                    await asyncio.sleep(0)
            except Exception as error:
                failed = SearchFailed(f"the encoder raised {type(error).__name__}: {one_line(error)}")
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(failed)
                continue
            for (_, k, future), row in zip(batch, rows, strict=True):
                if not future.done():  # otherwise its caller has gone
                    future.set_result([document for document, _ in row[:k]])


def encoder_and_settings(config: EngineConfig, device: str) -> tuple[Encoder, DenseSettings]:
    """The encoder and its settings from a recipe's [engine] section. Raises BadInput."""
    faiss()  # if it is missing, this fails before a model is loaded
    encoder = Encoder.load(
        config.encoder, device, pooling=config.pooling, max_tokens=config.encoder_max_tokens, normalised=config.normalised
    )
    return encoder, DenseSettings(config.encoder, config.index_kind, config.query_prefix, config.passage_prefix)


# ---- what an index was built from


def manifest_of(corpus: Path, encoder: Encoder, settings: DenseSettings) -> dict[str, Any]:
    """Everything that the vectors depend on. It leaves out the weights, which `probe_of` tells apart."""
    described = asdict(settings)
    del described["query_prefix"]  # a query's prefix changes no passage
    return {
        "format": FORMAT,
        "corpus": corpus.name,
        "corpus_fingerprint": fingerprint(corpus),
        **described,
        "pooling": encoder.pooling,
        "max_tokens": encoder.max_tokens,
        "normalised": encoder.normalised,
    }


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first way in which an index differs from what is wanted, in words; "" if there is none."""
    if found.get("format") != wanted["format"]:
        return f"by another version (its format is '{found.get('format')}', this one reads '{wanted['format']}')"
    if found.get("corpus_fingerprint") != wanted["corpus_fingerprint"]:
        return f"from another corpus, or the corpus has changed (it was '{found.get('corpus')}', {found.get('passages', '?')} passages)"
    # folder names may differ while the weights are the same
    for key in wanted:
        if key not in ("corpus", "encoder") and found.get(key) != wanted[key]:
            return f"with {key} = {found.get(key)!r}, not {wanted[key]!r}"
    return ""


def probe_of(encoder: Encoder) -> NDArray[np.float32]:
    """The encoder's vector of a fixed sentence, because the weights may change under the same name."""
    return encoder.encode([_PROBE_TEXT])[0]


def same_probe(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return a.shape == b.shape and float(np.linalg.norm(a - b)) <= _PROBE_TOLERANCE * max(float(np.linalg.norm(a)), 1e-9)


def _other_encoder(index_dir: Path, encoder: Encoder, manifest: Mapping[str, Any]) -> str:
    try:
        kept = np.load(index_dir / PROBE)
    except (OSError, ValueError, EOFError):
        return "incompletely (probe.npy is missing)"
    return "" if same_probe(kept, probe_of(encoder)) else f"with another encoder ('{manifest.get('encoder')}', or other weights of it)"
