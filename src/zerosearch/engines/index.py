"""Building what an engine searches, ahead of the first search."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from zerosearch.engines.bm25 import BM25Engine
from zerosearch.engines.registry import halves
from zerosearch.engines.settings import EngineConfig
from zerosearch.runs.progress import Progress


def build_indices(config: EngineConfig, device: str, console: Console) -> dict[str, dict[str, Any]]:
    """The index of a bm25 or dense engine, or both of a hybrid one; where it is, how many passages, how long it took."""
    parts = halves(config) if config.kind == "hybrid" else (config,)
    return {part.kind: _BUILDERS[part.kind](part, device, console) for part in parts}


def _bm25(config: EngineConfig, device: str, console: Console) -> dict[str, Any]:
    started = time.perf_counter()
    engine = BM25Engine.open(config.corpus, config.index_dir or None, lambda line: console.print(line, highlight=False, soft_wrap=True))
    return _built(engine.index_dir, len(engine), started)


def _dense(config: EngineConfig, device: str, console: Console) -> dict[str, Any]:
    from zerosearch.data.passages import PassageStore
    from zerosearch.engines.dense import encoder_and_settings
    from zerosearch.engines.dense_build import build_dense_index

    encoder, settings = encoder_and_settings(config, device)
    started = time.perf_counter()
    bars: dict[str, Progress] = {}

    def report(phase: str, done: int, total: int) -> None:
        if phase not in bars:
            for bar in bars.values():
                bar.__exit__(None, None, None)
            bars[phase] = Progress(phase, console).__enter__()
        if total:
            bars[phase].step(done, total)

    try:
        index_dir = build_dense_index(config.corpus, encoder, settings, config.index_dir or None, report=report)
    finally:
        if bars:
            list(bars.values())[-1].__exit__(None, None, None)
    return _built(index_dir, len(PassageStore(index_dir)), started)


def _built(index_dir: Any, passages: int, started: float) -> dict[str, Any]:
    return {"index_dir": str(index_dir), "passages": passages, "seconds": round(time.perf_counter() - started, 2)}


_BUILDERS = {"bm25": _bm25, "dense": _dense}
