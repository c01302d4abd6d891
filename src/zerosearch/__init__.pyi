"""The names of `import zerosearch as zs`. Type checkers read this; so does `__init__.py`, which fetches each name when it is used."""

from .api.asking import Report, arollout, evaluate, rollout
from .api.training import Run, train
from .core.curriculum import NoiseCurriculum
from .core.errors import (
    BadConfig,
    BadFile,
    BadInput,
    BudgetSpent,
    GenerationFailed,
    ModelNotUsable,
    RunFailed,
    SearchFailed,
    ZeroSearchError,
)
from .core.interfaces import Chat, Environment, Policy, Renderer, SearchEngine
from .core.types import (
    Author,
    Document,
    Episode,
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
    Step,
    StopReason,
    Trajectory,
)
from .engines.bm25 import BM25Engine
from .engines.simulated import SimulatedEngine
from .rl.algorithms import Algorithm
from .rollout.agents import Agent
from .rollout.environment import SearchEnvironment

__version__: str
__all__ = [
    "Agent",
    "Algorithm",
    "Author",
    "BM25Engine",
    "BadConfig",
    "BadFile",
    "BadInput",
    "BudgetSpent",
    "Chat",
    "Document",
    "Environment",
    "Episode",
    "Finish",
    "Generation",
    "GenerationFailed",
    "Group",
    "ModelNotUsable",
    "NoiseCurriculum",
    "Policy",
    "Quality",
    "Question",
    "Renderer",
    "Report",
    "Run",
    "RunFailed",
    "Sampling",
    "Scores",
    "SearchEngine",
    "SearchEnvironment",
    "SearchFailed",
    "SearchRecord",
    "SearchRequest",
    "SearchResult",
    "SimulatedEngine",
    "Span",
    "Step",
    "StopReason",
    "Trajectory",
    "ZeroSearchError",
    "arollout",
    "evaluate",
    "rollout",
    "train",
]
