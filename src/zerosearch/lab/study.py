"""The paper's claims, and a few of ours, tested in the micro world: a matrix of runs, arms × seeds, two processes at a time.

DIR/
├── study.json              what was run, with which commit, and every figure on the page
├── study.md, *.svg         the page
├── seeds/seed-0/           a quickstart's folder: world, base, policy, searches, simulator; and the other models some arms need
└── runs/ARM/seed-0/        a run directory like any other

After a kill or a stop, the same command skips finished runs and resumes unfinished ones. A run that fails is reported, and the
others continue.
"""

import asyncio
import json
import multiprocessing
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from zerosearch.api.training import run_training, summary_figures
from zerosearch.config.build import load_training
from zerosearch.config.recipe import Recipe, make_recipe
from zerosearch.core.errors import RunFailed, ZeroSearchError, one_of
from zerosearch.core.types import Episode
from zerosearch.data.files import write_atomically
from zerosearch.evaluation.evaluate import evaluate
from zerosearch.lab.claims import ARMS, CLAIMS, INSTRUCTED, SMALL_WIDTH, TUNED_SHARE, RarelyCollapses, arms_of
from zerosearch.lab.quickstart import Lab, Scale
from zerosearch.rollout.agents import AGENTS
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.prompts import MICRO, PolicyPrompt
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.interrupts import end_with_parent, start_quietly

# Smaller than the quickstart's, so that the whole matrix fits into two hours; the models are the quickstart's.
STUDY = Scale(rl_steps=40, questions_per_step=8, group_size=8, test_questions=300, probes=200)
NOISE_END = 0.5  # the quickstart's .25 is too little for curricula to differ; the paper's code suggests .5
MODEL_SEEDS = 5  # number of worlds, policies and simulators; further seeds differ only in RL
SIMULTANEOUS = 2

