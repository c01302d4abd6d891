"""The options several commands share, and what they come to."""

import functools
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from zerosearch.core.errors import BadConfig, RunFailed
from zerosearch.data.files import require_writable

T = TypeVar("T")

console = Console(stderr=True)


def _writable_file(file: Path | None) -> Path | None:
    if file is not None and str(file) != "-":
        require_writable(file, "the file")
    return file


def _writable_folder(folder: Path | None) -> Path | None:
    if folder is not None:
        require_writable(folder, "the directory", folder=True)
    return folder


def _writable_record(file: str) -> str:
    if file:  # its folder is made when there is none
        there = Path(file).exists()
        require_writable(Path(file) if there else Path(file).parent, "the file" if there else "the directory", folder=not there)
    return file


# checked as soon as they are read: a place that cannot be written is said before the work
to_file = functools.partial(typer.Option, metavar="FILE", callback=_writable_file)
to_folder = functools.partial(typer.Option, metavar="DIR", callback=_writable_folder)

JsonOption = Annotated[Path | None, to_file("--json", help="Write one JSON object to this file; - is stdout.")]
BenchmarkOption = Annotated[
    str,
    typer.Option(
        "--benchmark",
        help="nq, triviaqa, popqa, hotpotqa, 2wiki, musique, bamboogle; or a JSONL, .gz or .parquet file of questions.",
        metavar="NAME|FILE",
    ),
]
BenchmarksOption = Annotated[
    str,
    typer.Option("--benchmarks", help="A folder with NAME.jsonl[.gz], instead of a download; or $ZEROSEARCH_BENCHMARKS.", metavar="DIR"),
]
LimitOption = Annotated[int, typer.Option("--limit", min=0, help="A seeded sample of this many questions; 0 is all.")]
PolicyOption = Annotated[
    str, typer.Option("--policy", help="A model: a folder, a run directory, a hub id, a GGUF file, or an endpoint's URL (http://…/v1).")
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="simulated, bm25, dense, hybrid, search-r1, serper, serpapi, searxng, tavily, brave, mcp, or MODULE:FUNCTION of yours; "
        "left out: what the other options are for.",
    ),
]
CorpusOption = Annotated[str, typer.Option("--corpus", help="JSONL or JSONL.gz with id, title, text.", metavar="FILE")]
SimulatorOption = Annotated[
    str, typer.Option("--simulator", help="The simulator: a folder, a hub id, or an OpenAI-compatible endpoint's URL.")
]
TemplateOption = Annotated[str, typer.Option("--template", help="The simulator's prompt: a built-in name or a file.")]
UrlOption = Annotated[
    str, typer.Option("--url", help="Where the engine answers, for those over HTTP; ${NAME} is taken from the environment.")
]
EncoderOption = Annotated[str, typer.Option("--encoder", help="The encoder of dense and hybrid: a folder or a hub id.", metavar="MODEL")]
IndexKindOption = Annotated[str, typer.Option("--index-kind", help="flat, hnsw or ivfpq.")]
IndexDirOption = Annotated[str, typer.Option("--index-dir", help="Where the index is; by default beside the corpus.", metavar="DIR")]
PoolingOption = Annotated[str, typer.Option("--pooling", help="mean, cls or last.")]
QueryPrefixOption = Annotated[str, typer.Option("--query-prefix", help="Put before every query; E5: 'query: '.")]
PassagePrefixOption = Annotated[str, typer.Option("--passage-prefix", help="Put before every passage; E5: 'passage: '.")]
CommandOption = Annotated[str, typer.Option("--command", help="What starts an MCP server, as in a shell.")]
ToolOption = Annotated[str, typer.Option("--tool", help="The MCP server's search tool.")]
RecordOption = Annotated[
    str,
    typer.Option("--record", help="Keep what is found in this file, and make no search twice.", metavar="FILE", callback=_writable_record),
]
ReplayOption = Annotated[str, typer.Option("--replay", help="Ask this file only; what it lacks is an error.", metavar="FILE")]
MaxSearchesOption = Annotated[int, typer.Option("--max-searches", min=0, help="Stop before one search more; 0 is no limit.")]
MaxUsdOption = Annotated[float, typer.Option("--max-usd", min=0.0, help="Stop before going over, at --usd-per-search; 0 is no limit.")]
UsdOption = Annotated[float, typer.Option("--usd-per-search", min=0.0, help="The price of a search.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0)]


def engine_table(
    engine: EngineOption = "",
    corpus: CorpusOption = "",
    simulator: SimulatorOption = "",
    template: TemplateOption = "",
    url: UrlOption = "",
    encoder: EncoderOption = "",
    index_kind: IndexKindOption = "",
    index_dir: IndexDirOption = "",
    pooling: PoolingOption = "",
    query_prefix: QueryPrefixOption = "",
    passage_prefix: PassagePrefixOption = "",
    command: CommandOption = "",
    tool: ToolOption = "",
    record: RecordOption = "",
    replay: ReplayOption = "",
    max_searches: MaxSearchesOption = 0,
    max_usd: MaxUsdOption = 0.0,
    usd_per_search: UsdOption = 0.0,
) -> dict[str, Any]:
    """The options of an engine as a recipe's [engine] section, {} where none was given. This signature is the list of them.

    Raises BadConfig for an unknown engine, for one that lacks an option, and for options that contradict each other.
    """
    if not (given := {name: value for name, value in locals().items() if value}):
        return {}
    from zerosearch.config.recipe import make_engine
    from zerosearch.engines.registry import builder_of
    from zerosearch.engines.settings import ENGINE_NEEDS

    kind = given.pop("engine", "") or next((k for name, k in _MEANT_BY.items() if name in given), "simulated")
    builder_of(kind)
    if "simulator" in given:
        simulator = given.pop("simulator")
        given["url" if simulator.startswith(("http://", "https://")) else "model"] = simulator
    for group in ENGINE_NEEDS.get(kind, ()):
        if not any(name in given for name in group):
            options = dict.fromkeys("--simulator" if kind == "simulated" else f"--{name}" for name in group)
            raise BadConfig(f"--engine {kind} needs {' or '.join(options)}; zerosearch search --help says what each is.")
    make_engine(table := {"kind": kind, **given})
    return table


# the engine that is meant when only this is given
_MEANT_BY = {"encoder": "dense", "corpus": "bm25", "simulator": "simulated", "command": "mcp"}


def who_asks(
    agent: Annotated[str, typer.Option("--agent", help="zerosearch, direct, cot, rag, ra-agent, search-o1 or r1.")] = "zerosearch",
    policy_style: Annotated[
        str, typer.Option("--policy-style", help="How to talk to an endpoint: chat, completions (raw text), or by token ids: vllm, sglang.")
    ] = "chat",
    policy_model: Annotated[
        str,
        typer.Option(
            "--policy-model", help="The endpoint's model; by default the first it lists. Its key: $OPENAI_API_KEY.", metavar="NAME"
        ),
    ] = "",
    policy_tokenizer: Annotated[str, typer.Option("--policy-tokenizer", help="For vllm and sglang: the model's folder or hub id.")] = "",
    prompt: Annotated[
        str, typer.Option("--prompt", help="The policy's prompt: a built-in name or a file; by default what its run used.")
    ] = "",
    distil_prompt: Annotated[
        str, typer.Option("--distil-prompt", help="search-o1: a file for the step that reads documents.", metavar="FILE")
    ] = "",
    max_turns: Annotated[
        int | None,
        typer.Option("--max-turns", min=1, help="Policy turns at most, the answering one included; by default what its run used, or 4."),
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")] = 0.0,
    seed: SeedOption = 0,
) -> dict[str, Any]:
    """How a policy is asked, as `zerosearch.evaluate` takes it. This signature is the list of its options."""
    return dict(locals())


def takes(**groups: Callable[..., Any]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command every option of these functions; it gets what each returns under the function's name here."""

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        own = inspect.signature(command, eval_str=True).parameters
        options = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}
        every = [p for name, p in own.items() if name not in groups] + [p for group in options.values() for p in group.values()]
        assert len({p.name for p in every}) == len(every) and groups.keys() <= own.keys(), command.__name__

        @functools.wraps(command)
        def wrapped(**arguments: Any) -> T:
            taken = {name: {option: arguments.pop(option) for option in options[name]} for name in groups}
            return command(**arguments, **{name: group(**taken[name]) for name, group in groups.items()})

        wrapped.__dict__["__signature__"] = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in every])
        wrapped.__annotations__ = {p.name: p.annotation for p in every}
        return wrapped

    return decorate


def write_json(result: object, file: Path | None) -> None:
    if file is None:
        return
    text = json.dumps(result, indent=2, default=float)
    if str(file) == "-":
        print(text)
        return
    write_text(file, text + "\n")


def write_text(file: Path, text: str) -> None:
    """For an option that was checked when it was read: what goes wrong now is not the command's fault."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunFailed(f"cannot write '{file}' ({error.strerror}); make room there and run the same command again.") from error
