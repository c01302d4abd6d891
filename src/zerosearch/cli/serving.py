"""`zerosearch serve`: an engine behind every search API's dialect."""

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from zerosearch.cli.options import SeedOption, console, engine_table, takes
from zerosearch.core.errors import BadConfig, BadFile
from zerosearch.core.install import not_installed

_PORT = 8080
_KEYS_VARIABLE = "ZEROSEARCH_API_KEYS"


@takes(source=engine_table)
def serve(
    source: dict[str, Any],
    host: Annotated[str, typer.Option("--host", help="The address to listen at; others than this machine need it.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help=f"By default {_PORT}, or the next that is free; 0 is any.")
    ] = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="Speak MCP on stdin and stdout; over HTTP it is always there, at /mcp.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Start on a made-up world, or on --corpus, and print a curl line for each dialect.")
    ] = False,
    k: Annotated[int, typer.Option("--k", min=1, help="How many documents a simulated engine writes.")] = 5,
    noise: Annotated[float, typer.Option("--noise", min=0, max=1, help="The probability of noisy documents, of a simulated engine.")] = 0.0,
    curriculum: Annotated[
        str, typer.Option("--curriculum", help="Instead of --noise: from START:END, over --steps.", metavar="START:END")
    ] = "",
    schedule: Annotated[str, typer.Option("--schedule", help="How: paper, linear, reverse, constant or random.")] = "paper",
    steps: Annotated[int, typer.Option("--steps", min=1, help="The length of the curriculum.")] = 200,
    requests_per_step: Annotated[
        int, typer.Option("--requests-per-step", min=0, help="So many requests are a step; 0: POST /v1/step says when.")
    ] = 0,
    seed: SeedOption = 0,
    questions: Annotated[str, typer.Option("--questions", help="Questions that requests may name by id.", metavar="FILE")] = "",
    keys: Annotated[
        str, typer.Option("--keys", help=f"Only these API keys, one per line (or in ${_KEYS_VARIABLE}, with commas).", metavar="FILE")
    ] = "",
    rate: Annotated[float, typer.Option("--rate", min=0, help="Requests per second of each key; 0 is no limit.")] = 0.0,
    burst: Annotated[int, typer.Option("--burst", min=0, help="How many of them at once; 0: a second's.")] = 0,
    max_concurrency: Annotated[int, typer.Option("--max-concurrency", min=1, help="Requests that are searched for at once.")] = 256,
    max_queue: Annotated[int, typer.Option("--max-queue", min=0, help="Requests that wait; those beyond get 503.")] = 256,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds a search may take.")] = 60.0,
    drain: Annotated[float, typer.Option("--drain", min=0, help="Seconds to finish what was begun, on SIGTERM.")] = 30.0,
    max_k: Annotated[int, typer.Option("--max-k", min=1, help="Documents a search may ask for.")] = 100,
    max_query: Annotated[int, typer.Option("--max-query", min=1, help="Characters a query may have.")] = 2048,
    max_body: Annotated[int, typer.Option("--max-body", min=1024, help="Bytes a request may have.")] = 2**20,
    remember: Annotated[int, typer.Option("--remember", min=0, help="Real searches answered from memory when they come again.")] = 4096,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            help="latency, timeout, rate-limit, server-error, empty, truncated, stale or contradictory, with a rate; may be repeated.",
            metavar="NAME=RATE",
        ),
    ] = None,
    latency: Annotated[
        str, typer.Option("--latency", help="Of the fault latency: fixed:S, uniform:LOW:HIGH, exponential:MEAN, lognormal:MEDIAN:SIGMA.")
    ] = "lognormal:0.3:0.8",
    public_url: Annotated[str, typer.Option("--public-url", help="The address others know this server by.")] = "",
    log_level: Annotated[
        str, typer.Option("--log-level", help="debug, info, warning or error; a JSON object per line on stderr.")
    ] = "info",
    log_queries: Annotated[bool, typer.Option("--log-queries", help="Also log what is searched for (debug does).")] = False,
) -> None:
    """Serve an engine to anybody's agent, in the dialect of Search-R1, SerpAPI, Serper, SearXNG, Tavily, Brave and others, and as MCP."""
    if demo:
        source = {"kind": "bm25", **source}
    if not source:
        raise BadConfig("say what to serve: --demo, --engine bm25 --corpus FILE, --simulator URL, or any other --engine.")
    try:
        import fastapi
        import prometheus_client
        import uvicorn
    except ImportError as error:
        raise BadConfig(not_installed("serve", f"the package {error.name}", "serve")) from error
    del fastapi, prometheus_client, uvicorn
    from zerosearch.core.curriculum import NoiseCurriculum
    from zerosearch.server.events import Events
    from zerosearch.server.faults import Faults, Latency, parse_rates
    from zerosearch.server.limits import ConcurrencyLimit, Keys, RateLimit
    from zerosearch.server.noise import NoiseControl, parse_curriculum
    from zerosearch.server.service import Bounds, Service
    from zerosearch.server.sessions import Sessions

    if (noise or curriculum) and not demo and source["kind"] != "simulated":
        option = "--noise" if noise else "--curriculum"
        raise BadConfig(f"{option} is for a simulated engine; '{source['kind']}' is not one: leave it out.")
    start, end = parse_curriculum(curriculum) if curriculum else (noise, noise)
    dial = NoiseControl(NoiseCurriculum(schedule if curriculum else "constant", start, end, steps, seed=seed), requests_per_step)
    parts: dict[str, Any] = {
        "dial": dial,
        "keys": Keys(_keys(keys)),
        "rate": RateLimit(rate, burst),
        "places": ConcurrencyLimit(max_concurrency, max_queue),
        "faults": Faults(parse_rates(fault or ()), Latency.parse(latency), seed),
        "bounds": Bounds(timeout, max_body, max_query, max_k),
        "events": Events(log_level, queries=log_queries),
        "seed": seed,
    }
    if questions:
        from zerosearch.data.questions import load_questions

        parts["sessions"] = Sessions(load_questions(questions))
    with tempfile.TemporaryDirectory(prefix="zerosearch-demo-") as scratch:
        engine, query = _engine(source, demo, k, seed, remember, Path(scratch))
        service = Service(engine, name="demo" if demo else source["kind"], **parts)
        if mcp:
            _serve_mcp(service)
        else:
            check = source["kind"] == "simulated" and "url" in source and "replay" not in source
            _serve_http(service, host, port, drain, public_url, query if demo else "", check)


