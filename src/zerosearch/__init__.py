"""Teach a language model to search by reinforcement learning against a simulated search engine.

The nouns and the errors are here; everything that does something lives in its own module (`zerosearch.rollout.loop`, `zerosearch.core.scoring`, …),
so that `import zerosearch` stays free of torch. Each is fetched when it is named: the command minds Ctrl-C before it imports anything.
"""

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

__version__ = "0.1.0"

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
        from zerosearch import errors, types

        return getattr(types, name, None) or getattr(errors, name)
    raise AttributeError(f"module 'zerosearch' has no attribute '{name}'")
