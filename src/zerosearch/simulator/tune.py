"""Labelled searches → a simulator: supervised tuning of any Hugging Face causal LM, whole or by LoRA.

Two loops, by `optimizer`. adamw: transformers' Trainer on packed rows; accelerate spreads it over GPUs, it writes and resumes checkpoints,
and needs nothing beside transformers. Packing and the loss on replies only are in packing.py: thirty lines that need no second
trainer. muon: the loop of models/sft.py, for models of a few million parameters on a CPU (docs/simulator.md).
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from zerosearch.core.errors import BadConfig, ModelNotUsable, RunFailed, one_of
from zerosearch.core.install import not_installed
from zerosearch.core.renderers import TemplateRenderer
from zerosearch.data.files import begin_folder, new_directory, write_atomically, writing
from zerosearch.engines.prompts import WEB, Imitated, simulator_prompt
from zerosearch.models.local import DTYPES, load_model
from zerosearch.models.lora import wrap
from zerosearch.models.sft import Schedule, WeightedText, fit, mean_loss, micro_optimizers
from zerosearch.runs.progress import Progress
from zerosearch.simulator.label import check_both_sides, read_labelled
from zerosearch.simulator.packing import Example, PackedRows, batch_of_rows, encode_pairs, weighted
from zerosearch.simulator.pairs import SearchPair, balanced
from zerosearch.simulator.searches import SearchesDirectory

Show = Callable[[int, int, Mapping[str, object]], None]  # steps done, of how many, figures: Progress.step


@dataclass(frozen=True, slots=True)
class Usual:
    """An optimizer's settings where they are left at 0."""

    learning_rate: float
    batch_rows: int


OPTIMIZERS = {"adamw": Usual(1e-5, 2), "muon": Usual(0.015, 24)}
ADAMW_SHARE = 4e-3 / 0.015  # of Muon's rate: AdamW's for the embeddings, the head and the norms
LESSER_WEIGHT = 0.4  # under muon, of all documents but the first
DOCUMENTS_READ = (1, 1, 2, 2, 5)  # under muon a batch ends after so many, drawn: the first ones are those that answer a query


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """`row_tokens` is the length of a packed row; 0 means that of the longest example. `lora_rank` 0 tunes the whole model.

    `learning_rate` and `batch_rows` 0 mean the optimizer's defaults. Under muon a row is one search, and a checkpoint follows each step.
    """

    model: str
    template: str = "tuned"
    imitated: Imitated = WEB
    optimizer: str = "adamw"
    steps: int = 1000
    batch_rows: int = 0
    accumulate: int = 1
    row_tokens: int = 0
    learning_rate: float = 0.0
    lora_rank: int = 0
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    device: str = "auto"
    held_out: float = 0.1
    save_every: int = 100
    log_every: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """Split by question, so that no question is on both sides."""

    train: list[SearchPair]
    held_out: list[SearchPair]


def split(pairs: Sequence[SearchPair], share: float, seed: int) -> Split:
    """Balanced training pairs, and those of the held-out questions. Raises BadFile if training is left one-sided."""
    questions = sorted({p.question.id for p in pairs})
    kept_out = set(random.Random(f"split/{seed}").sample(questions, round(share * len(questions))))
    rng = random.Random(f"balance/{seed}")
    train = [p for p in pairs if p.question.id not in kept_out]
    check_both_sides(train, "the training questions")
    return Split(balanced(train, rng), balanced([p for p in pairs if p.question.id in kept_out], rng))


