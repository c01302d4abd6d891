"""Whatever can be plugged in is given as an object, as "module:name", or by a name of the package's own; this is where that is resolved."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from zerosearch.core.errors import BadConfig, one_of

FROM_PYTHON = "python:"  # how a run's config names an object that has no importable name


def resolve(kind: str, given: object, named: Mapping[str, Any] | None = None) -> Any:
    """An object as it is; of a text, what "module:name" names on the Python path or in the working directory, or an entry of `named`.

    `kind` is the word for it in messages. Raises BadConfig: the import's own message, or the nearest name there is.
    """
    if not isinstance(given, str):
        return given
    if given.startswith(FROM_PYTHON):
        raise BadConfig(
            f"the {kind} was handed over from Python ('{given.removeprefix(FROM_PYTHON)}'), so only there can the run be resumed: "
            "zerosearch.train(…, resume=True) with the same arguments."
        )
    if ":" not in given:
        return (named or {})[one_of(kind, given, named or {})]
    module, _, name = given.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # last: a file of yours hides nobody's module
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except BadConfig:
        raise
    except Exception as error:  # importing runs the module, which may raise anything
        raise BadConfig(f"cannot load the {kind} '{given}' ({type(error).__name__}: {error}); write module:name.") from error
    return found


def name_of(given: object) -> str:
    """How a run's config names what was given: a text as it is, an importable object by "module:name", any other by its own name."""
    if isinstance(given, str):
        return given
    module, name = getattr(given, "__module__", ""), getattr(given, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in name.split(".") if name and module != "__main__" else ():
        found = getattr(found, part, None)
    if name and found is given:
        return f"{module}:{name}"
    return f"{FROM_PYTHON}{name or type(given).__qualname__}"
