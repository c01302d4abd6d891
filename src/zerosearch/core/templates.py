"""Texts with {placeholders}: built-in ones by name, or files of the user's."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zerosearch.core.errors import BadConfig, BadFile


def read_texts(module: str, file: str) -> dict[str, Any]:
    """The texts of the TOML file that lies beside a module (given by its `__file__`)."""
    return tomllib.loads(Path(module).with_name(file).read_text(encoding="utf-8"))


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace each {name} by its value, once: braces inside a value are left alone, unknown names too."""
    return re.sub(r"\{(\w+)\}", lambda m: str(values[m[1]]) if m[1] in values else m[0], template)


def file_text(name: str) -> str | None:
    """The text of the file `name`; None for a built-in name, which has neither a slash nor a full stop. Raises BadFile."""
    if "/" not in name and "." not in name:
        return None
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise BadFile(f"cannot read the prompt file '{name}' ({error.strerror}); give a readable text file or a built-in name.") from error
    except UnicodeDecodeError as error:
        raise BadFile(
            f"the prompt file '{name}' is not UTF-8 text (byte {error.start}); give a readable text file or a built-in name."
        ) from error


def require_placeholders(name: str, text: str, placeholders: Sequence[str]) -> None:
    """Raises BadConfig for the first placeholder that the text lacks."""
    for placeholder in placeholders:
        if f"{{{placeholder}}}" not in text:
            raise BadConfig(f"the prompt file '{name}' lacks {{{placeholder}}}; put it where the {placeholder} belongs.")
