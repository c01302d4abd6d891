"""Resolve whatever can be plugged in, which is given as an object, as "module:name", or as one of the package's own names."""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from zerosearch.core.errors import BadConfig, one_of

FROM_PYTHON = "python:"  # how a run's config names an object that has no importable name


def resolve(kind: str, given: object, named: Mapping[str, Any] | None = None) -> Any:
    """An object is returned as it is; a text is looked up as "module:name" (Python path or working directory) or in `named`.

    `kind` is what messages call it. Raises BadConfig with the import's own message, or with the closest name.
    """
    if not isinstance(given, str):
        return given
    if given.startswith(FROM_PYTHON):
        raise BadConfig(
            f"the {kind} was passed from Python ('{given.removeprefix(FROM_PYTHON)}'), so the run can only be resumed from Python: "
            "zerosearch.train(…, resume=True) with the same arguments."
        )
    if ":" not in given:
        return (named or {})[one_of(kind, given, named or {})]
    module, _, name = given.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # last, so that a local file hides no installed module
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except BadConfig:
        raise
    except Exception as error:  # importing runs the module, which may raise anything
        raise BadConfig(f"cannot load the {kind} '{given}' ({type(error).__name__}: {error}); give it as module:name.") from error
    return found


def name_of(given: object) -> str:
    """How a run's config names what was given: a text as it is, an importable object as "module:name", any other by its own name."""
    if isinstance(given, str):
        return given
    module, name = getattr(given, "__module__", ""), getattr(given, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in name.split(".") if name and module != "__main__" else ():
        found = getattr(found, part, None)
    if name and found is given:
        return f"{module}:{name}"
    return f"{FROM_PYTHON}{name or type(given).__qualname__}"
