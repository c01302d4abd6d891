"""`zerosearch collect`, `label`, `tune` and `card`: a simulated search engine of your own, and how good it is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zerosearch.cli.options import (
    JsonOption,
    LimitOption,
    SeedOption,
    console,
    engine_table,
    takes,
    to_file,
    to_folder,
    who_asks,
    write_json,
    write_text,
)
from zerosearch.core.errors import BadConfig

DirectoryArgument = Annotated[Path, typer.Argument(help="A directory that collect --out wrote.", metavar="DIR")]


@takes(source=engine_table, asked=who_asks)
def collect(
    source: dict[str, Any],
    asked: dict[str, Any],
    out: Annotated[Path, to_folder("--out", help="Keep everything here; started again, it resumes.")],
    questions: Annotated[
        str, typer.Option("--questions", help="A benchmark's name, or JSONL, .gz or .parquet with id, question, golden_answers.")
    ] = "",
    policy: Annotated[str, typer.Option("--policy", help="Who searches: a folder, a run, a hub id, or an endpoint's URL.")] = "",
    from_rollouts: Annotated[
        str, typer.Option("--from-rollouts", help="Stored transcripts instead: question, golden_answers, response.", metavar="FILE")
    ] = "",
    limit: LimitOption = 0,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Questions in the air at a time.")] = 64,
    json_file: JsonOption = None,
) -> None:
    """Real searches, kept: a policy works through questions against a real engine, or the searches of stored transcripts."""
    from zerosearch.config.evaluation import EvaluationSettings, build_evaluation
    from zerosearch.data.benchmarks import load_benchmark
    from zerosearch.simulator.collect import collect, collect_from

    if from_rollouts:
        if questions or policy or source:
            raise BadConfig("with --from-rollouts nothing is searched for: leave out --questions, --policy and the engine.")
        result = collect_from(Path(from_rollouts), out)
    else:
        if not (questions and policy):
            raise BadConfig("say what to collect: --questions FILE --policy MODEL --engine …, or --from-rollouts FILE.")
        benchmark = load_benchmark(questions, "", limit or None, asked["seed"])

        def build(engine: Any) -> Any:
            return build_evaluation(EvaluationSettings(policy, engine=engine, **asked))

        result = collect(benchmark, policy, source, build, out, concurrency, console)
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
    from zerosearch.simulator.label import JudgeWanted, label_directory

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


def tune(
    directory: DirectoryArgument,
    model: Annotated[str, typer.Option("--model", help="The base model: any causal LM, a folder or a hub id.")],
    out: Annotated[Path, to_folder("--out", help="The finished simulator; killed, the same command resumes.")],
    template: Annotated[str, typer.Option("--template", help="The simulator's prompt: tuned, web, micro, or a file.")] = "tuned",
    persona: Annotated[str, typer.Option("--persona", help="For {persona} in the template.")] = "a search engine",
    domain: Annotated[str, typer.Option("--domain", help="For {domain} in the template.")] = "the web",
    language: Annotated[str, typer.Option("--language", help="For {language} in the template.")] = "English",
    words: Annotated[int, typer.Option("--words", min=1, help="For {words} in the template: of a document.")] = 30,
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="adamw, or muon: for a model of a few million parameters on a CPU, whole, in one process.")
    ] = "adamw",
    steps: Annotated[int, typer.Option("--steps", min=1)] = 1000,
    batch_rows: Annotated[
        int, typer.Option("--batch-rows", min=0, help="Packed rows per step and GPU, 0: 2. Of muon: searches per step, 0: 24.")
    ] = 0,
    accumulate: Annotated[int, typer.Option("--accumulate", min=1, help="Batches per step.")] = 1,
    row_tokens: Annotated[int, typer.Option("--row-tokens", min=0, help="Length of a packed row; 0: of the longest search.")] = 0,
    learning_rate: Annotated[float, typer.Option("--learning-rate", min=0.0, help="0: 1e-5, of muon .015.")] = 0.0,
    lora_rank: Annotated[int, typer.Option("--lora-rank", min=0, help="LoRA by peft, merged at the end; 0 tunes the whole model.")] = 0,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")] = "float32",
    gradient_checkpointing: Annotated[bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto: CUDA, else MPS, else the CPU.")] = "auto",
    held_out: Annotated[float, typer.Option("--held-out", min=0, max=0.9, help="Share of the questions kept out.")] = 0.1,
    save_every: Annotated[int, typer.Option("--save-every", min=1, help="Steps between checkpoints; muon writes one after each.")] = 100,
    log_every: Annotated[int, typer.Option("--log-every", min=1, help="Steps between points of the loss curve.")] = 10,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Tune a language model on labelled searches: a simulated search engine. Several GPUs: accelerate launch -m zerosearch tune …"""
    from zerosearch.engines.prompts import Imitated
    from zerosearch.simulator.tune import TuneSettings, tune

    settings = TuneSettings(
        model, template, Imitated(persona, domain, language, words), optimizer, steps, batch_rows, accumulate, row_tokens, learning_rate,
        lora_rank, dtype, gradient_checkpointing, device, held_out, save_every, log_every, seed,
    )  # fmt: skip
    report = tune(directory, settings, out, console)
    loss, unseen = report["loss"], report["held_out_loss"]
    ends = f"loss {loss[0][1]:.3f} → {loss[-1][1]:.3f}" if loss else ""
    kept_out = f", held out {unseen[-1][1]:.3f} on {report['held_out_pairs']} pairs" if unseen else ""
    console.print(f"{out}: {report['pairs']} pairs, {ends}{kept_out}", soft_wrap=True, highlight=False)
    write_json(report, json_file)


