"""The command line. Exit codes: 0 done, 1 ran but failed, 2 bad input; on 2 exactly one line on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from zerosearch.config import Recipe, load_recipe
from zerosearch.errors import BadConfig, BadFile, ZeroSearchError, one_of

# typer brings a click of its own and shows only some of its names; this is the parent of all complaints about the words typed
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="zerosearch",
    help="Teach a language model to search by reinforcement learning against a simulated search engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console(stderr=True)

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write one JSON object to this file; - is stdout.", metavar="FILE")]
PolicyOption = Annotated[str, typer.Option("--policy", help="A model: a folder, a run directory, or a Hugging Face hub id.")]
EngineOption = Annotated[str, typer.Option("--engine", help="bm25 (with --corpus) or simulated (with --simulator).")]
CorpusOption = Annotated[str, typer.Option("--corpus", help="JSONL or JSONL.gz with id, title, text.", metavar="FILE")]
SimulatorOption = Annotated[
    str, typer.Option("--simulator", help="The simulator: a folder, a hub id, or an OpenAI-compatible endpoint's URL.")
]
TemplateOption = Annotated[str, typer.Option("--template", help="The simulator's prompt: a built-in name or a file.")]
PromptOption = Annotated[str, typer.Option("--prompt", help="The policy's prompt: search, micro, or a file; by default what its run used.")]
TurnsOption = Annotated[int, typer.Option("--max-turns", min=1, help="Policy turns at most, the answering one included.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0)]


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/quickstart"),
    seed: SeedOption = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also train against the real engine for as many steps, and print both.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """The whole pipeline from nothing, on a laptop: world, base model, simulator, RL, report."""
    from zerosearch.lab.quickstart import compare_with_real_engine, example_question, quickstart
    from zerosearch.lab.tables import print_summary

    summary = quickstart(out, seed, console=console)
    if compare:
        summary["real_engine"] = compare_with_real_engine(out, seed, console=console)
    print_summary(summary, console)
    console.print(f"\nreport: {out / 'report.html'}", soft_wrap=True)
    console.print(f'ask it: zerosearch ask "{example_question(out)}" --policy {out}', soft_wrap=True)
    _write_json(summary, json_file)


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="A TOML recipe.", metavar="RECIPE.toml")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="section.key=value, put on top of the recipe.", metavar="KEY=VALUE…")
    ] = None,
    resume: Annotated[str, typer.Option("--resume", help="Go on with the run in this directory.", metavar="DIR")] = "",
    out: Annotated[str, typer.Option("--out", help="The run directory; the same as run.out=DIR.", metavar="DIR")] = "",
    json_file: JsonOption = None,
) -> None:
    """Train a policy by RL against a search engine, simulated or real, as a recipe says."""
    words = [*([recipe] if recipe else []), *(overrides or [])]
    settings = [*(w for w in words if "=" in w), *([f'run.out="{out}"'] if out else [])]
    files = [w for w in words if "=" not in w]
    if resume:
        loaded = _resumed(resume, files, settings)
    elif len(files) == 1:
        loaded = load_recipe(files[0], settings)
    else:
        raise BadConfig("give one recipe, or --resume DIR: zerosearch train RECIPE.toml [section.key=value …].")

    from zerosearch.rl.run import run_training

    summary = run_training(loaded, console, resume=bool(resume))
    console.print(f"report: {Path(loaded.run.out) / 'report.html'}", soft_wrap=True)
    _write_json(summary, json_file)


def _resumed(directory: str, files: list[str], settings: list[str]) -> Recipe:
    """The recipe of the run in `directory`. A recipe or settings given beside it must say what the run was started with."""
    from zerosearch.rundir import RunDirectory

    run, kept = RunDirectory.open(directory)
    wanted = load_recipe(files[0] if files else run.config, settings)
    for section, values in wanted.model_dump().items():
        for key, value in (values or {}).items():
            if (before := (kept.model_dump()[section] or {}).get(key)) != value and (section, key) != ("run", "out"):
                raise BadConfig(
                    f"{section}.{key} = {value!r}, but the run in '{directory}' was started with {before!r}; "
                    "resume it unchanged, or start a new run with another run.out."
                )
    return kept


@app.command()
def evaluate(
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="Questions: JSONL or JSONL.gz with id, question, golden_answers.", metavar="FILE")
    ],
    policy: PolicyOption,
    engine: EngineOption = "bm25",
    corpus: CorpusOption = "",
    simulator: SimulatorOption = "",
    template: TemplateOption = "web",
    prompt: PromptOption = "",
    max_turns: TurnsOption = 4,
    limit: Annotated[int, typer.Option("--limit", min=0, help="A seeded sample of this many questions; 0 is all.")] = 0,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")] = 0.0,
    seed: SeedOption = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the trajectories in this directory.", metavar="DIR")] = None,
    json_file: JsonOption = None,
) -> None:
    """Answer every question of a benchmark with a policy and an engine; exact match with an interval."""
    from zerosearch.evaluation.command import evaluate_file

    source = _engine_table(engine, corpus, simulator, template)
    result = evaluate_file(benchmark, policy, source, prompt, max_turns, limit, temperature, seed, out, console)
    if json_file is None:
        em = result["em"]
        console.print(f"EM {em['mean']:.3f} [{em['low']:.3f}, {em['high']:.3f}]  F1 {result['f1']['mean']:.3f}  n {result['n']}")
    _write_json(result, json_file)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    policy: PolicyOption = "runs/quickstart",
    engine: Annotated[str, typer.Option("--engine", help="bm25 or simulated; by default what the policy's run was evaluated with.")] = "",
    corpus: CorpusOption = "",
    simulator: SimulatorOption = "",
    template: TemplateOption = "web",
    prompt: PromptOption = "",
    max_turns: TurnsOption = 4,
    json_file: JsonOption = None,
) -> None:
    """Ask one question and watch the policy think, search, read and answer."""
    from zerosearch.evaluation.command import ask_one

    source = _engine_table(engine, corpus, simulator, template) if engine or corpus or simulator else None
    result = ask_one(question, policy, source, prompt, max_turns, console)
    if json_file is None:
        print(result["answer"] if result["answer"] is not None else "(no answer)")
    _write_json(result, json_file)


@app.command()
def rescore(
    file: Annotated[str, typer.Argument(help="JSONL or JSONL.gz with question, golden_answers, response (raw text with tags).")],
    json_file: JsonOption = None,
) -> None:
    """Score anybody's transcripts: exact match, cover match and token F1 of the last answer the policy wrote."""
    from zerosearch.evaluation.rescore import rescore

    result = rescore(Path(file))
    if json_file is None:
        parts = (
            f"{name} {result[name]['mean']:.3f} [{result[name]['low']:.3f}, {result[name]['high']:.3f}]"
            for name in ("em", "cover_em", "f1")
        )
        console.print("  ".join(parts), f" n {result['n']}")
    _write_json(result, json_file)


