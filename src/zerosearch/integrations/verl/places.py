"""Where a recipe's files lie, for processes in other folders and on other hosts."""

from __future__ import annotations

from pathlib import Path

from zerosearch.config.recipe import Recipe

_ENGINE = ("model", "template", "corpus", "index_dir", "encoder", "record", "replay")
_PATHS = {
    "policy": ("model",),
    "questions": ("train", "held_out"),
    "rollout": ("prompt",),
    "engine": _ENGINE,
    "evaluation_engine": _ENGINE,
    "run": ("out",),
}


def placed(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths. A name that is no path (a hub id, a built-in prompt) stays what it is."""
    table = recipe.model_dump()
    for section, keys in _PATHS.items():
        for key in keys if table[section] else ():
            value, made_later = table[section][key], key in ("record", "out")
            if value and (made_later or (Path(value).exists() and ("/" in value or "." in value))):
                table[section][key] = str(Path(value).resolve())
    return Recipe.model_validate(table)
