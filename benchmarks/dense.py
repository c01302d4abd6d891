"""Dense retrieval: recall against exact search, queries per second, build time and memory of flat, HNSW and IVF-PQ.

    python benchmarks/dense.py --vectors 100000 --dimensions 256 --json -
    python benchmarks/dense.py --corpus wiki_passages.jsonl.gz --questions nq.jsonl.gz --json -

Without a corpus: random unit vectors around random centres, queries beside some of them. With one: vectors of passages and questions by a
small random encoder, which does not measure meaning but clusters like real text. "recall" is the share of the exact ten nearest that an
index finds; "ratio" is HNSW ÷ flat in queries per CPU second at that recall. Queries are made one at a time, as by an agent.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosearch.cli.options import write_json
from zerosearch.data.passages import indexed_text, read_passages
from zerosearch.engines.nearest import INDEX_KINDS, Nearest, build

K = 10
EFFORTS = {"flat": (0,), "hnsw": (32, 0, 512), "ivfpq": (8, 0, 256)}  # 0: the default
Vectors = NDArray[np.float32]


def random_vectors(n: int, dimensions: int, queries: int, seed: int = 0) -> tuple[Vectors, Vectors]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(n // 100, 1), dimensions))
    vectors = centres[rng.integers(len(centres), size=n)] + 0.6 * rng.normal(size=(n, dimensions))
    asked = vectors[rng.integers(n, size=queries)] + 0.3 * rng.normal(size=(queries, dimensions))
    return normalised(vectors), normalised(asked)


def encoded(corpus: Path, questions: Sequence[Path], queries: int, limit: int, dimensions: int) -> tuple[Vectors, Vectors, float]:
    """Passages and questions by a random two-layer BERT over the corpus' most frequent words, and passages per second."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from tiny_encoder import write_encoder
    from zerosearch.models.encoder import Encoder

    texts = [indexed_text(document) for _, (_, document) in zip(range(limit), read_passages(corpus), strict=False)]
    words = Counter(word for text in texts[:20_000] for word in text.lower().split())
    asked: list[str] = []
    for file in questions:
        with gzip.open(file, "rt") if file.suffix == ".gz" else open(file) as lines:
            asked += [json.loads(line)["question"] for line in lines]
    random.Random(0).shuffle(asked)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = [word for word, _ in words.most_common(20_000)]
        encoder = Encoder.load(str(write_encoder(Path(folder), vocabulary, hidden=dimensions, positions=128)), "cpu", max_tokens=128)
        started = time.process_time()
        vectors = encoder.encode(texts)
        seconds = time.process_time() - started
        return centred(vectors, vectors), centred(encoder.encode(asked[:queries]), vectors), len(texts) / seconds


def centred(vectors: Vectors, of: Vectors) -> Vectors:
    """A random encoder's vectors all point one way; without their mean their directions differ like those of a trained encoder."""
    return normalised(vectors - of.mean(0))


def normalised(vectors: NDArray[Any]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def resident_mb(file: Path, kind: str) -> float:
    """The rise of a process's memory when it opens the index and searches it once, mapped pages included."""
    program = """
import sys
import numpy as np
from pathlib import Path
from zerosearch.engines.nearest import Nearest, faiss
def resident():
    return next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith("VmRSS"))
faiss()
before = resident()
index = Nearest(Path(sys.argv[1]), sys.argv[2])
index.find(np.ones((50, index.dimensions), dtype=np.float32), 10)
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", program, str(file), kind], capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


def measure(kind: str, vectors: Vectors, queries: Vectors, exact: list[set[int]], folder: Path) -> dict[str, Any]:
    file = folder / f"{kind}.faiss"
    started = time.process_time()
    build(kind, vectors, file, lambda done: None)
    row: dict[str, Any] = {"build_cpu_s": round(time.process_time() - started, 2), "file_mb": round(file.stat().st_size / 2**20, 1)}
    row["resident_mb"] = resident_mb(file, kind)
    for effort in EFFORTS[kind]:
        index = Nearest(file, kind, effort)
        index.find(queries[:5], K)
        started = time.process_time()
        found = [index.find(query[None], K)[0] for query in queries]
        seconds = time.process_time() - started
        recall = np.mean([len({p for p, _ in hits} & truth) / len(truth) for hits, truth in zip(found, exact, strict=True)])
        name = f"effort {effort}" if effort else "default"
        row[name] = {f"recall@{K}": round(float(recall), 3), "queries_per_cpu_s": round(len(queries) / seconds, 1)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--questions", type=Path, nargs="+", default=[])
    parser.add_argument("--limit", type=int, default=10**9, help="maximum number of passages of the corpus")
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "dense", "k": K}
    if options.corpus:
        if not options.questions:
            parser.error("--corpus needs --questions")
        vectors, queries, rate = encoded(options.corpus, options.questions, options.queries, options.limit, options.dimensions)
        result["encoded_passages_per_cpu_s"] = round(rate, 1)
    else:
        vectors, queries = random_vectors(options.vectors, options.dimensions, options.queries)
    result |= {"vectors": len(vectors), "dimensions": vectors.shape[1], "queries": len(queries)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build("flat", vectors, folder / "exact", lambda done: None)
        exact = [{position for position, _ in row} for row in Nearest(folder / "exact", "flat").find(queries, K)]
        result["kinds"] = {kind: measure(kind, vectors, queries, exact, folder) for kind in INDEX_KINDS}
    rates = {kind: row["default"]["queries_per_cpu_s"] for kind, row in result["kinds"].items() if "default" in row}
    flat = result["kinds"]["flat"]["default"]["queries_per_cpu_s"]
    result["ratio"] = round(rates["hnsw"] / flat, 2)
    result["ratio_of"] = "queries per CPU second, HNSW over flat"
    write_json(result, options.json)


if __name__ == "__main__":
    main()
