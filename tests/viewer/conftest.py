"""The synthetic run of run_examples.py, as a fixture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # helpers beside these tests

from run_examples import trajectory, write_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "quickstart")


@pytest.fixture
def make_trajectory() -> Callable[..., dict[str, Any]]:
    return trajectory
