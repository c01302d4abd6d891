"""`zerosearch index`, `search` and `recall`: an engine by itself."""

import asyncio
from typing import Annotated, Any

import typer

from zerosearch.cli.options import (
    BenchmarkOption,
    BenchmarksOption,
    EncoderOption,
    IndexDirOption,
    IndexKindOption,
    JsonOption,
    LimitOption,
    PassagePrefixOption,
    PoolingOption,
    SeedOption,
    console,
    engine_table,
    takes,
    write_json,
)
from zerosearch.core.errors import BadConfig, RunFailed, one_of
from zerosearch.core.interfaces import SearchEngine


def index(
    corpus: Annotated[str, typer.Argument(help="JSONL or JSONL.gz with id, title, text.", metavar="CORPUS")],
    kind: Annotated[str, typer.Option("--kind", help="bm25, dense or hybrid (both).")] = "bm25",
    encoder: EncoderOption = "",
    index_kind: IndexKindOption = "flat",
    index_dir: IndexDirOption = "",
    pooling: PoolingOption = "mean",
    passage_prefix: PassagePrefixOption = "",
    device: Annotated[str, typer.Option("--device", help="Where the encoder runs; auto: CUDA, else MPS, else the CPU.")] = "auto",
    json_file: JsonOption = None,
) -> None:
    """Build the index of a corpus, or find it built. Killed, the same command resumes."""
    from zerosearch.config.recipe import make_engine
    from zerosearch.engines.index import build_indices
    from zerosearch.runs.progress import Phases

    one_of("kind", kind, ("bm25", "dense", "hybrid"))
    if kind != "bm25" and not encoder:
        raise BadConfig(f"--kind {kind} needs --encoder MODEL, a folder or a hub id.")
    table = {"kind": kind, "corpus": corpus, "encoder": encoder, "index_kind": index_kind, "index_dir": index_dir}
    config = make_engine({**table, "pooling": pooling, "passage_prefix": passage_prefix})
    with Phases(console) as report:
        built = build_indices(config, device, lambda line: console.print(line, highlight=False, soft_wrap=True), report)
    if json_file is None:
        for name, row in built.items():
            console.print(f"{name}: {row['passages']:,} passages in {row['index_dir']}, {row['seconds']:.1f} s", soft_wrap=True)
    write_json(built, json_file)


@takes(source=engine_table)
def search(
    query: Annotated[str, typer.Argument(help="What to search for.")],
    source: dict[str, Any],
    k: Annotated[int, typer.Option("--k", min=1, help="How many documents.")] = 5,
    noise_rate: Annotated[float, typer.Option("--noise-rate", min=0, max=1, help="Of a simulated engine.")] = 0.0,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Search once, and look at what comes back."""
    from zerosearch.core.interfaces import close
    from zerosearch.core.types import Question, SearchRequest, SearchResult

    engine = _engine(source, k, seed)
    request = SearchRequest(query, Question("search", query, ()), k=k, noise_rate=noise_rate, seed=seed)

    async def once() -> SearchResult:
        try:
            return await engine.search(request)
        finally:
            await close(engine)

    result = asyncio.run(once())
    if json_file is None:
        for position, document in enumerate(result.documents, start=1):
            print(f"{position}. {document.title or document.id}\n   {' '.join(document.text.split())}")
        if not result.documents:
            print("(no documents)")
    documents = [document.as_json() for document in result.documents]
    write_json({"query": query, "documents": documents, "quality": result.quality, "remark": result.remark}, json_file)


@takes(source=engine_table)
def recall(
    benchmark: BenchmarkOption,
    source: dict[str, Any],
    k: Annotated[str, typer.Option("--k", help="Depths, for instance 1,5,20.")] = "1,5,20",
    benchmarks: BenchmarksOption = "",
    limit: LimitOption = 0,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """How often an engine finds the answer: share of questions with a gold answer in the top k, with a 95% interval."""
    from zerosearch.data.benchmarks import load_benchmark
    from zerosearch.evaluation.recall import recall
    from zerosearch.runs.progress import Progress

    try:
        depths = [int(part) for part in k.split(",")]
    except ValueError:
        raise BadConfig(f"--k '{k}' is not a list of numbers; for instance --k 1,5,20.") from None
    loaded = load_benchmark(benchmark, benchmarks, limit or None, seed)
    questions, excluded = loaded.questions, list(loaded.excluded)
    engine = _engine(source, max(*depths, 1), seed)
    with Progress("searching", console) as progress:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            progress.step(done, len(questions))

        found = asyncio.run(recall(engine, questions, depths, on_done=count))
    result = {"benchmark": benchmark, "engine": source, "seed": seed, "excluded": excluded, **found.as_dict()}
    if json_file is None:
        for depth, estimate in found.at.items():
            console.print(f"recall@{depth} {estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]  n {estimate.n}", highlight=False)
        left_out = f"{found.yes_no} yes/no questions, {len(excluded)} that no answer can match, {len(found.failures)} failed searches"
        console.print(f"left out: {left_out}", highlight=False)
    write_json(result, json_file)
    if found.failures:
        raise RunFailed(f"{len(found.failures)} of {len(found.failures) + found.n} searches failed; the first: {found.failures[0][1]}")
    if not found.n:
        raise RunFailed(f"none of the {len(questions)} questions can be looked for: their golds are yes or no.")


def _engine(source: dict[str, Any], k: int, seed: int) -> SearchEngine:
    if not source:
        raise BadConfig("say what to search: --engine bm25 --corpus FILE, or any other --engine.")
    from zerosearch.config.recipe import EngineConfig, make_engine
    from zerosearch.core.interfaces import Chat
    from zerosearch.engines.registry import EngineContext, build_engine

    def chat(config: EngineConfig) -> Chat:
        from zerosearch.config.build import Device, load_chat  # torch, for those who need it

        return load_chat(config, Device())

    return build_engine(make_engine({**source, "k": k}), EngineContext(chat, seed=seed))
