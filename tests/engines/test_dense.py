"""Dense retrieval with a real encoder and real FAISS: what is found, what an index was built from, what a kill costs."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiny_encoder import write_encoder
from zerosearch.core.errors import BadConfig, BadFile
from zerosearch.core.types import Question, SearchRequest, SearchResult
from zerosearch.data.passages import fingerprint
from zerosearch.engines.dense import DenseEngine, DenseSettings
from zerosearch.engines.dense_build import build_dense_index
from zerosearch.engines.nearest import INDEX_KINDS, Nearest, build
from zerosearch.models.encoder import Encoder

WORDS = [f"w{i}" for i in range(300)]
SETTINGS = DenseSettings("tiny")


def write_corpus(file: Path, n: int, seed: int = 0) -> Path:
    rng = random.Random(seed)
    rows = ({"id": str(i), "title": f"w{i % 300}", "text": " ".join(rng.choices(WORDS, k=12))} for i in range(n))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"), [*WORDS, "query", "passage", ":"])


@pytest.fixture(scope="module")
def encoder(encoder_dir: Path) -> Encoder:
    return Encoder.load(str(encoder_dir), "cpu", max_tokens=64)


def search(engine: DenseEngine, *queries: str, k: int = 5) -> list[SearchResult]:
    async def main() -> list[SearchResult]:
        return await asyncio.gather(*(engine.search(SearchRequest(q, Question("q", "?", ("gold",)), k=k)) for q in queries))

    return asyncio.run(main())


# ---- nearest neighbours


def test_flat_is_exact_and_the_others_come_close(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 16))
    vectors = (centres[rng.integers(40, size=4000)] + 0.4 * rng.normal(size=(4000, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[:100] + 0.05 * rng.normal(size=(100, 16)).astype(np.float32)
    exact = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :10]
    heard: list[int] = []
    recall: dict[str, float] = {}
    for kind in INDEX_KINDS:
        build(kind, vectors, tmp_path / kind, heard.append)
        rows = Nearest(tmp_path / kind, kind).find(queries, 10)
        recall[kind] = float(np.mean([len({p for p, _ in row} & set(e.tolist())) / 10 for row, e in zip(rows, exact, strict=True)]))
        if kind == "flat":
            for query, row in zip(queries, rows, strict=True):
                assert [score for _, score in row] == pytest.approx([float(query @ vectors[p]) for p, _ in row], abs=1e-5)
    assert recall["flat"] == 1.0 and recall["hnsw"] > 0.95 and recall["ivfpq"] > 0.4  # four codes of six bits
    assert set(heard) == {4000}
    assert (tmp_path / "ivfpq").stat().st_size < (tmp_path / "flat").stat().st_size / 3


def test_more_effort_finds_more(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2000, 8)).astype(np.float32)
    build("ivfpq", vectors, tmp_path / "index", lambda done: None)
    build("flat", vectors, tmp_path / "flat", lambda done: None)
    exact = Nearest(tmp_path / "flat", "flat").find(vectors[:50], 5)

    def overlap(effort: int) -> int:
        rows = Nearest(tmp_path / "index", "ivfpq", effort).find(vectors[:50], 5)
        return sum(len({p for p, _ in a} & {p for p, _ in b}) for a, b in zip(rows, exact, strict=True))

    assert overlap(1) < overlap(50)


def test_too_few_vectors_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="an ivfpq index is trained on its vectors, and 10 are too few; use index_kind=flat"):
        build("ivfpq", np.zeros((10, 8), dtype=np.float32), tmp_path / "index", lambda done: None)


# ---- what is found


@pytest.mark.parametrize("kind", INDEX_KINDS)
def test_a_passage_is_nearest_to_itself(encoder: Encoder, tmp_path: Path, kind: str) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 1500)
    settings = DenseSettings("tiny", kind)
    index_dir = build_dense_index(corpus, encoder, settings)
    assert index_dir.name == f"c.jsonl.tiny.{kind}"
    engine = DenseEngine.open(corpus, encoder, settings)
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    wanted = [rows[i] for i in range(0, 1500, 100)]
    results = search(engine, *(f"{row['title']} {row['text']}" for row in wanted))
    found = sum(row["id"] in [d.id for d in result.documents] for row, result in zip(wanted, results, strict=True))
    assert found >= (15 if kind != "ivfpq" else 10)
    assert all(len(result.documents) == 5 for result in results)
    assert search(engine, "w1", k=0) == [SearchResult(())] and engine.retrieve("w1", 0) == []
    assert len(search(DenseEngine.open(corpus, encoder, settings), "w1 w2", k=2)[0].documents) == 2


def test_prefixes_are_part_of_what_is_compared(encoder: Encoder, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 5)
    settings = DenseSettings("tiny", query_prefix="query : ", passage_prefix="passage : ")
    build_dense_index(corpus, encoder, settings)
    document, score = DenseEngine.open(corpus, encoder, settings).retrieve("w1 w2", 1)[0]
    vectors = encoder.encode(["query : w1 w2", f"passage : {document.title} {document.text}"])
    assert score == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)


def test_k_beyond_the_corpus_and_searches_of_several_loops(encoder: Encoder, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 3)
    build_dense_index(corpus, encoder, SETTINGS)
    engine = DenseEngine.open(corpus, encoder, SETTINGS)
    assert [len(search(engine, "w1", k=50)[0].documents) for _ in range(2)] == [3, 3]


# ---- what an index was built from


def test_an_index_says_what_it_was_built_from(encoder: Encoder, encoder_dir: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 20)
    index_dir = build_dense_index(corpus, encoder, SETTINGS, tmp_path / "index")

    def complaint(other: Encoder = encoder, settings: DenseSettings = SETTINGS, corpus: Path = corpus) -> str:
        with pytest.raises(BadFile) as failure:
            DenseEngine.open(corpus, other, settings, index_dir)
        line = str(failure.value)
        assert "\n" not in line and line.startswith(f"{index_dir}: the index ") and "zerosearch index" in line
        return line

    assert DenseEngine.open(corpus, encoder, DenseSettings("moved/tiny", query_prefix="q"), index_dir)  # neither changes a passage
    assert "built from another corpus, or the corpus has changed (it was 'c.jsonl', 20 passages)" in complaint(
        corpus=write_corpus(tmp_path / "d.jsonl", 21)
    )
    other = Encoder.load(str(write_encoder(tmp_path / "other", WORDS, seed=1)), "cpu", max_tokens=64)
    assert "built with another encoder ('tiny', or other weights of it)" in complaint(other)
    wider = Encoder.load(str(write_encoder(tmp_path / "wider", WORDS, hidden=48)), "cpu", max_tokens=64)
    assert "another encoder" in complaint(wider)
    cls = Encoder.load(str(encoder_dir), "cpu", max_tokens=64, pooling="cls")
    assert "built with pooling = 'mean', not 'cls'" in complaint(cls)
    assert "built with passage_prefix = '', not 'passage: '" in complaint(settings=DenseSettings("tiny", passage_prefix="passage: "))
    manifest = json.loads((index_dir / "manifest.json").read_text())
    (index_dir / "manifest.json").write_text(json.dumps({**manifest, "format": "zerosearch dense index 0"}))
    assert "built by another version (its format is 'zerosearch dense index 0', this one reads" in complaint()
    (index_dir / "manifest.json").write_text(json.dumps(manifest))
    (index_dir / "index.faiss").write_bytes(b"oops")
    assert "is damaged" in complaint()
    (index_dir / "probe.npy").unlink()
    assert "built incompletely" in complaint()


def test_no_index_and_no_corpus(encoder: Encoder, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 3)
    with pytest.raises(
        BadFile, match="there is no dense index; run: zerosearch index .*c.jsonl --kind dense --encoder tiny --index-kind flat"
    ):
        DenseEngine.open(corpus, encoder, SETTINGS)
    with pytest.raises(BadFile, match="nowhere.jsonl: no such file"):
        build_dense_index(tmp_path / "nowhere.jsonl", encoder, SETTINGS)
    with pytest.raises(BadConfig, match="unknown index_kind 'hsnw'; did you mean 'hnsw'"):
        DenseSettings("tiny", "hsnw")


def test_a_bad_line_is_named_and_leaves_no_index(encoder: Encoder, tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text('{"text": "w1"}\n{"title": "w2"}\n')
    with pytest.raises(BadFile, match="c.jsonl, line 2: a passage needs a 'text'"):
        build_dense_index(corpus, encoder, SETTINGS)
    assert not (tmp_path / "c.jsonl.tiny.flat").exists()
    corpus.write_text('{"text": "w1"}\n{"text": "w2"}\n')
    assert len(DenseEngine(build_dense_index(corpus, encoder, SETTINGS), encoder, SETTINGS)) == 2
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["c.jsonl", "c.jsonl.tiny.flat"]


def test_a_folder_of_something_else_is_left_alone(encoder: Encoder, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(BadFile, match="mine is not a dense index and will not be overwritten; choose another index_dir"):
        build_dense_index(corpus, encoder, SETTINGS, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_the_same_content_has_the_same_fingerprint_wherever_it_lies(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for n in (0, 1, 2**20, 3 * 2**20):
        a.write_bytes(b"x" * n)
        b.write_bytes(b"x" * n)
        assert fingerprint(a) == fingerprint(b)
        b.write_bytes(b"x" * n + b"y")
        assert fingerprint(a) != fingerprint(b)


# ---- building


def test_a_finished_index_is_found_not_built(encoder: Encoder, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 30)
    phases: list[tuple[str, int, int]] = []
    build_dense_index(corpus, encoder, SETTINGS, block=8, report=lambda *row: phases.append(row))
    assert phases == [("encoding", n, 30) for n in (0, 8, 16, 24, 30)] + [("indexing", 30, 30)]
    phases.clear()
    build_dense_index(corpus, encoder, SETTINGS, report=lambda *row: phases.append(row))
    assert phases == []
    write_corpus(corpus, 31)  # another corpus now
    assert len(DenseEngine(build_dense_index(corpus, encoder, SETTINGS), encoder, SETTINGS)) == 31


class Stopped(Exception):
    pass


def stopping(at: int) -> Callable[[str, int, int], None]:
    def report(phase: str, done: int, total: int) -> None:
        if (phase, done) == ("encoding", at):
            raise Stopped

    return report


def test_what_was_encoded_is_not_encoded_again(encoder: Encoder, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 200)
    with pytest.raises(Stopped):
        build_dense_index(corpus, encoder, SETTINGS, block=16, report=stopping(96))
    with open(tmp_path / "c.jsonl.tiny.flat.building" / "vectors.f32", "ab") as file:
        file.write(b"half a row")
    phases: list[tuple[str, int, int]] = []
    index_dir = build_dense_index(corpus, encoder, SETTINGS, block=16, report=lambda *row: phases.append(row))
    assert phases[0] == ("encoding", 96, 200)
    whole = build_dense_index(corpus, encoder, SETTINGS, tmp_path / "whole", block=16)
    for name in ("index.faiss", "corpus.jsonl", "manifest.json"):
        assert (index_dir / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["c.jsonl", "c.jsonl.tiny.flat", "whole"]


BUILD = """
import sys, time
from zerosearch.models.encoder import Encoder
from zerosearch.engines.dense import DenseSettings
from zerosearch.engines.dense_build import build_dense_index
def report(phase, done, total):
    print(phase, done, flush=True)
    time.sleep(0.05)
