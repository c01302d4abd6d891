"""Building a dense index: encoding a large corpus takes hours, which a kill must not lose.

All work happens in `<index_dir>.building`, which becomes `index_dir` at the end; an unfinished build in it is resumed:
    manifest.json probe.npy      which build it is
    corpus.jsonl offsets.npy     the passages (data/passages.py); the second is written once the first is complete
    vectors.f32                  row after row, appended a block at a time; anything after the last complete block is cut off
    index.faiss                  built from them at the end
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import Timeout

from zerosearch.core.errors import BadFile
from zerosearch.data.files import locked, replace_directory, write_atomically
from zerosearch.data.passages import (
    MANIFEST,
    STORE_FILES,
    PassageStore,
    existing,
    index_places,
    indexed_text,
    read_manifest,
    store_passages,
)
from zerosearch.engines.dense import INDEX, PROBE, DenseSettings, difference, manifest_of, probe_of, same_probe
from zerosearch.engines.nearest import build, faiss
from zerosearch.models.encoder import Encoder

Report = Callable[[str, int, int], None]
"""Called with the phase, how much of it is done, and how much there is (0: not known)."""

_VECTORS = "vectors.f32"
_WRITTEN = {MANIFEST, f".{MANIFEST}.partial", PROBE, INDEX, _VECTORS, *STORE_FILES}
_REPORT_EVERY = 20_000


def build_dense_index(
    corpus_path: str | Path,
    encoder: Encoder,
    settings: DenseSettings,
    index_dir: str | Path | None = None,
    *,
    block: int = 2048,
    report: Report = lambda phase, done, total: None,
) -> Path:
    """The folder of the index, built unless it exists. After a kill, the next call repeats the encoding of at most `block` passages.

    Raises BadFile if the corpus is bad, `index_dir` holds something else, or another process is building there.
    """
    faiss()
    corpus = existing(corpus_path)
    manifest, probe = manifest_of(corpus, encoder, settings), probe_of(encoder)
    index_dir = _writable(index_places(corpus, settings.suffix, index_dir))
    if not difference(read_manifest(index_dir), manifest) and same_probe(_probe_in(index_dir), probe):
        (index_dir / _VECTORS).unlink(missing_ok=True)  # a kill may have left it behind
        return index_dir
    _refuse_foreign(index_dir)
    with _alone(index_dir):
        building = index_dir.with_name(f"{index_dir.name}.building")
        if difference(read_manifest(building), manifest) or not same_probe(_probe_in(building), probe):
            _refuse_foreign(building)
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            np.save(building / PROBE, probe)
            write_atomically(building / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        n = _store(corpus, building, report)
        _encode(building, encoder, settings.passage_prefix, n, len(probe), block, report)
        vectors_ND = np.memmap(building / _VECTORS, dtype=np.float32, mode="r", shape=(n, len(probe)))
        build(settings.index_kind, vectors_ND, building / INDEX, lambda done: report("indexing", done, n))
        del vectors_ND
        write_atomically(building / MANIFEST, json.dumps({**manifest, "passages": n, "dimensions": len(probe)}, indent=2) + "\n")
        replace_directory(building, index_dir)  # processes that have the old one open can still read it
        (index_dir / _VECTORS).unlink()  # last, because a kill in between would lose all of the encoding
    return index_dir


def _store(corpus: Path, folder: Path, report: Report) -> int:
    try:
        return len(PassageStore(folder))  # complete since an earlier attempt
    except (OSError, ValueError, EOFError):
        pass
    n = 0
    for n, _ in enumerate(store_passages(corpus, folder), start=1):
        if n % _REPORT_EVERY == 0:
            report("reading", n, 0)
    return n


def _encode(folder: Path, encoder: Encoder, prefix: str, n: int, dimensions: int, block: int, report: Report) -> None:
    passages = PassageStore(folder)
    row_bytes = 4 * dimensions
    with open(folder / _VECTORS, "ab") as file:
        rows = file.tell() // row_bytes
        done = n if rows >= n else rows // block * block
        file.truncate(done * row_bytes)
        report("encoding", done, n)
        for start in range(done, n, block):
            texts = [prefix + indexed_text(passages[position]) for position in range(start, min(start + block, n))]
            file.write(encoder.encode(texts).tobytes())
            file.flush()
            report("encoding", start + len(texts), n)


def _probe_in(folder: Path) -> np.ndarray:
    try:
        return np.load(folder / PROBE)
    except (OSError, ValueError, EOFError):
        return np.empty(0, dtype=np.float32)


def _writable(places: list[Path]) -> Path:
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place.parent, os.W_OK):
            return place
    raise BadFile(f"{places[0]}: no index can be written there; choose another index_dir.")


def _refuse_foreign(folder: Path) -> None:
    """Only a folder that holds nothing but this module's files is ever replaced."""
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= _WRITTEN):
        raise BadFile(f"{folder} is not a dense index and will not be overwritten; choose another index_dir.")


@contextmanager
def _alone(index_dir: Path) -> Iterator[None]:
    try:
        lock = locked(index_dir).acquire(blocking=False)
    except Timeout:
        raise BadFile(f"{index_dir}: another process is building this index; wait for it.") from None
    with lock:
        yield
