"""Teach a language model to search by reinforcement learning against a simulated search engine.

The nouns and the errors are here; everything that does something lives in its own module (`zerosearch.rollout.loop`, …),
so that `import zerosearch` stays free of torch. Each is fetched when it is named: the command minds Ctrl-C before it imports anything.
"""

from zerosearch.core.version import __version__

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from zerosearch.core.errors import (
        BadConfig,
        BadFile,
        BadInput,
        GenerationFailed,
        ModelNotUsable,
        RunFailed,
        SearchFailed,
        ZeroSearchError,
    )
    from zerosearch.core.types import (
        Author,
        Document,
        Finish,
        Generation,
        Group,
        Quality,
        Question,
        Sampling,
        Scores,
        SearchRecord,
        SearchRequest,
        SearchResult,
        Span,
        StopReason,
        Trajectory,
    )


__all__ = [
    "Author",
    "BadConfig",
    "BadFile",
    "BadInput",
    "Document",
    "Finish",
    "Generation",
    "GenerationFailed",
    "Group",
    "ModelNotUsable",
    "Quality",
    "Question",
    "RunFailed",
    "Sampling",
    "Scores",
    "SearchFailed",
    "SearchRecord",
    "SearchRequest",
    "SearchResult",
    "Span",
    "StopReason",
    "Trajectory",
    "ZeroSearchError",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from zerosearch.core import errors, types

        return getattr(types, name, None) or getattr(errors, name)
    raise AttributeError(f"module 'zerosearch' has no attribute '{name}'")
