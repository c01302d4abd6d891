"""Write the reference pages of the documentation, docs/reference/, from the code. `make docs` calls it before it builds the site.

python.md      every name of `import zerosearch`, from its docstring
recipe.md      every section of a recipe, from the settings' own fields
commands.md    every command, as `--help` says it
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))


def python_page() -> str:
    """The stub says where each name is; mkdocstrings reads it there."""
    stub = ast.parse((ROOT / "src/zerosearch/__init__.pyi").read_text(encoding="utf-8"))
    homes = {a.name: f"zerosearch.{node.module}" for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    groups = {
        "Train, ask, evaluate": "api.",
        "Environments and engines": "rollout. engines.",
        "What can be plugged in": "core.interfaces rl. core.curriculum",
        "Records": "core.types",
        "Errors": "core.errors",
    }
    page = ["# Python\n\n`import zerosearch as zs`. Each name is fetched when it is used, so the import loads no torch.\n"]
    for title, places in groups.items():
        page.append(f"\n## {title}\n")
        prefixes = tuple(f"zerosearch.{place}" for place in places.split())
        page += [f"\n::: {home}.{name}\n" for name, home in homes.items() if home.startswith(prefixes)]
    return "".join(page)


def recipe_page() -> str:
    from zerosearch.config.recipe import Recipe

    page = [
        "# Recipes\n\nA recipe is a TOML file with these sections. Each key is also a `section.key=value` on the command line,\n"
        "and a key of the dictionary of that name in `zerosearch.train(…, rl={…}, run={…})`. `zerosearch recipes` lists complete ones.\n"
    ]
    for name, field in Recipe.model_fields.items():
        section: Any = field.annotation
        if name == "evaluation_engine":
            page.append("\n## evaluation_engine\n\nThe engine of the held-out questions: the same keys as `engine`.\n")
            continue
        page.append(f"\n## {name}\n\n```text\n{_plain(section.__doc__)}\n```\n\n")
        page.append("| key | type | default |\n|---|---|---|\n")
        for key, inner in section.model_fields.items():
            default = "required" if inner.is_required() else f"`{inner.get_default(call_default_factory=True)!r}`"
            page.append(f"| `{name}.{key}` | {_type_of(inner.annotation)} | {default} |\n")
    return "".join(page)


def commands_page() -> str:
    os.environ["COLUMNS"] = "120"
    import typer

    from zerosearch.cli import app

    root: Any = typer.main.get_command(app)
    page = ["# Commands\n\nExit codes: 0 done, 1 ran but failed, 2 bad input (one line on stderr says what to do).\n"]
    for path, command in _commands("zerosearch", root):
        context = command.make_context(path, [], resilient_parsing=True)
        page.append(f"\n## {path}\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "".join(page)


def _commands(path: str, command: Any) -> list[tuple[str, Any]]:
    inner: dict[str, Any] = getattr(command, "commands", {})
    return [pair for name, one in inner.items() for pair in _commands(f"{path} {name}", one)] or [(path, command)]


def _plain(docstring: str | None) -> str:
    return re.sub(r"\n {4}", "\n", (docstring or "").strip())


def _type_of(annotation: Any) -> str:
    text = re.sub(r"\b(typing|collections\.abc|zerosearch\.[\w.]+)\.", "", str(annotation))
    text = re.sub(r"^<class '(\w+)'>$", r"\1", text)
    literal = re.fullmatch(r"Literal\[(.*)\]", text)
    return ", ".join(f"`{v}`" for v in literal[1].replace("'", "").split(", ")) if literal else f"`{text}`".replace("|", "\\|")


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