def tune(path: Path, settings: TuneSettings, out: Path, console: Console, show: Show | None = None) -> dict[str, Any]:
    """Tune, or resume tuning, and put the finished model in `out`; returns the report, which is also in `out`/tuning.json.

    `show` gets the progress; by default it is a bar on the console.
    Raises BadInput for settings that do not go together, labels on one side only, a model that cannot be loaded, or a context too short (by
    how much).
    """
    template = simulator_prompt(settings.template)
    one_of("dtype", settings.dtype, DTYPES)
    settings = _completed(settings)
    if (out / "tuning.json").exists():
        raise BadConfig(f"'{out}' already holds a finished simulator; choose another --out.")
    pairs = split(read_labelled(SearchesDirectory(path)), settings.held_out, settings.seed)
    model, tokenizer = load_model(settings.model, settings.device, settings.dtype)
    if tokenizer.eos_token_id is None:
        raise ModelNotUsable(f"the tokenizer of '{settings.model}' has no end token, so a reply could not end; set eos_token.")
    tokens = TemplateRenderer(tokenizer)
    train, held_out = (encode_pairs(tokens, side, template, settings.imitated) for side in (pairs.train, pairs.held_out))
    longest = max(len(example.ids) for example in (*train, *held_out))
    _check_context(model, longest, settings)
    if settings.lora_rank:
        model = wrap(model, settings.lora_rank, 2 * settings.lora_rank, settings.seed)
    checkpoints = out.with_name(f".{out.name}.tuning")
    if _is_first_process():  # refuses to resume with other settings, because the result would fit neither
        with writing(checkpoints):
            begin_folder(checkpoints / "settings.json", {**asdict(settings), "searches": str(path)}, "a tuning", "remove that folder")
    try:
        with Progress("tuning", console) as progress:
            tell = show or progress.step
            if settings.optimizer == "muon":
                sides = (list(zip(train, pairs.train, strict=True)), list(zip(held_out, pairs.held_out, strict=True)))
                curve = fit_by_muon(model, tokenizer, *sides, settings, checkpoints, tell)
            else:
                curve = fit_packed(model, train, held_out, settings, checkpoints, tokenizer.pad_token_id or 0, tell)
    except KeyboardInterrupt:
        raise RunFailed("stopped; the last checkpoint is kept; run the same command again to resume.") from None
    if any(value != value for _, value in curve["loss"]):
        raise RunFailed("the tuning has diverged; choose a lower --learning-rate.")
    report = {
        **asdict(settings),
        "searches": str(path),
        "pairs": len(train),
        "held_out_pairs": len(held_out),
        "longest_example_tokens": longest,
        "questions": sorted({p.question.id for p in pairs.train}),
        "held_out_questions": sorted({p.question.id for p in pairs.held_out}),
        **curve,
    }
    whole: Any = model.merge_and_unload() if settings.lora_rank else model
    if not _is_first_process():
        return report
    with new_directory(out) as partial:
        whole.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        write_atomically(partial / "tuning.json", json.dumps(report, indent=2) + "\n")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return report


def _completed(settings: TuneSettings) -> TuneSettings:
    """The settings, with the optimizer's defaults in place of 0. Raises BadConfig for what muon's loop cannot do."""
    usual = OPTIMIZERS[one_of("optimizer", settings.optimizer, OPTIMIZERS)]
    wanted = {
        "--lora-rank": settings.lora_rank,
        "--accumulate": settings.accumulate > 1,
        "--row-tokens": settings.row_tokens,
        "--gradient-checkpointing": settings.gradient_checkpointing,
        "several processes": int(os.environ.get("WORLD_SIZE", "1")) > 1,
    }
    if settings.optimizer == "muon" and (refused := [name for name, is_wanted in wanted.items() if is_wanted]):
        raise BadConfig(f"--optimizer muon cannot be combined with {refused[0]}: it tunes whole small models in one process; use adamw.")
    return replace(
        settings, learning_rate=settings.learning_rate or usual.learning_rate, batch_rows=settings.batch_rows or usual.batch_rows
    )


def _check_context(model: Any, longest: int, settings: TuneSettings) -> None:
    context = getattr(model.config, "max_position_embeddings", None) or longest
    if longest > context:
        raise ModelNotUsable(
            f"the context of '{settings.model}' is {context} tokens and the longest search takes {longest}, {longest - context} too many; "
            "choose another model, or a shorter --template."
        )
    if settings.row_tokens and settings.row_tokens < longest:
        raise BadConfig(f"--row-tokens {settings.row_tokens} is less than the longest search, which takes {longest} tokens; raise it.")


def _is_first_process() -> bool:
    """True in one of the processes that `accelerate launch` started, which writes for all."""
    return os.environ.get("RANK", "0") == "0"