def _engine_table(engine: str, corpus: str, simulator: str, template: str) -> dict[str, Any]:
    """The options of an engine as a recipe's [engine] section."""
    kind = one_of("engine", engine or ("bm25" if corpus else "simulated"), ("bm25", "simulated"))
    if kind == "bm25":
        if not corpus:
            raise BadConfig("--engine bm25 needs --corpus FILE, JSONL or JSONL.gz with id, title, text.")
        return {"kind": kind, "corpus": corpus}
    if not simulator:
        raise BadConfig("--engine simulated needs --simulator: a folder, a hub id, or an OpenAI-compatible endpoint's URL.")
    where = "url" if simulator.startswith(("http://", "https://")) else "model"
    return {"kind": kind, where: simulator, "template": template}


def _write_json(result: object, file: Path | None) -> None:
    if file is None:
        return
    text = json.dumps(result, indent=2, default=float)
    if str(file) == "-":
        print(text)
        return
    try:
        file.write_text(text + "\n")
    except OSError as error:
        raise BadFile(f"cannot write '{file}' ({error.strerror}); give --json another path.") from error


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    try:
        code = app(list(arguments), standalone_mode=False)
    except ZeroSearchError as error:
        return _complain(str(error), error.exit_code)
    except UsageError as error:
        return _complain(f"{getattr(error, 'message', error)} (zerosearch --help lists what there is)", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted; what was finished is saved: run the same command again (train: with --resume) to go on.", 1)
    return code if isinstance(code, int) else 0


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def _complain(message: str, code: int) -> int:
    print(f"zerosearch: {' '.join(message.split())}", file=sys.stderr)
    return code
