"""Every example runs as it stands, in a folder of its own, and stays short."""

import ast
import contextlib
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CUSTOM = sorted(EXAMPLES.glob("custom_*.py"))


@pytest.fixture
def folder(micro: Path, tmp_path: Path) -> Path:
    """A working directory in which the tiny world has been made already."""
    shutil.copytree(micro, tmp_path / "runs" / "tiny")
    return tmp_path


def run(example: Path, folder: Path, *words: str) -> None:
    before, sys.argv = sys.argv, [str(example), *words]
    try:
        with contextlib.chdir(folder):
            runpy.run_path(str(example), run_name="__main__")
    finally:
        sys.argv = before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("engine", r"reward 0\.\d+ -> 0\.\d+\nexact match 0\.\d{3} \[.*\] \(n = 20\)"),
        ("reward", r"step 5  reward -?\d\.\d\d  searches \d\.\d\d"),
        ("algorithm", r"\[0\.\d+(, 0\.\d+){4}\]"),
        ("environment", r"Call search by JSON.*Stilzoum'\]\n\[0(\.\d+)?, "),
    ],
)
def test_a_part_of_ones_own_with_two_workers(name: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(EXAMPLES / f"custom_{name}.py", folder)
    assert re.search(said, capsys.readouterr().out)
    assert "workers = 2" in (folder / f"runs/custom_{name}/config.toml").read_text()


def test_the_minimal_loop_learns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(EXAMPLES / "minimal_loop.py", folder, "10")
    rewards = [float(r) for r in re.findall(r"reward (\d\.\d\d)", capsys.readouterr().out)]
    assert len(rewards) == 10 and sum(rewards[-3:]) > sum(rewards[:3]) + 0.2


def test_the_notebook(folder: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / "train_in_a_notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "step 6  reward" in said and "who is married to" in said


@pytest.mark.parametrize("example", CUSTOM, ids=lambda path: path.stem)
def test_examples_are_short_and_need_no_private_name(example: Path) -> None:
    source = example.read_text()
    tree = ast.parse(source)
    assert sum(bool(line.strip()) for line in source.splitlines()) <= 30
    ours = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zerosearch")}
    assert ours == {"zerosearch.lab.tiny"}  # the world; all else is `zs.…`
    assert not [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]


def test_the_minimal_loop_fits_a_hundred_lines() -> None:
    assert len((EXAMPLES / "minimal_loop.py").read_text().splitlines()) <= 100
