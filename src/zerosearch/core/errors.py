"""Every error that zerosearch raises on purpose, as a tree.

ZeroSearchError
├── BadInput                 the user can fix it: exit code 2, one line on stderr
│   ├── BadConfig            an unknown recipe key, a value out of range, settings that contradict each other
│   ├── BadFile              a missing, empty or malformed file (names the file and the line)
│   └── ModelNotUsable       a checkpoint that cannot be loaded, or has no tokenizer
├── SearchFailed             a search engine could not answer; ends the rollout, is never turned into documents
│   └── BudgetSpent          the search would exceed max_searches or max_usd; it was not made
├── GenerationFailed         a policy or chat endpoint could not answer, after bounded retries
└── RunFailed                the work began and could not be finished: exit code 1
"""

from collections.abc import Callable, Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Any, cast


class ZeroSearchError(Exception):
    """Root of the tree. The message is one line: what happened, the value received, what to do."""

    exit_code = 1


class BadInput(ZeroSearchError):
    """The caller can fix it. The command line ends with exit code 2."""

    exit_code = 2


class BadConfig(BadInput):
    """A setting that is unknown, out of range, or contradicts another."""


class BadFile(BadInput):
    """A file that is missing, empty or malformed; the message names the file and the line."""


class ModelNotUsable(BadInput):
    """A checkpoint that cannot be loaded, or that has no tokenizer."""


class SearchFailed(ZeroSearchError):
    """A search engine could not answer."""


class BudgetSpent(SearchFailed):
    """The search would exceed `max_searches` or `max_usd`; it was not made."""


class GenerationFailed(ZeroSearchError):
    """A policy or a chat endpoint could not answer, after bounded retries."""


class RunFailed(ZeroSearchError):
    """The work began and could not be finished. The command line ends with exit code 1."""


def first_error(error: BaseException) -> BaseException:
    """The first exception of a group, however deeply nested; any other exception as it is."""
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return error


def one_line(what: BaseException | str, limit: int = 200) -> str:
    """A text on one line, cut to `limit` characters; for an exception, its message, or its type if the message is empty."""
    return " ".join(str(what).split())[:limit] or (type(what).__name__ if isinstance(what, BaseException) else "")


def called(what: str, function: Callable[..., Any], *arguments: Any, where: str = "") -> Any:
    """Call a function that may be the user's. If it raises, raise BadConfig with one line that says `what` it is; our own errors pass."""
    try:
        return function(*arguments)
    except ZeroSearchError:
        raise
    except Exception as error:
        raise BadConfig(f"the {what} raised {type(error).__name__}: {one_line(error)}{where}.") from error


def quoted_name(function: object) -> str:
    return f"'{getattr(function, '__name__', type(function).__name__)}'"


def one_of(what: str, value: str, allowed: Iterable[str], error: type[BadInput] = BadConfig) -> str:
    """Return `value` if it is among `allowed`; else raise an error that names the closest match."""
    names = sorted(allowed)
    if value in names:
        return value
    near = get_close_matches(value, names, n=3, cutoff=0.5)
    near = [name for name in near if _likeness(value, name) == _likeness(value, near[0])]
    nearest = "' or '".join(near)
    hint = f"did you mean '{nearest}'?" if near else f"choose one of: {', '.join(names)}."
    raise error(f"unknown {what} '{value}'; {hint}")


def _likeness(value: str, name: str) -> float:
    """The ratio of `get_close_matches`, with letters in another order counted too: 'gpro' is as close to 'grpo' as to 'gspo'."""
    return SequenceMatcher(None, name, value).ratio()
