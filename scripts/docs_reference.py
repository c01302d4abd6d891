"""Write the reference pages of the documentation, docs/reference/, from the code. `make docs` calls it before it builds the site.

python.md      every name of `import zerosearch`, from its docstring
recipe.md      every key of a recipe, from the settings' own fields
commands.md    every command, from what typer knows about it
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import tomli_w

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

# The names of each group that are read first; those of the same modules follow in the order of the alphabet.
GROUPS = {
    "Train, ask, evaluate": ("train Run rollout arollout evaluate Report", "api."),
    "Environments and engines": ("SearchEnvironment BM25Engine SimulatedEngine Agent", "rollout. engines."),
    "What can be plugged in": (
        "SearchEngine Environment Renderer Policy Algorithm NoiseCurriculum Chat",
        "core.interfaces core.curriculum rl.",
    ),
    "Records": ("Question Document Trajectory Span Step", "core.types"),
    "Errors": ("ZeroSearchError BadInput RunFailed", "core.errors"),
}


def python_page() -> str:
    """The stub says in which module each name is."""
    stub = ast.parse((ROOT / "src/zerosearch/__init__.pyi").read_text(encoding="utf-8"))
    homes = {a.name: f"zerosearch.{node.module}" for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    page = ["# Python\n\n`import zerosearch as zs`. Each name is fetched when it is used, so the import loads no torch.\n"]
    for title, (first, modules) in GROUPS.items():
        prefixes = tuple(f"zerosearch.{module}" for module in modules.split())
        here = [name for name, home in homes.items() if home.startswith(prefixes)]
        page.append(f"\n## {title}\n")
        for name in sorted(here, key=lambda name: ([name != one for one in first.split()], name)):
            package = (ROOT / "src/zerosearch" / name).is_dir()  # `rollout` is a function and a package; the function is meant
            options = [f"heading: zerosearch.{name}", f"toc_label: {name}"] * package + ["show_if_no_docstring: true"] * _is_bare(
                homes[name], name
            )
            page.append(f"\n::: {homes[name] if package else 'zerosearch'}.{name}\n")
            page += ["    options:\n"] * bool(options) + [f"      {option}\n" for option in options]
    return "".join(page)


def _is_bare(home: str, name: str) -> bool:
    """Whether the class lists members that need no docstrings of their own: those of an enumeration, and the methods of a protocol."""
    value = getattr(importlib.import_module(home), name) if home.startswith("zerosearch.core.") else None
    return isinstance(value, type) and (issubclass(value, Enum) or getattr(value, "_is_protocol", False))


def recipe_page() -> str:
    from zerosearch.config.recipe import Recipe

    page = [
        "# Recipes\n\nA recipe is a TOML file with the sections below. Each key is also a `section.key=value` on the command line, and "
        "a key of the dictionary of that name in `zs.train(…, rl={…}, run={…})`. `zerosearch recipes` lists complete recipes. An empty "
        "text means that the setting is not used.\n"
    ]
    for name, field in Recipe.model_fields.items():
        page.append(f"\n## {name}\n\n")
        section: Any = field.annotation
        if name == "evaluation_engine":
            page.append("The engine for the held-out questions, with the same keys as `engine`. Left out, it is the engine of training.\n")
            continue
        page.append(_prose(inspect.getdoc(section) or "") + "\n\n")
        meanings = meanings_of(section)
        rows = [(f"`{name}.{key}`", _type_of(f), _default_of(f), meanings.get(key, "")) for key, f in section.model_fields.items()]
        columns = 4 if meanings else 3
        page.append(_table([row[:columns] for row in (("key", "type", "default", "meaning"), *rows)]))
    return "".join(page)


def meanings_of(section: Any) -> dict[str, str]:
    """Key → the comment at the end of the field's own line (its last one); keys without one are left out."""
    source = inspect.getsource(section)
    fields = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    ends = {field.target.id: source.splitlines()[(field.end_lineno or 0) - 1] for field in fields}
    return {key: line.partition("  # ")[2] for key, line in ends.items() if "  # " in line}


def commands_page() -> str:
    import typer

    from zerosearch.cli import app

    root: Any = typer.main.get_command(app)
    page = ["# Commands\n\nExit codes: 0 done, 1 ran but failed, 2 bad input (one line on stderr says what to do).\n"]
    for path, command in _commands("zerosearch", root):
        context = command.make_context(path, [], resilient_parsing=True)
        usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
        page.append(f"\n## {path}\n\n{inspect.cleandoc(command.help or '')}\n\n```text\n{usage}\n```\n\n")
        options = [param.get_help_record(context) for param in command.params if param.name != "help"]
        page.append(_table([("option", "meaning"), *((f"`{names}`", text) for names, text in filter(None, options))]))
    return "".join(page)


def _table(rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |\n" for row in rows]
    return "".join([lines[0], "|" + "---|" * len(rows[0]) + "\n", *lines[1:]])


def _commands(path: str, command: Any) -> list[tuple[str, Any]]:
    inner: dict[str, Any] = getattr(command, "commands", {})
    return [pair for name, one in inner.items() for pair in _commands(f"{path} {name}", one)] or [(path, command)]


def _prose(docstring: str) -> str:
    """A docstring as a part of a page; where spaces line up columns, as it stands."""
    return f"```text\n{docstring}\n```" if "    " in docstring else docstring


def _default_of(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "unset" if value is None else f"`{tomli_w.dumps({'v': value}).removeprefix('v = ').strip() if value != {} else '{}'}`"


def _type_of(field: Any) -> str:
    """`int`, at least 1: a type in words, with the bounds of the field."""
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): ""}

    def words(annotation: Any) -> str:
        origin, inner = get_origin(annotation), get_args(annotation)
        if origin is Literal:
            return ", ".join(f"`{value}`" for value in inner)
        if origin in (Union, types.UnionType):
            return " or ".join(filter(None, map(words, inner)))
        if hasattr(annotation, "__metadata__"):
            return words(inner[0]) + bounds(annotation.__metadata__)
        return "table" if origin is dict else names.get(annotation, str(annotation))

    def bounds(metadata: Any) -> str:
        flat = [one for entry in metadata for one in (*getattr(entry, "metadata", ()), entry)]
        limits = {sign: getattr(one, sign) for one in flat for sign in ("ge", "gt", "le", "lt") if getattr(one, sign, None) is not None}
        says = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        return "".join(f", {says[sign]} {value}" for sign, value in limits.items())

    return words(field.annotation) + bounds(field.metadata)


PAGES: dict[str, Callable[[], str]] = {
    "reference/python.md": python_page,
    "reference/recipe.md": recipe_page,
    "reference/commands.md": commands_page,
}


def main() -> None:
    for path, make in PAGES.items():
        file = ROOT / "docs" / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
