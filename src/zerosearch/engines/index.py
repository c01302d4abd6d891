"""Building an engine's index ahead of the first search."""

import time
from collections.abc import Callable
from typing import Any

from zerosearch.engines.bm25 import BM25Engine
from zerosearch.engines.registry import halves
from zerosearch.engines.settings import EngineConfig

Report = Callable[[str, int, int], None]  # phase, done, total (0: not known)


def build_indices(config: EngineConfig, device: str, say: Callable[[str], None], report: Report) -> dict[str, dict[str, Any]]:
    """The index of a bm25 or dense engine, or both of a hybrid one: where it is, how many passages it has, how long it took.

    `say` gets remarks, `report` the progress of each phase.
    """
    parts = halves(config) if config.kind == "hybrid" else (config,)
    return {part.kind: _BUILDERS[part.kind](part, device, say, report) for part in parts}


def _bm25(config: EngineConfig, device: str, say: Callable[[str], None], report: Report) -> dict[str, Any]:
    started = time.perf_counter()
    engine = BM25Engine(config.corpus, config.index_dir or None, say)
    return _built(engine.index_dir, len(engine), started)


def _dense(config: EngineConfig, device: str, say: Callable[[str], None], report: Report) -> dict[str, Any]:
    from zerosearch.data.passages import PassageStore
    from zerosearch.engines.dense import encoder_and_settings
    from zerosearch.engines.dense_build import build_dense_index

    encoder, settings = encoder_and_settings(config, device)
    started = time.perf_counter()
    index_dir = build_dense_index(config.corpus, encoder, settings, config.index_dir or None, report=report)
    return _built(index_dir, len(PassageStore(index_dir)), started)


def _built(index_dir: Any, passages: int, started: float) -> dict[str, Any]:
    return {"index_dir": str(index_dir), "passages": passages, "seconds": round(time.perf_counter() - started, 2)}


_BUILDERS = {"bm25": _bm25, "dense": _dense}