def _serve_mcp(service: Any) -> None:
    import asyncio

    from zerosearch.server.mcp import mcp_server, serve_stdio

    mcp_server(service)  # says at once when the SDK is missing
    asyncio.run(serve_stdio(service))


def _serve_http(service: Any, host: str, port: int | None, drain: float, public_url: str, query: str, check: bool) -> None:
    from zerosearch.net.listener import bind
    from zerosearch.server.examples import examples
    from zerosearch.server.run import serve

    listener = bind(host, _PORT if port is None else port, search=port is None)
    if host not in ("127.0.0.1", "localhost", "::1") and not service.keys:
        console.print(f"anybody who reaches {host} may search here: no --keys were given", highlight=False)

    def on_start(url: str) -> None:
        print(f"zerosearch serves {service.name} at {url} (a page to try it; {url}/docs; MCP at {url}/mcp)", flush=True)
        if query:
            for row in examples(url, query, with_key=bool(service.keys)):
                print(f"\n# {row['dialect']}: {row['client']}\n{row['curl']}")
            print(flush=True)

    serve(service, listener, drain_s=drain, public_url=public_url, check=check, on_start=on_start)


def _engine(source: dict[str, Any], demo: bool, k: int, seed: int, remember: int, scratch: Path) -> tuple[Any, str]:
    """The engine, and a query to try it with."""
    from zerosearch.config.recipe import EngineConfig, make_engine
    from zerosearch.core.interfaces import Chat
    from zerosearch.engines.registry import EngineContext, build_engine
    from zerosearch.net.chat import OpenAIChat

    def chat(config: EngineConfig) -> Chat:
        if config.url:  # the model is elsewhere: no torch here
            return OpenAIChat(config.url, config.model, timeout_s=config.timeout_s)
        from zerosearch.config.build import Device, load_chat

        return load_chat(config, Device())

    if not demo:
        return build_engine(make_engine({**source, "k": k}), EngineContext(chat, seed=seed), remember), ""
    if source["kind"] != "bm25":
        raise BadConfig(f"--demo is BM25 over a made-up world or over --corpus; leave --demo out to serve {source['kind']}.")
    from zerosearch.engines.bm25 import BM25Engine
    from zerosearch.engines.replay import RecordedEngine
    from zerosearch.lab.demo import DemoEngine, demo_corpus

    corpus, query = (Path(source["corpus"]), "who wrote Faust?") if "corpus" in source else demo_corpus(scratch)
    engine = DemoEngine(BM25Engine(corpus, source.get("index_dir")))
    return RecordedEngine(
        engine, f"demo {corpus.name}", record=source.get("record", ""), replay=source.get("replay", ""), remember=remember
    ), query


def _keys(file: str) -> list[str]:
    text = os.environ.get(_KEYS_VARIABLE, "").replace(",", "\n")
    if file:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadFile(
                f"cannot read the keys in '{file}' ({getattr(error, 'strerror', None) or error}); one API key per line."
            ) from error
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if file and not found:
        raise BadFile(f"'{file}' holds no key; one API key per line.")
    return found
