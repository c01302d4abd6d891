"""Engines by name: what a recipe's [engine] section comes to, and what is said when it cannot."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_server import HITS, SearchServer, serving
from tiny_encoder import write_encoder
from zerosearch.config.recipe import load_recipe, make_engine, to_toml
from zerosearch.core.errors import BadConfig, BadInput, SearchFailed
from zerosearch.core.interfaces import Chat, SearchEngine, close
from zerosearch.core.types import Document, Question, Sampling, SearchRequest
from zerosearch.engines.dense import DenseSettings
from zerosearch.engines.dense_build import build_dense_index
from zerosearch.engines.registry import ENGINES, EngineContext, build_engine, identity
from zerosearch.engines.replay import RecordedEngine
from zerosearch.models.encoder import Encoder


class Echo:
    async def complete(self, prompt: str, sampling: Sampling) -> str:
        return "Doc 1: an echo"


def no_chat(config: object) -> Chat:
    return Echo()


AROUND = EngineContext(no_chat, "cpu")


def engine_of(**table: object) -> SearchEngine:
    return build_engine(make_engine(table), AROUND)


def found(engine: SearchEngine, query: str = "w1 w2", k: int = 2) -> tuple[Document, ...]:
    async def main() -> tuple[Document, ...]:
        try:
            return (await engine.search(SearchRequest(query, Question("q", "?", ("gold",)), k=k))).documents
        finally:
            await close(engine)

    return asyncio.run(main())


@pytest.fixture
def server() -> Iterator[SearchServer]:
    with serving(SearchServer()) as server:
        yield server


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "c.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "text": f"w{i} w{i + 1}"}) + "\n" for i in range(6)))
    return file


def test_engines_over_a_corpus(corpus: Path, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "tiny", [f"w{i}" for i in range(8)])
    dense = {"corpus": str(corpus), "encoder": str(folder), "encoder_max_tokens": 64}
    with pytest.raises(BadInput, match="there is no dense index; run: zerosearch index"):
        engine_of(kind="dense", **dense)
    build_dense_index(corpus, Encoder.load(str(folder), "cpu", max_tokens=64), DenseSettings("tiny"))
    for kind in ("bm25", "dense", "hybrid"):
        documents = found(engine_of(kind=kind, **dense))
        assert documents[0].id == "1" and len(documents) == 2


def test_engines_over_http(server: SearchServer) -> None:
    for kind in ("searxng", "search-r1"):
        assert found(engine_of(kind=kind, url=f"{server.url}/{kind}")) == tuple(Document(s, t, u) for t, s, u in HITS[:2])


def test_a_simulated_engine() -> None:
    assert found(engine_of(kind="simulated", model="m")) == (Document("an echo"),)


def test_an_engine_of_ones_own_needs_no_line_here(tmp_path: Path) -> None:
    """One file and one recipe line."""
    (tmp_path / "mine.py").write_text(
        "from zerosearch.core.types import Document\nasync def search(query, k):\n    return [Document(f'{query} {i}') for i in range(k)]\n"
    )
    words = ["search", "hello", "--engine", "mine:search", "--k", "2", "--json", "-"]
    # -P: as the installed command runs, without the working directory on the path
    done = subprocess.run([sys.executable, "-P", "-m", "zerosearch", *words], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [document["text"] for document in json.loads(done.stdout)["documents"]] == ["hello 0", "hello 1"]
    for kind in ("no_such_module:search", "json:no_such_name"):
        with pytest.raises(BadConfig, match=f"cannot load the engine '{kind}'.*give it as module:name"):
            engine_of(kind=kind)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ({"kind": "srper"}, "unknown engine 'srper'; did you mean 'serper'?"),
        ({"kind": "dense", "corpus": "c"}, r"kind 'dense' needs `encoder` \(a folder or hub id of a Hugging Face encoder\)"),
        ({"kind": "searxng"}, r"kind 'searxng' needs `url` \(an address, for instance http://localhost:8000\)"),
        ({"kind": "mcp"}, "kind 'mcp' needs `command` .* or `url`"),
        ({"kind": "searxng", "url": "localhost"}, "url 'localhost' is not a URL"),
        ({"kind": "serper", "record": "a", "replay": "b"}, "record and replay exclude each other"),
        ({"kind": "serper", "max_usd": 5}, "max_usd = 5 needs usd_per_search"),
        ({"kind": "serper", "max_usd": -1}, "engine.max_usd.*greater than or equal to 0; received -1"),
        ({"kind": "serper", "indx_kind": "flat"}, "unknown recipe key 'engine.indx_kind'; did you mean 'engine.index_kind'"),
        ({"kind": "dense", "corpus": "c", "encoder": "e", "index_kind": "hsnw"}, "'flat', 'hnsw' or 'ivfpq'; received 'hsnw'"),
        ({"kind": "searxng", "url": "http://me:secret@host/"}, "url holds a password or a key"),
        ({"kind": "mcp", "url": "http://host/mcp?tavilyApiKey=secret"}, "url holds a password or a key.*write \\$\\{NAME\\}"),
        ({"kind": "mcp", "url": "http://host/mcp?key=${NO_SUCH_KEY}"}, "engine.url names the environment variable NO_SUCH_KEY, which"),
        ({"kind": "bm25", "corpus": "nowhere.jsonl"}, "nowhere.jsonl: no such file"),
    ],
)
def test_what_cannot_be_is_one_line(table: dict[str, object], what: str) -> None:
    with pytest.raises(BadInput, match=what) as failure:
        engine_of(**table)
    assert "\n" not in str(failure.value) and "secret" not in str(failure.value)


def test_a_missing_key_is_named() -> None:
    names = ("SERPER", "SERPAPI", "TAVILY", "BRAVE")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    script = (
        "from zerosearch.cli import run\n"
        "for kind in ('serper', 'serpapi', 'tavily', 'brave'): assert run(['search', 'x', '--engine', kind]) == 2"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == 4 and all(f"set the environment variable {name}_API_KEY" in line for name, line in zip(names, lines, strict=True))


# ---- what is put around an engine


def test_record_then_replay_without_engine_or_key(server: SearchServer, tmp_path: Path) -> None:
    tape = str(tmp_path / "tape.jsonl")
    table = {"kind": "searxng", "url": f"{server.url}/searxng"}
    first = found(engine_of(**table, record=tape))
    assert found(engine_of(**table, record=tape, max_searches=1)) == first  # a hit costs nothing
    server.answers["/searxng/search"] = lambda query: 1 / 0  # nobody may ask it any more
    assert found(engine_of(**table, replay=tape)) == first
    with pytest.raises(SearchFailed, match="not in the recording"):
        found(engine_of(**table, replay=tape), "another")
    engine = engine_of(kind="serper", replay=tape)  # neither a key nor the network is needed to find that it was not recorded
    with pytest.raises(SearchFailed, match="engine 'serper'; record it first"):
        found(engine)


def test_what_is_spent_outlives_the_process(server: SearchServer, tmp_path: Path) -> None:
    table = {"kind": "searxng", "url": f"{server.url}/searxng", "record": str(tmp_path / "tape.jsonl"), "max_searches": 1}
    found(engine_of(**table))
    with pytest.raises(SearchFailed, match="1 of max_searches = 1 were made"):
        found(engine_of(**table), "another")
    assert len(server.requests) == 1


def test_nothing_is_put_around_an_engine_that_wants_nothing(corpus: Path) -> None:
    assert not isinstance(engine_of(kind="bm25", corpus=str(corpus)), RecordedEngine)


def test_an_engine_has_one_name_wherever_its_files_lie() -> None:
    a = make_engine({"kind": "dense", "corpus": "/a/wiki.jsonl", "encoder": "/models/e5", "index_kind": "hnsw", "k": 3, "index_dir": "/x"})
    b = make_engine({"kind": "dense", "corpus": "b/wiki.jsonl", "encoder": "e5", "index_kind": "hnsw", "record": "t", "max_searches": 9})
    assert identity(a) == identity(b) == "dense corpus=wiki.jsonl encoder=e5 index_kind=hnsw"
    assert identity(make_engine({"kind": "serper"})) == "serper"
    secret = make_engine({"kind": "mcp", "url": "http://u:${P}@host/mcp?key=${K}", "tool": "search"})
    assert identity(secret) == "mcp tool=search url=http://host/mcp"


def test_a_recipe_holds_no_secret_and_comes_back_whole(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("[policy]\nmodel = 'm'\n[questions]\ntrain = 'q'\n[engine]\nkind = 'tavily'\n")
    recipe = load_recipe(
        file, ["engine.max_usd=2.5", "engine.usd_per_search=0.008", "engine.record=tape.jsonl", 'engine.query_prefix="query: "']
    )
    assert recipe.engine.query_prefix == "query: " and recipe.engine.max_usd == 2.5
    (tmp_path / "config.toml").write_text(to_toml(recipe))
    assert load_recipe(tmp_path / "config.toml") == recipe


def test_every_kind_that_needs_something_is_an_engine() -> None:
    from zerosearch.engines.settings import ENGINE_NEEDS

    assert ENGINE_NEEDS.keys() <= ENGINES.keys()
