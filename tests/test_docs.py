"""What the README and the documentation show is true: Python blocks run, commands parse, links and the reference are whole."""

import contextlib
import importlib.util
import re
import runpy
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import zerosearch
from test_rooms import ROOMS
from zerosearch.cli import app
from zerosearch.config.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
# docs/reference is made by `make docs`, from code, and is not there in a fresh clone.
PAGES = [README, *sorted(page for page in DOCS.rglob("*.md") if page.parent.name != "reference")]
WITH_LINKS = [*PAGES, *sorted(set(ROOT.glob("[A-Z]*.md")) - {README}), ROOT / "benchmarks/README.md"]


def fenced(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands_in(text: str) -> list[str]:
    """Every `zerosearch …` of a code block or in backticks; lines that end with a backslash are joined."""
    text = re.sub(r"\\\n\s*", " ", text)
    lines = re.findall(r"^ {4,}(?:\w+=\S+ )*(?:\.venv/bin/)?(zerosearch [a-z].*)$", text, re.M)
    quoted = [one for one in re.findall(r"`(zerosearch [a-z][^`]*)`", text) if "=" not in one.split()[1]]
    return [line.split(" #")[0].strip() for line in lines] + quoted


BLOCKS = [
    pytest.param(block, id=f"{page.name}-{i}")
    for page in PAGES
    for i, block in enumerate(fenced("python", page.read_text(encoding="utf-8")))
]
COMMANDS = sorted({command for page in PAGES for command in commands_in(page.read_text(encoding="utf-8"))})


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len(README.read_bytes()) <= 8192
    assert len(BLOCKS) >= 7 and len(COMMANDS) > 60  # else the patterns above no longer find them


@pytest.mark.parametrize("block", BLOCKS)
def test_a_python_block_runs(block: str, micro: Path, tmp_path: Path) -> None:
    """In a folder where the tiny world that the blocks make has been made already."""
    shutil.copytree(micro, tmp_path / "runs" / "tiny")
    (tmp_path / "block.py").write_text(block)
    with contextlib.chdir(tmp_path):
        runpy.run_path("block.py", run_name="__main__")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_has_these_options(line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(re.sub(r"\s*…|\[|\]", "", line))[1:]  # [--option] may be given, … is left to the reader
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    assert not hasattr(command, "commands"), f"'{line}' names no command"
    context = command.make_context(line, [], resilient_parsing=True)
    context.resilient_parsing = False  # else the next line forgives everything
    command.make_parser(context).parse_args([*words])  # raises for an option that the command does not have
    if command.name == "train" and words and not any(word.startswith("--") or "RECIPE" in word for word in words):
        load_recipe(words[0], words[1:])


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Pages, pictures and files; `make docs` also checks the anchors, and the pages of docs/reference."""
    text = page.read_text(encoding="utf-8")
    targets = {target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target} - {""}
    assert [target for target in sorted(targets) if not (page.parent / target).exists() and "reference/" not in target] == []
    ours = re.findall(r"https://github\.com/zerosearch-rl/zerosearch/(?:blob|tree)/main/([^)#\s]+)", text)
    assert [path for path in ours if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    def named(entry: Any) -> list[str]:
        inner = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
        return [entry] if isinstance(entry, str) else [page for one in inner for page in named(one)]

    pages = {str(page.relative_to(DOCS)) for page in PAGES[1:]} | set(reference().PAGES)
    assert set(named(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])) == pages


def test_the_rooms_are_those_of_the_test() -> None:
    table = re.findall(r"^\| `(\w+)/` \|", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.M)
    packages = [room for room in ROOMS if (ROOT / "src/zerosearch" / room).is_dir()]
    assert [room for room in table if room in packages] == packages, "docs/architecture.md lists the rooms in the order of ROOMS"


def reference() -> Any:
    """scripts/docs_reference.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "scripts/docs_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_name_key_and_command() -> None:
    made = {path: make() for path, make in reference().PAGES.items()}
    python = re.findall(r"^::: zerosearch\.(?:[\w.]+\.)?(\w+)$", made["reference/python.md"], re.M)
    assert sorted(python) == sorted(set(zerosearch.__all__) - {"__version__"})
    for name, field in Recipe.model_fields.items():
        for key in getattr(field.annotation, "model_fields", {}):
            row = re.search(rf"^\| `{name}\.{key}` \|.*\| (.*) \|$", made["reference/recipe.md"], re.M)
            assert row and len(row[1]) > 5, f"{name}.{key}: a comment on the line of its field says what it means"
    root: Any = typer.main.get_command(app)
    assert {f"## zerosearch {name}" for name in root.commands} - {*re.findall(r"## zerosearch \w+", made["reference/commands.md"])} == set()