def card(
    simulator: Annotated[str, typer.Argument(help="A folder, a hub id, or an OpenAI-compatible endpoint's URL.", metavar="MODEL|URL")],
    searches: Annotated[Path, typer.Option("--searches", help="Real searches to compare with: what collect --out wrote.", metavar="DIR")],
    template: Annotated[str, typer.Option("--template", help="tuned, web, micro, or a file; by default what it was tuned with.")] = "",
    endpoint_model: Annotated[str, typer.Option("--endpoint-model", help="The endpoint's model; by default the first it lists.")] = "",
    tuning: Annotated[str, typer.Option("--tuning", help="An endpoint's tuning.json: which questions it has seen.", metavar="FILE")] = "",
    k: Annotated[int, typer.Option("--k", min=1, help="Documents per reply.")] = 5,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Queries of each kind at most.")] = 200,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 600,
    guard_redraws: Annotated[int, typer.Option("--guard-redraws", min=0, help="Also measure with a guard of so many redraws.")] = 0,
    guarded: Annotated[str, typer.Option("--guarded", help="Which replies it guards: both, or noisy alone.")] = "both",
    usd_per_hour: Annotated[float, typer.Option("--usd-per-hour", min=0, help="What the machine costs, for the cost of a search.")] = 0.0,
    judge: Annotated[str, typer.Option("--judge", help="Also ask a judge: an endpoint's URL.")] = "",
    judge_model: Annotated[str, typer.Option("--judge-model")] = "",
    html: Annotated[Path | None, to_file("--html", help="Write the card as one page.")] = None,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """A simulator's card: how often useful replies help, noisy ones do not, and a bad query stays a bad query."""
    from zerosearch.config.build import Device, load_chat
    from zerosearch.config.recipe import make_engine
    from zerosearch.simulator.card import LABELS, CardSettings, card_page, make_card
    from zerosearch.simulator.probe_set import probes_of
    from zerosearch.simulator.searches import SearchesDirectory
    from zerosearch.simulator.tune import imitated_by

    remote = simulator.startswith(("http://", "https://"))
    engine = {"kind": "simulated", "k": k, "max_new_tokens": max_new_tokens, **imitated_by(tuning or f"{simulator}/tuning.json")}
    engine |= {"url": simulator, "model": endpoint_model} if remote else {"model": simulator}
    engine |= {"guarded": guarded} | ({"template": template} if template else {})
    config = make_engine({**engine, "guard_redraws": 0})
    probes = probes_of(SearchesDirectory(searches).read_searches(), limit, seed)
    result = make_card(
        load_chat(config, Device()), config, probes, searches, CardSettings(tuning, guard_redraws, usd_per_hour, judge, judge_model, seed)
    )
    if html is not None:
        write_text(html, card_page(result))
    if json_file is None:
        for name, value in result["figures"].items():
            if value is not None:
                print(f"{LABELS[name]:>50}  {value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]  n {value['n']}")
    write_json(result, json_file)