build_dense_index(sys.argv[1], Encoder.load(sys.argv[2], "cpu", max_tokens=64), DenseSettings("tiny"), block=16, report=report)
"""


@pytest.mark.slow
def test_a_kill_loses_one_block_at_most(encoder: Encoder, encoder_dir: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 200)
    arguments = [sys.executable, "-c", BUILD, str(corpus), str(encoder_dir)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "encoding 96\n":
                process.send_signal(signal.SIGKILL)
                break
    phases: list[tuple[str, int, int]] = []
    index_dir = build_dense_index(corpus, encoder, SETTINGS, block=16, report=lambda *row: phases.append(row))
    assert phases[0] in (("encoding", 96, 200), ("encoding", 112, 200))
    whole = build_dense_index(corpus, encoder, SETTINGS, tmp_path / "whole", block=16)
    assert (index_dir / "index.faiss").read_bytes() == (whole / "index.faiss").read_bytes()


def test_what_another_encoder_left_is_not_gone_on_with(encoder: Encoder, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 40)
    other = Encoder.load(str(write_encoder(tmp_path / "other", WORDS, seed=1)), "cpu", max_tokens=64)

    with pytest.raises(Stopped):
        build_dense_index(corpus, other, SETTINGS, block=8, report=stopping(16))
    phases: list[tuple[str, int, int]] = []
    build_dense_index(corpus, encoder, SETTINGS, block=8, report=lambda *row: phases.append(row))
    assert phases[0] == ("encoding", 0, 40)


def test_two_builders_do_not_meet(encoder: Encoder, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", 40)
    complaints: list[str] = []

    def meanwhile(phase: str, done: int, total: int) -> None:
        with pytest.raises(BadFile) as failure:
            build_dense_index(corpus, encoder, SETTINGS)
        complaints.append(str(failure.value))

    build_dense_index(corpus, encoder, SETTINGS, report=meanwhile)
    assert complaints and all("another process is building this index; wait for it" in line for line in complaints)
