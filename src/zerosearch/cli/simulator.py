"""`zerosearch collect`, `label`, `tune` and `card`: a simulated search engine of your own, and how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zerosearch.cli.options import JsonOption, PromptOption, SeedOption, TurnsOption, console, takes_engine, write_json
from zerosearch.errors import BadConfig

DirectoryArgument = Annotated[Path, typer.Argument(help="A directory that collect --out wrote.", metavar="DIR")]


@takes_engine
def collect(
    source: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", help="Keep everything here; started again, it goes on there.", metavar="DIR")],
    questions: Annotated[
        str, typer.Option("--questions", help="A benchmark's name, or JSONL, .gz or .parquet with id, question, golden_answers.")
    ] = "",
    policy: Annotated[str, typer.Option("--policy", help="Who searches: a folder, a run, a hub id, or an endpoint's URL.")] = "",
    from_rollouts: Annotated[
        str, typer.Option("--from-rollouts", help="Stored transcripts instead: question, golden_answers, response.", metavar="FILE")
    ] = "",
    agent: Annotated[str, typer.Option("--agent", help="zerosearch, ra-agent, search-o1, rag.")] = "zerosearch",
    policy_style: Annotated[str, typer.Option("--policy-style", help="chat, completions, vllm or sglang.")] = "chat",
    policy_model: Annotated[str, typer.Option("--policy-model", help="The endpoint's model.")] = "",
    policy_tokenizer: Annotated[str, typer.Option("--policy-tokenizer", help="For vllm and sglang.")] = "",
    prompt: PromptOption = "",
    max_turns: TurnsOption = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="A seeded sample of this many questions; 0 is all.")] = 0,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")] = 0.0,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Questions in the air at a time.")] = 64,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Real searches, kept: a policy works through questions against a real engine, or the searches of stored transcripts."""
    from zerosearch.evaluation.benchmarks import load_benchmark
    from zerosearch.evaluation.parts import Wanted
    from zerosearch.simulator.collect import collect, collect_from

    if from_rollouts:
        if questions or policy or source:
            raise BadConfig("--from-rollouts asks nobody: leave out --questions, --policy and the engine.")
        result = collect_from(Path(from_rollouts), out)
    else:
        if not (questions and policy):
            raise BadConfig("say what to collect: --questions FILE --policy MODEL --engine …, or --from-rollouts FILE.")
        wanted = Wanted(
            policy, agent, source or None, policy_style, policy_model, policy_tokenizer, prompt, "", max_turns, temperature, seed
        )
        result = collect(load_benchmark(questions, "", limit or None, seed), wanted, out, concurrency, console)
    console.print(f"{result.searches} searches of {result.questions} rollouts in {out}", soft_wrap=True, highlight=False)
    if result.failed:
        console.print(f"{len(result.failed)} questions failed; the same command asks them again", soft_wrap=True, highlight=False)
    write_json(result.as_dict(), json_file)


def label(
    directory: DirectoryArgument,
    by: Annotated[str, typer.Option("--by", help="judge, answer, outcome; several with commas between.")] = "answer",
    combine: Annotated[
        str, typer.Option("--combine", help="Several labellers: agree (else no label), all useful, or any useful.")
    ] = "agree",
    judge: Annotated[str, typer.Option("--judge", help="The judge: an OpenAI-compatible endpoint's URL. Its key: $OPENAI_API_KEY.")] = "",
    judge_model: Annotated[str, typer.Option("--judge-model", help="The endpoint's model; by default the first it lists.")] = "",
    judge_prompt: Annotated[str, typer.Option("--judge-prompt", help="A file instead of the built-in prompt.", metavar="FILE")] = "judge",
    sample: Annotated[int, typer.Option("--judge-sample", min=0, help="Judge a seeded sample of this many searches; 0 is all.")] = 0,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Searches before the judge at a time.")] = 16,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Useful or noisy: label every search, and say how the labellers agree and how the labels balance."""
    from zerosearch.simulator.label_run import JudgeWanted, label_directory

    wanted = JudgeWanted(judge, judge_model, judge_prompt, sample, seed, concurrency)
    report = label_directory(directory, by, combine, wanted, console)
    if json_file is None:
        for name, counts in {**report["labellers"], "labels": report["labels"]}.items():
            print(f"{name:>8}  useful {counts['useful']}  noisy {counts['noisy']}  unlabelled {counts['unlabelled']}")
            for cause, count in counts["causes"].items():
                print(f"{'':>8}  {count} × {cause}")
        for pair, agreement in report["agreement"].items():
            kappa = "undefined" if agreement["kappa"] is None else f"{agreement['kappa']:.3f}"
            print(f"Cohen's κ of {pair}: {kappa}  n {agreement['n']}")
        print(f"balanced pairs: {report['balanced_pairs']}")
    write_json(report, json_file)
