"""What every test stands on: no network, one thread, annotations checked at run time, and the real data where it is at hand."""

import os
from pathlib import Path

# before torch and huggingface_hub are imported: both read these once
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from jaxtyping import install_import_hook

# An int is a fine float, as for the static checker. ZEROSEARCH_TYPECHECK=0 switches the checks off, for instance to time something.
if os.environ.get("ZEROSEARCH_TYPECHECK", "1") != "0":
    install_import_hook("zerosearch", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the repository, or the one ZEROSEARCH_SHARED names."""
    folder = Path(os.environ.get("ZEROSEARCH_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the real data of {folder} (ZEROSEARCH_SHARED names another folder)")
    return folder


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny world and its checkpoints; see tests/micro.py."""
    from micro import write_micro

    folder = tmp_path_factory.mktemp("micro")
    write_micro(folder)
    return folder
