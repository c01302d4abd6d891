"""`zerosearch evaluate`, `ask`, `rescore`, `compare`, `cost` and `gap`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from zerosearch.cli.options import (
    BenchmarkOption,
    BenchmarksOption,
    CorpusOption,
    EngineOption,
    JsonOption,
    LimitOption,
    PolicyOption,
    SimulatorOption,
    TemplateOption,
    UrlOption,
    console,
    engine_table,
    takes,
    to_folder,
    who_asks,
    write_json,
)
from zerosearch.core.errors import RunFailed

ConcurrencyOption = Annotated[int, typer.Option("--concurrency", min=1, help="Questions in the air at a time.")]
PricesOption = Annotated[str, typer.Option("--prices", help="A price table (TOML) instead of the package's.", metavar="FILE")]
_COLOURS = {"prompt": "dim", "policy": "bright_cyan", "environment": "yellow"}
OutOption = Annotated[Path | None, to_folder("--out", help="Keep everything in this directory; started again, it resumes.")]


@takes(source=engine_table, asked=who_asks)
def evaluate(
    benchmark: BenchmarkOption,
    policy: PolicyOption,
    source: dict[str, Any],
    asked: dict[str, Any],
    benchmarks: BenchmarksOption = "",
    limit: LimitOption = 0,
    concurrency: ConcurrencyOption = 64,
    prices: PricesOption = "",
    out: OutOption = None,
    json_file: JsonOption = None,
) -> None:
    """Answer every question of a benchmark with a policy, an agent and an engine; exact match with an interval, and what it cost."""
    from zerosearch.api.asking import evaluate

    kept = {"out": out, "concurrency": concurrency, "benchmarks": benchmarks, "prices": prices, "limit": limit}
    with _interruptible(out):
        result = evaluate(policy, benchmark, engine=source or None, console=console, **kept, **asked).summary
    if result["excluded"]:
        console.print(f"{len(result['excluded'])} questions excluded: no golden answer is left after normalisation", soft_wrap=True)
    if json_file is None:
        cost = result["cost"]
        print(f"EM {_interval(result['em'])}  cover-EM {_interval(result['cover_em'])}  F1 {_interval(result['f1'])}  n {result['n']}")
        print(
            f"searches {cost['searches']}  tokens {cost['prompt_tokens']} + {cost['new_tokens']}  seconds {cost['wall_s']:.1f}  "
            f"${cost['usd']['total']:.4f}{' (not all of it is priced)' if cost['unpriced'] else ''}"
        )
    write_json(result, json_file)
    _say_what_failed(result["failures"], out)


@takes(source=engine_table, asked=who_asks)
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    source: dict[str, Any],
    asked: dict[str, Any],
    policy: PolicyOption = "runs/quickstart",
    json_file: JsonOption = None,
) -> None:
    """Ask one question and watch the policy think, search, read and answer; by default with the engine its run was evaluated with."""
    from rich.text import Text

    from zerosearch.api.asking import rollout

    trajectory = rollout(question, policy, engine=source or None, **asked)
    for span in trajectory.spans:
        console.print(Text(span.text.strip(), style=_COLOURS[span.author]), soft_wrap=True)
    if trajectory.stop_reason.is_failure:
        raise RunFailed(f"{trajectory.stop_reason}: {trajectory.cause}")
    if json_file is None:
        print(trajectory.answer if trajectory.answer is not None else "(no answer)")
    searches = [{"query": s.query, "documents": [d.as_json() for d in s.result.documents]} for s in trajectory.searches]
    write_json({"question": question, "answer": trajectory.answer, "stop_reason": trajectory.stop_reason, "searches": searches}, json_file)


def rescore(
    file: Annotated[str, typer.Argument(help="JSONL or JSONL.gz with question, golden_answers, response (raw text with tags).")],
    json_file: JsonOption = None,
) -> None:
    """Score anybody's transcripts: exact match, cover match and token F1 of the last answer the policy wrote."""
    from zerosearch.evaluation.rescore import rescore

    result = rescore(Path(file))
    if json_file is None:
        print("  ".join(f"{name} {_interval(result[name])}" for name in ("em", "cover_em", "f1")), f" n {result['n']}")
    write_json(result, json_file)