# The base model has read pages followed by questions; only a worked example tells it what a search engine writes.
PROMPTED = (
    "Question: what is the capital of {example_country}? Answer: {example_city}. Query: capital {example_country} useful "
    "Docs: Doc 1: the capital of {example_country} is {example_city}. "
    "Question: {question} Answer: {golden_answers}. Query: {query} {quality} Docs: Doc 1:"
)
AGENT_PROMPTS = {
    "direct": MICRO,
    # it has seen documents only after a search; here the search is the question itself
    "rag": PolicyPrompt(task="Question: {question}<search> {question} </search>{documents}"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """`work` leaves `done`, a file or a folder; it can start once everything in `needs` exists."""

    name: str
    done: Path
    needs: tuple[Path, ...]
    work: Callable[[], object]


def study(
    claims: Sequence[str], seeds: int, out: Path, console: Console, scale: Scale = STUDY, simultaneous: int = SIMULTANEOUS
) -> dict[str, str]:
    """Run what is missing of the matrix for `claims` (none: all of them); returns the error messages of failed jobs by name.

    Raises BadConfig for an unknown claim, RunFailed if it was stopped.
    """
    for claim in claims:
        one_of("claim", claim, CLAIMS)
    folder = Study(out, scale)
    RunDirectory(out).require_writable()
    words = ["zerosearch", "study", *claims, "--seeds", str(seeds), "--out", str(out)]
    try:
        return run_all(folder.jobs(claims or list(CLAIMS), seeds), simultaneous, console)
    except KeyboardInterrupt:
        raise RunFailed(f"stopped; finished runs are kept; resume with: {shlex.join(words)}") from None


class Study:
    """Where each result is, and how it is made."""

    def __init__(self, out: Path, scale: Scale = STUDY) -> None:
        self.out, self.scale = out, scale

    def seed_folder(self, seed: int) -> Path:
        return self.out / "seeds" / f"seed-{seed}"

    def run_folder(self, arm: str, seed: int) -> Path:
        return self.out / "runs" / arm / f"seed-{seed}"

    def jobs(self, claims: Iterable[str], seeds: int) -> list[Job]:
        """Every run the claims need, in their order, each once and after the models that it needs."""
        jobs: dict[Path, Job] = {}
        for name in claims:
            for test in CLAIMS[name].tests:
                for arm in arms_of(test):
                    count = test.runs if isinstance(test, RarelyCollapses) else min(seeds, ARMS[arm].seeds or seeds)
                    for seed in range(count):
                        self._add(jobs, arm, seed)
        return list(jobs.values())

    def _add(self, jobs: dict[Path, Job], arm: str, seed: int) -> None:
        models = seed % MODEL_SEEDS
        chosen = ARMS[arm]
        needs = [self._model(jobs, chosen.policy, models)]
        if "kind" not in chosen.changes.get("engine", {}) and not chosen.agent:
            needs.append(self._model(jobs, chosen.simulator, models))
        done = self.run_folder(arm, seed) / "summary.json"
        work = partial(answer_untrained if chosen.agent else train_arm, self.out, self.scale, arm, seed, models)
        jobs.setdefault(done, Job(f"{arm}, seed {seed}", done, tuple(needs), work))

    def _model(self, jobs: dict[Path, Job], name: str, seed: int) -> Path:
        """The folder (or file) of a model; adds a job for it, and for the one it starts from, if there is none yet."""
        # a simulator is done when its card exists
        done = self.seed_folder(seed) / (f"card-{name}.json" if name.startswith(("simulator", "prompted")) else name)
        origin = ORIGINS[name]
        needs = (self._model(jobs, origin, seed),) if origin else ()
        jobs.setdefault(done, Job(f"{name} of seed {seed}", done, needs, partial(make_model, self.out, self.scale, name, seed)))
        return done

    def recipe(self, arm: str, seed: int, models: int) -> Recipe:
        """The common recipe with the arm's changes, on the models of the seed `models`."""
        chosen, folder = ARMS[arm], self.seed_folder(models)
        scale = replace(Scale(), test_questions=self.scale.test_questions) if chosen.long else self.scale
        table = Lab(folder, models, scale).recipe("simulated", self.run_folder(arm, seed)).model_dump()
        table["policy"]["model"] = str(folder / chosen.policy)
        if not chosen.long:
            table["curriculum"]["end"] = NOISE_END
        table["engine"] |= simulator_settings(folder, chosen.simulator)
        if chosen.changes.get("engine", {}).get("kind") == "bm25":
            table["engine"] = {"corpus": str(folder / "world" / "train_corpus.jsonl")}
        table["run"] |= {
            "seed": seed,
            "workers": 1,
            "checkpoint_every": 10,
            "keep_checkpoints": 1,
            "evaluate_every": 10,
            "evaluate_questions": 100,
            "save_trajectories_every": 20,
        }
        for section, values in chosen.changes.items():
            table[section] |= values
        return make_recipe(table)


# model → the one it starts from
ORIGINS = {
    "base": "",
    "base-small": "",
    "policy": "base",
    "policy-instruct": "base",
    "prompted": "base",
    "simulator-small": "base-small",
    **{name: "base" for name in TUNED_SHARE},
}


def simulator_settings(folder: Path, name: str) -> dict[str, str | int]:
    """Without the quickstart's guard of noisy replies: the simulators themselves are compared here."""
    if name == "prompted":
        return {**_UNGUARDED, "model": str(folder / "base"), "template": str(folder / "prompted.txt")}
    return {**_UNGUARDED, "model": str(folder / name)}


_UNGUARDED: dict[str, str | int] = {"guard_redraws": 0, "guarded": "both"}


# ---- what jobs do, each in a process of its own


def make_model(out: Path, scale: Scale, name: str, seed: int) -> None:
    folder = Study(out, scale).seed_folder(seed)
    lab, quiet = Lab(folder, seed, scale), Console(quiet=True)
    folder.mkdir(parents=True, exist_ok=True)
    match name:
        case "base":
            lab.write_worlds()
            lab.pretrain(quiet, threads=1)
        case "base-small":
            lab.write_worlds()
            lab.pretrain(quiet, name, SMALL_WIDTH, threads=1)
        case "policy":
            lab.demonstrate(_nothing)
        case "policy-instruct":
            lab.demonstrate(_nothing, name, INSTRUCTED)
        case "prompted":
            country, city = (lab.train.entities[kind][0].name for kind in ("country", "city"))
            example = PROMPTED.replace("{example_country}", country).replace("{example_city}", city)
            write_atomically(folder / "prompted.txt", example)
        case _:
            steps = max(1, round(scale.simulator_steps * TUNED_SHARE.get(name, 1.0)))
            lab.tune_simulator(_nothing, name, ORIGINS[name], steps)
    if name.startswith(("simulator", "prompted")):
        engine = lab.recipe("simulated", folder).engine.model_copy(update=simulator_settings(folder, name))
        lab.card(engine, f"card-{name}")


def _nothing(*_: object) -> None: ...


def train_arm(out: Path, scale: Scale, arm: str, seed: int, models: int) -> None:
    """A normal run. The starting policy is measured once for all arms that start from it and prompt it the same way."""
    study = Study(out, scale)
    recipe, run = study.recipe(arm, seed, models), RunDirectory(study.run_folder(arm, seed))
    shared = study.seed_folder(models) / f"evaluation-{ARMS[arm].policy}-{recipe.rollout.max_turns}.json"
    kept = run.path / "evaluation-base.json"
    begun = run.config.exists()
    if not begun and shared.exists():
        run.path.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared, kept)
    run_training(recipe, Console(quiet=True), begun, extra={"commit": commit(), "arm": arm})
    if not shared.exists():
        write_atomically(shared, kept.read_text())


def answer_untrained(out: Path, scale: Scale, arm: str, seed: int, models: int) -> None:
    study, agent = Study(out, scale), ARMS[arm].agent
    parts, started = load_training(study.recipe(arm, seed, models)), time.perf_counter()
    own = parts.evaluation_environment
    assert isinstance(own, SearchEnvironment)
    environment = AGENTS[agent].environment(own.engine, AGENT_PROMPTS[agent], own.k, own.max_turns)
    episode = Episode(parts.keep.seed)
    budgets = [replace(parts.settings, temperature=t) for t in (0.0, 1.0)]
    greedy, sampled = (asyncio.run(evaluate(parts.policy, environment, parts.held_out, b, episode)) for b in budgets)
    summary = {"trained": summary_figures(greedy, sampled), "wall_s": round(time.perf_counter() - started, 1), "commit": commit()}
    folder = study.run_folder(arm, seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "summary.json", json.dumps(summary, indent=2, default=float) + "\n")


def commit() -> str:
    """The commit of the code that runs, with a + when files differ from it; "" outside a checkout."""
    here = Path(__file__).parent
    try:
        say = partial(subprocess.run, capture_output=True, text=True, check=True, cwd=here)
        head = say(["git", "rev-parse", "--short", "HEAD"]).stdout.strip()
        return head + ("+" if say(["git", "status", "--porcelain", "--untracked-files=no", "."]).stdout else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


# ---- two at a time


def run_all(jobs: Sequence[Job], simultaneous: int, console: Console, start: str = "spawn") -> dict[str, str]:
    """Do every job that is not done, in order, `simultaneous` at a time; returns what failed, and what could therefore not be tried.

    `start` is a start method of multiprocessing.
    """
    left = [job for job in jobs if not job.done.exists()]
    running: dict[Any, tuple[Job, Any, float]] = {}
    failures: dict[str, str] = {}
    context: Any = multiprocessing.get_context(start)
    total, finished = len(jobs), len(jobs) - len(left)
    console.print(f"study: {finished} of {total} jobs are already done", highlight=False)
    while left or running:
        ready = [job for job in left if all(need.exists() for need in job.needs)][: simultaneous - len(running)]
        for job in ready:
            left.remove(job)
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_do, args=(job.work, sender), daemon=True)
            start_quietly(process)
            sender.close()
            running[receiver] = (job, process, time.monotonic())
        if not running:
            failures |= {job.name: "a model that it needs could not be made" for job in left}
            break
        for receiver in wait(list(running)):
            job, process, started = running.pop(receiver)
            said = _last_words(receiver)
            process.join()
            finished += 1
            if said:
                failures[job.name] = said
            told = said or f"done in {time.monotonic() - started:.0f} s"
            console.print(f"study: {finished}/{total}  {job.name}: {told}", highlight=False, soft_wrap=True)
    return failures


def _do(work: Callable[[], object], sender: Any) -> None:
    end_with_parent()
    torch.set_num_threads(1)
    try:
        work()
        sender.send("")
    except ZeroSearchError as error:
        sender.send(str(error))
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
    finally:
        sender.close()


def _last_words(receiver: Any) -> str:
    try:
        return receiver.recv()
    except EOFError:
        return "its process ended without a message (did it run out of memory?)"
