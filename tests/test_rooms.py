"""The packages form a graph without cycles, and each uses only those that its row allows, wherever in a file the import stands."""

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "zerosearch"

# What each package may import of ours; a row names only rows above it, so there is no cycle. What each is for: docs/architecture.md.
ROOMS: dict[str, str] = {
    "core": "",
    "data": "core",
    "net": "core",
    "rollout": "core",
    "models": "core data",
    "runs": "core data",
    "engines": "core data net models",
    "evaluation": "core data rollout runs engines",
    "simulator": "core data net rollout models runs engines evaluation",
    "rl": "core data rollout models runs engines evaluation",
    "viewer": "core data runs evaluation",
    "server": "core data net engines",
    "config": "core data net rollout models runs engines evaluation rl",
    "api": "core data net rollout models runs engines evaluation rl simulator viewer config",
    "integrations": "core data net rollout models runs engines evaluation rl config api",
    "lab": "core data net rollout models runs engines evaluation rl simulator config api",
    "cli": "core data net rollout models runs engines evaluation rl simulator viewer server config api integrations lab",
    "zerosearch": "core data net rollout engines rl api",  # the face: each name is fetched when it is asked for
    "__main__": "cli",
}
FLOORS_AT_MOST = 10
PURE = ("core", "data", "net", "rollout", "zerosearch")  # importable without torch, for whoever only scores, serves or searches
HEAVY = ("torch", "transformers")


def package_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "zerosearch" if first == "__init__" else first


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything a source imports; relative imports are read as of `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = resolve_name("." * node.level + (node.module or ""), package)
            yield from ((node.lineno, f"{parent}.{alias.name}") for alias in node.names)


def faults(room: str, source: str, package: str) -> Iterator[str]:
    if room not in ROOMS:
        yield f"the package '{room}' is not in ROOMS: add it in tests/test_rooms.py and in docs/architecture.md"
        return
    for line, name in imports(source, package):
        top, _, rest = name.partition(".")
        if top in HEAVY and room in PURE:
            yield f"line {line}: imports {name}, but {room}/ is importable without torch"
        other = rest.split(".")[0] if top == "zerosearch" else room
        if other != room and other not in ROOMS[room].split():
            yield f"line {line}: {room}/ imports {name}, which its row in ROOMS does not allow"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    package = ".".join(path.relative_to(SOURCE.parent).parts[:-1])
    found = list(faults(package_of(path), path.read_text(encoding="utf-8"), package))
    assert not found, "\n".join(found)


# Modules of the standard library that Windows lacks.
UNIX_ONLY = {"fcntl", "grp", "posix", "pwd", "pty", "resource", "syslog", "termios", "tty"}


def test_everything_can_be_imported_on_windows() -> None:
    """No module needs at its top what only Unix has; inside a function, or an `if` that asks for it, it may."""
    found = [
        f"{path.relative_to(SOURCE)}, line {node.lineno}"
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if name.split(".")[0] in UNIX_ONLY
    ]
    assert found == []


def test_the_table_has_no_cycle_and_few_floors() -> None:
    height: dict[str, int] = {}
    for room, allowed in ROOMS.items():
        assert set(allowed.split()) <= height.keys(), f"{room} names a room that stands below it in the table"
        height[room] = 1 + max((height[other] for other in allowed.split()), default=-1)
    packages = [room for room in ROOMS if (SOURCE / room).is_dir()]
    assert max(height[room] for room in packages) < FLOORS_AT_MOST


@pytest.mark.parametrize(
    ("room", "source", "fault"),
    [
        ("rollout", "from zerosearch.core.types import Document", ""),
        ("rl", "import torch", ""),
        ("core", "from zerosearch.rollout.grammar import parse_turn", "core/ imports zerosearch.rollout"),
        ("rollout", "def score():\n    from zerosearch.engines import bm25", "line 2"),
        ("runs", "from . import config", "runs/ imports zerosearch.config"),
        ("core", "import torch.nn", "without torch"),
        ("unheard_of", "", "not in ROOMS"),
    ],
)
def test_the_rule_itself(room: str, source: str, fault: str) -> None:
    found = "\n".join(faults(room, source, "zerosearch"))
    assert fault in found and bool(fault) == bool(found)


def test_no_patching_in_tests() -> None:
    """What a test replaces is passed in; a test that patches something is testing something else."""
    pattern = re.compile("monkey" + "patch|mock" + r"\.patch")
    assert [path.name for path in sorted((ROOT / "tests").rglob("*.py")) if pattern.search(path.read_text(encoding="utf-8"))] == []
