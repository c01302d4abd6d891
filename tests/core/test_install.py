"""What the messages tell a user to install exists, and is spelt in one place."""

import ast
import re
import tomllib
from pathlib import Path
from typing import get_args

from zerosearch.core.install import DISTRIBUTION, Extra, not_installed, pip_line

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: set[str] = set(PROJECT["optional-dependencies"])
HERE = "core/install.py"
SOURCE = ROOT / "src" / "zerosearch"
TEXTS = {
    path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(SOURCE.rglob("*"))
    if path.suffix in {".py", ".toml", ".yaml", ".sbatch", ".html", ".jinja", ".js"}
}


def test_the_line() -> None:
    assert pip_line("mcp") == "pip install 'zerosearch-rl[mcp]'"
    assert not_installed("tune", "peft", "tune") == (
        "tune needs peft, which is not installed; install it with pip install 'zerosearch-rl[tune]'."
    )
    assert not_installed("a page", "FastAPI", "view", "write a file").endswith("[view]', or write a file.")


def test_the_names_are_those_of_pyproject() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert {*get_args(Extra), "dev", "docs"} == EXTRAS
    # extras that bring other extras
    wanted = re.findall(r'"([\w-]+)\[([\w,]+)\]"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name, extras in wanted:
        assert name == DISTRIBUTION and set(extras.split(",")) <= EXTRAS


def test_every_extra_named_in_the_source_exists() -> None:
    place = {"pip_line": 0, "not_installed": 2}  # which argument is the extra
    named = {
        ast.literal_eval(node.args[place[node.func.id]])
        for name, text in TEXTS.items()
        if name.endswith(".py") and name != HERE
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in place
    }
    assert named == set(get_args(Extra)) <= EXTRAS


def test_no_other_spelling_of_an_install_line() -> None:
    """In Python; a scheduler's example has to spell it out, and must spell it right."""
    ours = re.compile(r"zerosearch(?:-rl)?\[|pip install[ '\"]*(?:zerosearch|\.)")
    for name, text in TEXTS.items():
        if name == HERE:
            continue
        if name.endswith(".py"):
            assert not ours.search(text), name
        for distribution, extra in re.findall(r"\b(zerosearch(?:-rl)?)\[(\w+)\]", text):
            assert distribution == DISTRIBUTION and extra in EXTRAS, name
