"""Imports point down: a module imports from its own floor or from a lower one, wherever in the file the import stands."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The first floor with a fitting pattern is a module's own. What each module is for: docs/architecture.md.
FLOORS = {
    "words": ["zerosearch", "types", "errors", "ports"],
    "rules": [
        *("tags", "prompts", "scoring", "rewards", "curriculum", "config", "engine_config", "files"),
        *("rl", "rl.advantages", "rl.losses", "rl.algorithms"),
    ],
    "bodies": ["search", "search.*", "models", "models.*", "http", "listener", "testing", "progress", "interrupts"],
    "flow": ["rollout"],
    "loops": [
        "rl.*",
        "rundir",
        "tracking",
        "assemble",
        *(f"{n}{dots}" for n in ("simulator", "evaluation", "server", "lab", "viewer", "scaling") for dots in ("", ".*")),
    ],
    "shell": ["cli", "cli.*", "__main__"],
}
FLOOR_NAMES = list(FLOORS)
MAY_USE_TORCH = ("rl.advantages", "rl.losses")  # of the floors words and rules
HEAVY = ("torch", "transformers")


def _short_name(path: Path) -> str:
    """`rl.losses` for rl/losses.py, `rl` for rl/__init__.py, `zerosearch` for the package itself."""
    parts = path.relative_to(ROOT / "src" / "zerosearch").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "zerosearch"


MODULES = {_short_name(path): path for path in sorted((ROOT / "src" / "zerosearch").rglob("*.py"))}


def floor(module: str) -> int | None:
    return next((i for i, name in enumerate(FLOORS) if any(fnmatchcase(module, pattern) for pattern in FLOORS[name])), None)


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything a source imports; relative imports are read as of `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = resolve_name("." * node.level + (node.module or ""), package)
            yield from ((node.lineno, f"{parent}.{alias.name}") for alias in node.names)


def faults(module: str, source: str, package: str) -> Iterator[str]:
    own = floor(module)
    if own is None:
        yield f"{module} is on no floor: add it to FLOORS in tests/test_floors.py and to the map in docs/architecture.md"
        return
    for line, name in imports(source, package):
        if name.split(".")[0] in HEAVY and own <= FLOOR_NAMES.index("rules") and module not in MAY_USE_TORCH:
            yield f"{module}, line {line}: imports {name}, but the floors words and rules are pure"
        if name.split(".")[0] != "zerosearch":
            continue
        target = name.removeprefix("zerosearch.")
        while target != "zerosearch" and target not in MODULES:  # `zerosearch.core.types.Question` is in `types`
            target = target.rpartition(".")[0] or "zerosearch"
        other = floor(target)
        if other is not None and other > own:
            yield f"{module}, line {line}: imports {target}, up from {FLOOR_NAMES[own]} to {FLOOR_NAMES[other]}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    path = MODULES[module]
    package = ".".join(path.relative_to(ROOT / "src").parts[:-1])
    found = list(faults(module, path.read_text(encoding="utf-8"), package))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("tags", "from zerosearch.core.types import Document", ""),
        ("tags", "from zerosearch import __version__", ""),
        ("rl.losses", "import torch", ""),
        ("types", "from zerosearch.rollout.grammar import parse_turn", "up from words to rules"),
        ("scoring", "def score():\n    from zerosearch import rollout", "line 2: imports rollout"),
        ("ports", "from . import rollout", "up from words to flow"),
        ("curriculum", "import torch.nn", "pure"),
        ("unheard_of", "", "add it to FLOORS"),
    ],
)
def test_the_rule_itself(module: str, source: str, fault: str) -> None:
    found = "\n".join(faults(module, source, "zerosearch"))
    assert fault in found and bool(fault) == bool(found)


def test_no_patching_in_tests() -> None:
    """Ports are passed in; a test that patches one is testing something else."""
    pattern = re.compile("monkey" + "patch|mock" + r"\.patch")
    assert [path.name for path in sorted((ROOT / "tests").rglob("*.py")) if pattern.search(path.read_text(encoding="utf-8"))] == []
