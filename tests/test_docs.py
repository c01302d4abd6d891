"""What the README and the documentation show is true: Python blocks run, commands parse, links lead somewhere."""

import contextlib
import re
import runpy
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from zerosearch.cli import app
from zerosearch.config.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs/tutorials").glob("*.md")), *sorted((ROOT / "docs/howto").glob("*.md"))]
WITH_COMMANDS = [*PAGES, *(ROOT / "docs" / name for name in ("index.md", "simulator.md", "cluster.md", "serve.md"))]
WITH_LINKS = [README, *sorted(ROOT.glob("[A-Z]*.md")), ROOT / "benchmarks/README.md"]

BLOCKS = [
    pytest.param(block, id=f"{page.name}-{i}")
    for page in PAGES
    for i, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S))
]
COMMANDS = sorted(
    {
        line.strip().removeprefix(".venv/bin/").split(" #")[0].strip()
        for page in WITH_COMMANDS
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(\.venv/bin/)?zerosearch [a-z]", line) and (line.startswith("    ") or "│" not in line)
    }
)


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len(README.read_bytes()) <= 8192 and len(BLOCKS) >= 6 and len(COMMANDS) > 30


@pytest.mark.parametrize("block", BLOCKS)
def test_a_python_block_runs(block: str, micro: Path, tmp_path: Path) -> None:
    shutil.copytree(micro, tmp_path / "runs" / "tiny")
    (tmp_path / "block.py").write_text(block)
    with contextlib.chdir(tmp_path):
        runpy.run_path("block.py", run_name="__main__")


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_has_these_options(line: str) -> None:
    command, words = command_of(shlex.split(line.rstrip("\\").replace("…", ""))[1:])
    context = command.make_context(line, [], resilient_parsing=True)
    command.make_parser(context).parse_args([*words])  # raises for an option that the command does not have
    if command.name == "train" and not any(word.startswith("--") for word in words) and "RECIPE" not in words[0]:
        load_recipe(words[0], [word for word in words[1:] if "=" in word])


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []
