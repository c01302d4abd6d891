"""How to install optional dependencies; the only place in the source that names the distribution."""

from typing import Literal

DISTRIBUTION = "zerosearch-rl"  # as pip knows it; the distribution called `zerosearch` belongs to someone else

Extra = Literal["dense", "gguf", "mcp", "parquet", "serve", "track", "tune", "verl", "view"]  # as in pyproject.toml


def pip_line(extra: Extra) -> str:
    """The command that installs an extra: pip install 'zerosearch-rl[mcp]'."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def not_installed(what: str, package: str, extra: Extra, instead: str = "") -> str:
    """The error message when `what` needs a package that is not installed; `instead` says what else the user can do."""
    return f"{what} needs {package}, which is not installed; install it with {pip_line(extra)}{instead and f', or {instead}'}."
