"""What every test stands on: no network, one thread, annotations checked at run time, and the real data where it is at hand."""

import gc
import gzip
import itertools
import os
from collections.abc import Generator, Iterator
from pathlib import Path

# before torch and huggingface_hub are imported: they read these once
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a second thread that waits sleeps: the cores belong to the other tests

import pytest
from beartype import BeartypeConf
from beartype.claw import beartype_package
from jaxtyping import install_import_hook

from forked import Forker

ROOT = Path(__file__).resolve().parents[1]

# Annotations are checked by beartype, which is quick. jaxtyping's hook costs ten times as much a call, and has the modules that need it:
# one names shapes; in the other uvicorn wants the signature of `__call__`, which beartype's wrapper of an async function hides.
# A dataclass with a subclass in another module needs annotations that are objects: its module has no `from __future__ import annotations`.
# An int is a fine float, as for the static checker. ZEROSEARCH_TYPECHECK=0 switches the checks off, for instance to time something.
if os.environ.get("ZEROSEARCH_TYPECHECK", "1") != "0":
    beartype_package("zerosearch", conf=BeartypeConf(is_pep484_tower=True, claw_is_pep526=False))
    install_import_hook(
        ["zerosearch.models.encoder", "zerosearch.server.gateway"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What the tests import stays: the garbage collector, which would look through all of it again and again, never gets to see it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the repository, or the one ZEROSEARCH_SHARED names."""
    folder = Path(os.environ.get("ZEROSEARCH_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the real data of {folder} (ZEROSEARCH_SHARED names another folder)")
    return folder


@pytest.fixture(scope="session")
def passages(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every twelfth of the real passages: the index of all 58,298 takes 20 s."""
    file = tmp_path_factory.mktemp("passages") / "passages.jsonl"
    with gzip.open(shared / "data" / "corpus" / "wiki_passages.jsonl.gz", "rt") as lines:
        file.write_text("".join(itertools.islice(lines, 0, None, 12)))
    return file


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny world and its checkpoints."""
    from zerosearch.lab.tiny import tiny_world

    return tiny_world(tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="session")
def forker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    """Runs commands in processes of their own; see tests/forked.py."""
    forker = Forker(tmp_path_factory.mktemp("forked"))
    yield forker
    forker.close()