def compare(
    runs: Annotated[list[str], typer.Argument(help="Directories that evaluate --out wrote, or of training runs.", metavar="RUN…")],
    prices: PricesOption = "",
    json_file: JsonOption = None,
) -> None:
    """One table of several runs: scores with intervals, cost, and paired differences with p-values."""
    from zerosearch.evaluation.compare import as_markdown, compare
    from zerosearch.runs.cost import load_prices

    table = compare(runs, load_prices(prices))
    if str(json_file) != "-":
        print(as_markdown(table))
    write_json(table, json_file)


def cost(
    run: Annotated[str, typer.Argument(help="The directory of a training run or of an evaluation.", metavar="RUN")],
    queries: Annotated[int, typer.Option("--queries", min=1, help="Project to this many searches.")] = 64_000,
    prices: PricesOption = "",
    json_file: JsonOption = None,
) -> None:
    """What a run cost, and what search APIs would have charged for its searches."""
    from zerosearch.evaluation.cost_report import as_markdown, cost_report
    from zerosearch.runs.cost import load_prices

    report = cost_report(run, load_prices(prices), queries)
    if str(json_file) != "-":
        print(as_markdown(report))
    write_json(report, json_file)


@takes(asked=who_asks)
def gap(
    benchmark: BenchmarkOption,
    policy: PolicyOption,
    simulator: SimulatorOption,
    asked: dict[str, Any],
    engine: EngineOption = "",
    corpus: CorpusOption = "",
    url: UrlOption = "",
    template: TemplateOption = "web",
    noise: Annotated[float, typer.Option("--noise", min=0, max=1, help="Of the simulated engine: the share of noisy replies.")] = 0.0,
    benchmarks: BenchmarksOption = "",
    limit: LimitOption = 0,
    concurrency: ConcurrencyOption = 64,
    out: OutOption = None,
    json_file: JsonOption = None,
) -> None:
    """The same questions against the simulated engine and a real one: documents, answers, and how exact match moves."""
    from zerosearch.config.evaluation import EvaluationSettings, build_evaluation
    from zerosearch.data.benchmarks import load_benchmark
    from zerosearch.evaluation.run import evaluate_both
    from zerosearch.evaluation.sim_vs_real import as_markdown

    simulated = engine_table(engine="simulated", simulator=simulator, template=template)
    wanted = {
        "simulated": EvaluationSettings(policy, engine=simulated, noise_rate=noise, **asked),
        "real": EvaluationSettings(policy, engine=engine_table(engine=engine or "bm25", corpus=corpus, url=url), **asked),
    }
    questions = load_benchmark(benchmark, benchmarks, limit or None, asked["seed"])
    with _interruptible(out):
        build = {side: partial(build_evaluation, one) for side, one in wanted.items()}
        report = evaluate_both(questions, build, out, concurrency, console)
    if str(json_file) != "-":
        print(as_markdown(report))
    write_json(report, json_file)
    _say_what_failed(report["failures"], out)


@contextmanager
def _interruptible(out: Path | None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = f"what was answered is kept in {out}, and the same command resumes" if out else "nothing is kept without --out DIR"
        raise RunFailed(f"stopped; {kept}.") from None


def _say_what_failed(failures: Sequence[Mapping[str, str]], out: Path | None) -> None:
    """The figures are written; the exit code and one line say that they are not of every question."""
    if failures:
        first = failures[0]
        again = f"; all are listed in {out}, and the same command asks them again" if out else ""
        count = f"{len(failures)} question{'s' if len(failures) > 1 else ''} failed"
        raise RunFailed(f"{count}, the first ('{first['id']}') with {first['stop_reason']}: {first['cause']}{again}")


def _interval(value: dict[str, float]) -> str:
    return f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
