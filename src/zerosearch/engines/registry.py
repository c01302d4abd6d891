"""Engines by name: kind → builder. A new engine is a file and a line in ENGINES; a user's own engine is given as MODULE:NAME."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zerosearch.core.errors import BadFile
from zerosearch.core.function_engine import as_engine
from zerosearch.core.interfaces import Chat, SearchEngine
from zerosearch.core.registry import resolve
from zerosearch.core.types import Quality, Sampling
from zerosearch.engines.bm25 import BM25Engine
from zerosearch.engines.hybrid import HybridEngine
from zerosearch.engines.prompts import Imitated, simulator_prompt
from zerosearch.engines.replay import Budget, RecordedEngine
from zerosearch.engines.search_log import SearchLog
from zerosearch.engines.settings import EngineConfig
from zerosearch.engines.simulated import SimulatedEngine
from zerosearch.engines.web import WEB_APIS, WebApi, WebEngine
from zerosearch.net.http import from_environment, shown_url
from zerosearch.net.pool import addresses


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What an engine may need beside its settings: a model that writes (loaded when it is needed), a device, a seed."""

    chat: Callable[[EngineConfig], Chat]
    device: str = "auto"
    seed: int = 0


class _NeverAsked:
    """The model of a simulated engine whose searches are replayed."""

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        raise AssertionError("a replayed search asks no model")


Builder = Callable[[EngineConfig, EngineContext], SearchEngine]


def _simulated(config: EngineConfig, around: EngineContext) -> SearchEngine:
    return SimulatedEngine(
        around.chat(config),
        simulator_prompt(config.template),
        k=config.k,
        sampling=Sampling(config.max_new_tokens, config.temperature, config.top_p, stop=("</information>",)),
        seed=around.seed,
        share_coin_in_group=config.share_coin_in_group,
        imitated=Imitated(config.persona, config.domain, config.language, config.words_per_document),
        guard_redraws=config.guard_redraws,
        guarded=tuple(Quality) if config.guarded == "both" else (Quality.NOISY,),
    )


def _bm25(config: EngineConfig, around: EngineContext) -> SearchEngine:
    return BM25Engine(config.corpus, config.index_dir or None)


def _dense(config: EngineConfig, around: EngineContext) -> SearchEngine:
    from zerosearch.engines.dense import DenseEngine, encoder_and_settings  # imports torch

    encoder, settings = encoder_and_settings(config, around.device)
    return DenseEngine.open(config.corpus, encoder, settings, config.index_dir or None, config.index_effort)


def _web(api: WebApi) -> Builder:
    def build(config: EngineConfig, around: EngineContext) -> SearchEngine:
        return WebEngine(
            api,
            from_environment(config.url, "engine.url"),
            timeout_s=config.timeout_s,
            max_attempts=config.max_attempts,
            max_concurrency=config.max_concurrency,
        )

    return build


def engine_of_recording(recording: str) -> str:
    """The one engine whose searches a recording holds. Raises BadFile if there are several, none, or a simulated one."""
    engines = SearchLog(Path(recording), writable=False).engines
    if len(engines) != 1 or next(iter(engines)).split()[0] == "simulated":
        found = f"those of {len(engines)} engines" if len(engines) != 1 else "a simulated engine's, which also depend on its noise"
        raise BadFile(
            f"{recording}: engine 'replay' needs the searches of one real engine; these are {found}; name the engine, replay={recording}."
        )
    return next(iter(engines))


def _mcp(config: EngineConfig, around: EngineContext) -> SearchEngine:
    from zerosearch.engines.mcp import MCPEngine

    return MCPEngine(
        command=from_environment(config.command, "engine.command"),
        url=from_environment(config.url, "engine.url"),
        tool=config.tool,
        query_argument=config.query_argument,
        k_argument=config.k_argument,
        timeout_s=config.timeout_s,
    )


ENGINES: dict[str, Builder] = {
    "simulated": _simulated,
    "bm25": _bm25,
    "dense": _dense,
    "hybrid": lambda config, around: HybridEngine([b(half, around) for half, b in zip(halves(config), (_bm25, _dense), strict=True)]),
    "mcp": _mcp,
    "replay": lambda config, around: RecordedEngine(None, engine_of_recording(config.replay), replay=config.replay),
    **{name: _web(api) for name, api in WEB_APIS.items()},
}


def halves(config: EngineConfig) -> tuple[EngineConfig, EngineConfig]:
    """The settings of the two engines of a hybrid one. Their indices share a folder if one is given."""

    def half(kind: str) -> EngineConfig:
        index_dir = str(Path(config.index_dir, kind)) if config.index_dir else ""
        return config.model_copy(update={"kind": kind, "index_dir": index_dir})

    return half("bm25"), half("dense")


def builder_of(kind: str) -> Builder:
    """Raises BadConfig with the closest name, or with what is wrong with a module:name."""
    if ":" in kind:
        engine = as_engine(resolve("engine", kind))
        return lambda config, around: engine
    return resolve("engine", kind, ENGINES)


def build_engine(config: EngineConfig, around: EngineContext, remember: int = 0) -> SearchEngine:
    """The engine of a recipe's [engine] section, with recording, replay and budget around it, remembering so many searches.

    A simulated engine remembers by itself. Raises BadInput in one line.
    """
    build = builder_of(config.kind)
    wanted = config.record or config.replay or config.max_searches or config.max_usd
    if not wanted and (not remember or config.kind == "simulated"):
        return build(config, around)
    if not config.replay:
        engine = build(config, around)
    elif config.kind == "simulated":  # its noise is drawn again
        engine = build(config, replace(around, chat=lambda config: _NeverAsked()))
    else:  # a reply depends on query and k alone, so the engine itself, with its key, is not needed
        engine = None
    ledger = Path(f"{config.record}.spent") if config.record else None
    budget = Budget(config.max_searches, config.max_usd, config.usd_per_search, ledger)
    name = engine_of_recording(config.replay) if config.kind == "replay" else identity(config)
    return RecordedEngine(engine, name, record=config.record, replay=config.replay, budget=budget, remember=remember)


# settings that change how a search is made, not what it finds
_BESIDE_THE_POINT = frozenset(
    "k timeout_s outage_s "
    "max_attempts max_concurrency index_dir record replay max_searches max_usd usd_per_search share_coin_in_group".split()
)


def deciding(config: EngineConfig) -> dict[str, Any]:
    """The kind and the settings that decide what a query finds; the same whether it is recorded, replayed or limited."""
    beside = _BESIDE_THE_POINT - ({"replay"} if config.kind == "replay" else frozenset())
    return {"kind": config.kind, **config.model_dump(exclude_defaults=True, exclude={"kind", *beside})}


def identity(config: EngineConfig) -> str:
    """The engine's name in a recording: its kind and whatever decides its replies, without secrets and file paths."""
    settings = {name: value for name, value in deciding(config).items() if name != "kind"}
    settings |= {name: Path(value).name for name, value in settings.items() if name in ("corpus", "encoder", "model")}
    if "url" in settings:
        settings["url"] = ",".join(sorted(shown_url(url) for url in addresses(settings["url"])))
    return " ".join([config.kind, *(f"{name}={value}" for name, value in sorted(settings.items()))])