def fit_packed(
    model: Any, examples: Sequence[Example], held_out: Sequence[Example], settings: TuneSettings, checkpoints: Path, pad_id: int, show: Show
) -> dict[str, Any]:
    """By transformers' Trainer. Loss curves: `loss` and `held_out_loss` are lists of (step, mean loss per token of the replies)."""
    if find_spec("accelerate") is None:  # transformers' own message is a paragraph long
        raise BadConfig(not_installed("tune", "accelerate", "tune"))
    from transformers import Trainer, TrainerCallback, TrainingArguments

    row_tokens = settings.row_tokens or max(len(e.ids) for e in (*examples, *held_out))
    on_cpu = next(model.parameters()).device.type == "cpu"
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_rows,
        per_device_eval_batch_size=settings.batch_rows,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, settings.steps // 20),
        bf16=settings.dtype == "bfloat16" and not on_cpu,
        gradient_checkpointing=settings.gradient_checkpointing,
        use_cache=False,  # with a cache, transformers would not see where a new example begins in a packed row
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        logging_steps=settings.log_every,
        save_steps=settings.save_every,
        save_total_limit=1,
        eval_strategy="steps" if held_out else "no",
        eval_steps=settings.save_every if held_out else None,
        prediction_loss_only=True,
        remove_unused_columns=False,
        seed=settings.seed,
        report_to=[],
        disable_tqdm=True,
    )

    class Shown(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            show(state.global_step, settings.steps, {k: v for k, v in (logs or {}).items() if k in ("loss", "eval_loss")})

    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=PackedRows(examples, row_tokens),
        eval_dataset=PackedRows(held_out, row_tokens) if held_out else None,
        data_collator=lambda rows: batch_of_rows(rows, pad_id),
        callbacks=[Shown()],
    )
    trainer.pop_callback(_printer())
    found = sorted(checkpoints.glob("checkpoint-*/trainer_state.json"), key=lambda p: int(p.parent.name.rpartition("-")[2]))
    trainer.train(resume_from_checkpoint=str(found[-1].parent) if found else None)
    if held_out:
        trainer.evaluate()
    history = trainer.state.log_history
    return {
        "loss": [(row["step"], row["loss"]) for row in history if "loss" in row],
        "held_out_loss": [(row["step"], row["eval_loss"]) for row in history if "eval_loss" in row],
    }


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def fit_by_muon(
    model: Any,
    tokenizer: Any,
    train: Sequence[tuple[Example, SearchPair]],
    held_out: Sequence[tuple[Example, SearchPair]],
    settings: TuneSettings,
    checkpoints: Path,
    show: Show,
) -> dict[str, Any]:
    """By the loop of models/sft.py. The same curves, but documents after the first weigh less in the training loss."""
    unseen = [weighted(*search, tokenizer.eos_token) for search in held_out]
    kept: dict[str, list[Any]] = {"loss": [], "held_out_loss": []}

    def batch_of(step: int) -> list[WeightedText]:
        draw = random.Random(f"tune/{settings.seed}/{step}")
        chosen, read = draw.sample(train, min(settings.batch_rows, len(train))), draw.choice(DOCUMENTS_READ)
        return [weighted(*search, tokenizer.eos_token, LESSER_WEIGHT, read) for search in chosen]

    def on_step(done: int, loss: float, hits: float) -> None:
        kept["loss"].append(loss)
        if unseen and (done % settings.save_every == 0 or done == settings.steps):
            kept["held_out_loss"].append((done, mean_loss(model, tokenizer, unseen)))
        show(done, settings.steps, {"loss": loss, "lookup": hits})

    optimizers = micro_optimizers(model, settings.learning_rate, ADAMW_SHARE * settings.learning_rate)
    fit(model, tokenizer, batch_of, optimizers, Schedule(settings.steps, decay=0.5), checkpoints / "state", on_step, kept)
    every = settings.log_every
    points = range(every, settings.steps + 1, every)
    return {"loss": [(step, fmean(kept["loss"][step - every : step])) for step in points], "held_out_loss": kept["held_out_loss"]}


def imitated_by(file: str) -> dict[str, Any]:
    """What a tuned simulator was tuned with, as settings of an [engine] section; {} if there is no such file."""
    try:
        report = json.loads(Path(file).read_text())
        imitated = report["imitated"]
        words = imitated.pop("words")
        return {"template": report["template"], "words_per_document": words, **imitated}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
