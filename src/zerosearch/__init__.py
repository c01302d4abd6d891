"""Teach a language model to search by reinforcement learning against a simulated search engine.

    import zerosearch as zs
    run = zs.train(policy="FOLDER or hub id", questions="FILE", engine=my_search, reward=my_reward, out="runs/mine")
    trajectory = zs.rollout("who wrote Faust?", policy=run.policy, engine=my_search)
    report = zs.evaluate(run.policy, "held_out.jsonl", engine=my_search)

Each name is fetched when it is used, so `import zerosearch` loads no torch, and hardly anything else.
"""

import sys
from types import ModuleType

import lazy_loader

import zerosearch.rollout  # noqa: F401 (its name is a function's, too: see below)
from zerosearch.core.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names and their places are in __init__.pyi


class _Rollout(ModuleType):
    """The package `zerosearch.rollout` has the name of a function, so it can be called as that function."""

    def __call__(self, *args: object, **settings: object) -> object:
        from zerosearch.api.asking import rollout

        return rollout(*args, **settings)  # pyright: ignore[reportArgumentType]


sys.modules["zerosearch.rollout"].__class__ = _Rollout
