"""`zerosearch evaluate`, `ask` and `rescore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zerosearch.cli.options import JsonOption, PolicyOption, PromptOption, SeedOption, TurnsOption, console, takes_engine, write_json
from zerosearch.errors import BadConfig


@takes_engine
def evaluate(
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="Questions: JSONL or JSONL.gz with id, question, golden_answers.", metavar="FILE")
    ],
    policy: PolicyOption,
    source: dict[str, Any],
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

    if not source:
        raise BadConfig("say what to search: --engine bm25 --corpus FILE, or any other --engine.")
    result = evaluate_file(benchmark, policy, source, prompt, max_turns, limit, temperature, seed, out, console)
    if json_file is None:
        em = result["em"]
        console.print(f"EM {em['mean']:.3f} [{em['low']:.3f}, {em['high']:.3f}]  F1 {result['f1']['mean']:.3f}  n {result['n']}")
    write_json(result, json_file)


@takes_engine
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    source: dict[str, Any],
    policy: PolicyOption = "runs/quickstart",
    prompt: PromptOption = "",
    max_turns: TurnsOption = 4,
    json_file: JsonOption = None,
) -> None:
    """Ask one question and watch the policy think, search, read and answer; by default with the engine its run was evaluated with."""
    from zerosearch.evaluation.command import ask_one

    result = ask_one(question, policy, source or None, prompt, max_turns, console)
    if json_file is None:
        print(result["answer"] if result["answer"] is not None else "(no answer)")
    write_json(result, json_file)


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
    write_json(result, json_file)
