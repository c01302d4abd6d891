"""Teach a language model to search by reinforcement learning against a simulated search engine.

    import zerosearch as zs
    run = zs.train(policy="FOLDER or hub id", questions="FILE", engine=my_search, reward=my_reward, out="runs/mine")
    trajectory = zs.rollout("who wrote Faust?", policy=run.policy, engine=my_search)
    report = zs.evaluate(run.policy, "held_out.jsonl", engine=my_search)

Each name is fetched when it is used, so `import zerosearch` loads no torch, and hardly anything else.
"""

import sys
from types import ModuleType

import zerosearch.rollout  # noqa: F401 (its name is a function's, too: see below)
from zerosearch.core.version import __version__ as __version__

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from zerosearch.api.asking import Report as Report
    from zerosearch.api.asking import arollout as arollout
    from zerosearch.api.asking import evaluate as evaluate
    from zerosearch.api.asking import rollout as rollout
    from zerosearch.api.training import Run as Run
    from zerosearch.api.training import train as train
    from zerosearch.core.curriculum import NoiseCurriculum as NoiseCurriculum
    from zerosearch.core.errors import BadConfig as BadConfig
    from zerosearch.core.errors import BadFile as BadFile
    from zerosearch.core.errors import BadInput as BadInput
    from zerosearch.core.errors import BudgetSpent as BudgetSpent
    from zerosearch.core.errors import GenerationFailed as GenerationFailed
    from zerosearch.core.errors import ModelNotUsable as ModelNotUsable
    from zerosearch.core.errors import RunFailed as RunFailed
    from zerosearch.core.errors import SearchFailed as SearchFailed
    from zerosearch.core.errors import ZeroSearchError as ZeroSearchError
    from zerosearch.core.interfaces import Chat as Chat
    from zerosearch.core.interfaces import Environment as Environment
    from zerosearch.core.interfaces import Policy as Policy
    from zerosearch.core.interfaces import Renderer as Renderer
    from zerosearch.core.interfaces import SearchEngine as SearchEngine
    from zerosearch.core.types import Author as Author
    from zerosearch.core.types import Document as Document
    from zerosearch.core.types import Episode as Episode
    from zerosearch.core.types import Finish as Finish
    from zerosearch.core.types import Generation as Generation
    from zerosearch.core.types import Group as Group
    from zerosearch.core.types import Quality as Quality
    from zerosearch.core.types import Question as Question
    from zerosearch.core.types import Sampling as Sampling
    from zerosearch.core.types import Scores as Scores
    from zerosearch.core.types import SearchRecord as SearchRecord
    from zerosearch.core.types import SearchRequest as SearchRequest
    from zerosearch.core.types import SearchResult as SearchResult
    from zerosearch.core.types import Span as Span
    from zerosearch.core.types import Step as Step
    from zerosearch.core.types import StopReason as StopReason
    from zerosearch.core.types import Trajectory as Trajectory
    from zerosearch.engines.bm25 import BM25Engine as BM25Engine
    from zerosearch.engines.simulated import SimulatedEngine as SimulatedEngine
    from zerosearch.rl.algorithms import Algorithm as Algorithm
    from zerosearch.rollout.agents import Agent as Agent
    from zerosearch.rollout.environment import SearchEnvironment as SearchEnvironment

_NAMES = {
    "api.training": "train Run",
    "api.asking": "rollout arollout evaluate Report",
    "core.curriculum": "NoiseCurriculum",
    "core.errors": "BadConfig BadFile BadInput BudgetSpent GenerationFailed ModelNotUsable RunFailed SearchFailed ZeroSearchError",
    "core.interfaces": "Chat Environment Policy Renderer SearchEngine",
    "core.types": "Author Document Episode Finish Generation Group Quality Question Sampling Scores SearchRecord SearchRequest SearchResult"
    " Span Step StopReason Trajectory",
    "engines.bm25": "BM25Engine",
    "engines.simulated": "SimulatedEngine",
    "rl.algorithms": "Algorithm",
    "rollout.agents": "Agent",
    "rollout.environment": "SearchEnvironment",
}
_HOMES = {name: f"zerosearch.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'zerosearch' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*_HOMES, "__version__"]


class _Rollout(ModuleType):
    """The package `zerosearch.rollout` has the name of a function, so it can be called as that function."""

    def __call__(self, *args: object, **settings: object) -> object:
        from zerosearch.api.asking import rollout

        return rollout(*args, **settings)  # pyright: ignore[reportArgumentType]


sys.modules["zerosearch.rollout"].__class__ = _Rollout
