"""The ZeroSearch pipeline from scratch, on a laptop: a world, a base model, a simulated search engine, and RL against it.

    world      two fictional worlds that share no name; train on one, test on the other
    base       a tiny Qwen3 learns the language and to look things up; it knows no fact of either world
    policy     … and, from flawed demonstrations, the tags; it searches and chains badly
    simulator  … the same base tuned on real searches in the training world: query → five documents, useful or noisy
    card       how far the simulator can be trusted
    training   the policy learns by GRPO against the simulator; noise rises; it never sees the real engine …
    evaluation … until now: questions about the test world, answered with BM25 over the test world

Each phase leaves a folder or a file; after a kill, the pipeline resumes when started again.
"""

import json
import multiprocessing
import random
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from zerosearch.api.training import run_training
from zerosearch.config.build import Device, load_chat
from zerosearch.config.recipe import Recipe, make_recipe, require_same
from zerosearch.core.errors import RunFailed, ZeroSearchError
from zerosearch.core.types import Document
from zerosearch.data.files import begin_folder, new_directory, write_atomically, writing
from zerosearch.engines.bm25 import BM25Engine
from zerosearch.engines.settings import EngineConfig
from zerosearch.lab.base_model import build_model, demonstration_batch, pretraining_batch
from zerosearch.lab.language import Entity, Names, make_tokenizer
from zerosearch.lab.searches import ScriptedPair, collect_pairs, off_target_query, on_target_query, write_searches
from zerosearch.lab.streams import BASE_LIKE, Sloppiness
from zerosearch.lab.world import World, WorldQuestion, make_worlds, write_corpus, write_questions
from zerosearch.models.local import quiet_transformers
from zerosearch.models.sft import Schedule, fit, micro_optimizers
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.interrupts import end_with_parent, start_quietly
from zerosearch.runs.progress import Progress
from zerosearch.simulator.card import CardSettings, make_card, means_of
from zerosearch.simulator.pairs import balanced
from zerosearch.simulator.probe_set import Probe, Probes
from zerosearch.simulator.tune import Show, TuneSettings, tune

OnStep = Callable[[int, float, float], None]  # steps done, loss, share of looked-up tokens right


@dataclass(frozen=True, slots=True)
class Scale:
    """How long each phase lasts. The defaults are the quickstart's; tests and studies choose their own."""

    pretraining_steps: int = 600
    demonstration_steps: int = 500
    simulator_steps: int = 700
    pairs: int = 12_000
    questions_kept_out: int = 300
    probes: int = 300
    rl_steps: int = 60
    questions_per_step: int = 12
    group_size: int = 12
    test_questions: int = 600


def quickstart(out: Path, seed: int = 0, scale: Scale = Scale(), console: Console | None = None) -> dict[str, Any]:
    """Run every phase that is not done yet, and return the summary. After a stop or a kill, the same call resumes.

    Raises BadInput, before anything is written, if `out` holds something else or cannot be written.
    """
    console = console or Console(stderr=True)
    run = RunDirectory(out, f"zerosearch quickstart --out {shlex.quote(str(out))} --seed {seed}")
    run.require_writable()
    lab = Lab(out, seed, scale)
    recipe = lab.recipe("simulated", out)
    lab.claim(run, recipe)
    try:
        clock = Clock(out / "phases.json")
        with clock.phase("world"):
            lab.write_worlds()
        with clock.phase("base"):
            lab.pretrain(console)
        with clock.phase("policy and simulator"):
            lab.tune_both(console)
        with clock.phase("card"):
            figures = means_of(lab.card())
    except KeyboardInterrupt:
        raise RunFailed(f"stopped; finished steps are saved; resume with: {run.resume_command}") from None
    return run_training(recipe, console, run.config.exists(), clock.seconds, {"simulator": figures}, run.resume_command).summary


def compare_with_real_engine(out: Path, seed: int = 0, scale: Scale = Scale(), console: Console | None = None) -> dict[str, Any]:
    """Train the quickstart's policy for the same number of steps against BM25 over the training world, and return its final figures.

    The difference of the two held-out figures is what the simulator costs, or gains.
    """
    console = console or Console(stderr=True)
    run = out / "real_engine"
    recipe = Lab(out, seed, scale).recipe("bm25", run)
    resume_command = f"zerosearch quickstart --out {shlex.quote(str(out))} --seed {seed} --compare"
    return run_training(recipe, console, RunDirectory(run).config.exists(), resume_command=resume_command).summary["trained"]


class Clock:
    """Seconds by phase, kept in a file so that a resumed pipeline includes the time of the first part."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 1)
            with writing(self.file):
                write_atomically(self.file, json.dumps(self.seconds))


class Lab:
    """The phases, each of which does nothing if its result already exists."""

    def __init__(self, out: Path, seed: int, scale: Scale) -> None:
        self.out, self.seed, self.scale = out, seed, scale
        self.tokenizer = make_tokenizer()
        quiet_transformers()

    @cached_property
    def worlds(self) -> tuple[World, World]:
        return make_worlds(self.seed)

    @property
    def train(self) -> World:
        return self.worlds[0]

    @property
    def test(self) -> World:
        return self.worlds[1]

    @cached_property
    def test_entities(self) -> set[Entity]:
        return self.test.all_entities()

    def claim(self, run: RunDirectory, recipe: Recipe) -> None:
        """Record in the folder which quickstart it holds. Raises BadConfig if it holds another one, or a run of another kind."""
        with writing(self.out):
            begin_folder(self.out / "quickstart.json", {"seed": self.seed, **asdict(self.scale)}, "a quickstart")
        if run.config.exists():
            require_same(run, recipe)

    def write_worlds(self) -> None:
        if (self.out / "world").exists():
            return
        with new_directory(self.out / "world") as world:
            write_corpus(world / "train_corpus.jsonl", self.train.documents)
            write_corpus(world / "test_corpus.jsonl", self.test.documents)
            write_questions(world / "train_questions.jsonl", self.train.questions)
            write_questions(world / "test_questions.jsonl", self.test.questions[: self.scale.test_questions])

    def pretrain(self, console: Console, name: str = "base", width: int = 128, threads: int = 2) -> None:
        if (self.out / name).exists():
            return
        with Progress("base model", console) as progress:
            steps = self.scale.pretraining_steps

            def batch_of(step: int) -> list[Any]:
                return pretraining_batch(self.seed, self.test_entities, step / steps)

            # in the quickstart nothing else runs yet: two threads make a step 1.6 times as fast
            show = _show(progress, steps)
            self._fit(name, "", batch_of, (0.02, 8e-3), Schedule(steps, decay=0.4), show, threads, width)

    def tune_both(self, console: Console) -> None:
        """The policy in this process, the simulator in another: two cores, two models."""
        if (self.out / "policy").exists() and (self.out / "simulator").exists():
            return
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_tune_simulator_in_child, args=(self.out, self.seed, self.scale, sender), daemon=True)
        start_quietly(child)
        sender.close()
        with Progress("policy (demonstrations)", console) as progress:
            self.demonstrate(_show(progress, self.scale.demonstration_steps))
        with Progress("simulator", console) as progress:
            while True:
                try:
                    said = receiver.recv()
                except EOFError:
                    break
                if isinstance(said, ZeroSearchError):
                    raise said
                done, total, figures = said
                if done == total or not receiver.poll():  # progress made while the policy learned is not shown
                    progress.step(done, total, figures)
        child.join()
        if child.exitcode != 0:
            raise RunFailed(f"the simulator's tuning ended with exit code {child.exitcode}; run the same command again to resume.")

    def demonstrate(self, on_step: OnStep, name: str = "policy", sloppy: Sloppiness = BASE_LIKE) -> None:
        def batch_of(step: int) -> list[Any]:
            return demonstration_batch(self.seed, self.test_entities, step, sloppy=sloppy)

        self._fit(name, "base", batch_of, (0.015, 5e-3), Schedule(self.scale.demonstration_steps, decay=0.5), on_step)

    def tune_simulator(self, show: Show, name: str = "simulator", origin: str = "base", steps: int | None = None) -> None:
        """The same as `zerosearch tune OUT/searches --model OUT/ORIGIN --optimizer muon --template micro --held-out 0`."""
        if (self.out / name).exists():
            return
        searches = self.out / "searches"
        write_searches(searches, {"script": "lab/searches.py", "seed": self.seed, "searches": self.scale.pairs}, self._scripted_pairs)
        torch.set_num_threads(1)
        settings = TuneSettings(
            model=str(self.out / origin),
            template="micro",
            optimizer="muon",
            steps=steps or self.scale.simulator_steps,
            device="cpu",
            held_out=0.0,  # the held-out questions are not among the searches
            seed=self.seed,
        )
        tune(searches, settings, self.out / name, Console(quiet=True), show)

    def _scripted_pairs(self) -> list[ScriptedPair]:
        rng = random.Random(f"pairs/{self.seed}")
        questions = self.train.questions[self.scale.questions_kept_out :]
        return balanced(collect_pairs(self.train, questions, self._retriever(), rng, self.scale.pairs, self.test_entities), rng)

    def card(self, engine_config: EngineConfig | None = None, name: str = "card") -> dict[str, Any]:
        """The quickstart's simulator, or that of another [engine] section, measured once: NAME.json, as `zerosearch card` writes it."""
        file = self.out / f"{name}.json"
        if not file.exists():
            config = engine_config or self.recipe("simulated", self.out).engine
            probes = self.probes(random.Random(f"card/{self.seed}"))
            card = make_card(load_chat(config, Device()), config, probes, self.out / "world", CardSettings(seed=self.seed))
            with writing(file):
                write_atomically(file, json.dumps(card, indent=2))
        return json.loads(file.read_text())

    def probes(self, rng: random.Random) -> Probes:
        """Questions of the training world held out from the simulator's tuning."""
        names, retrieve = Names(rng, self.test_entities), self._retriever()
        items = rng.sample(self.train.questions[: self.scale.questions_kept_out], min(self.scale.probes, self.scale.questions_kept_out))

        def asked(item: WorldQuestion, query: str) -> Probe:
            return Probe(item.question, query, tuple(retrieve(query, 5)))

        def last_hop(item: WorldQuestion) -> tuple[Probe, Probe]:
            hop = item.hops[-1]
            return asked(item, on_target_query(rng, hop)), asked(item, off_target_query(self.train, names, rng, hop)[1])

        right, off_target = zip(*map(last_hop, items), strict=True)
        return Probes(right, tuple(asked(item, on_target_query(rng, item.hops[0])) for item in items if len(item.hops) > 1), off_target)

    def recipe(self, engine: str, run: Path) -> Recipe:
        """The recipe of the RL phase, which any user could write."""
        world, scale = self.out / "world", self.scale
        simulated = {
            "kind": "simulated",
            "model": str(self.out / "simulator"),
            "template": "micro",
            "temperature": 0.7,
            "top_p": 1.0,
            "max_new_tokens": 200,
            "guard_redraws": 2,  # of noisy replies that hold the answer by chance (60 cities, 60 companies) or do not obey
            "guarded": "noisy",
        }
        real = {"kind": "bm25", "corpus": str(world / "train_corpus.jsonl")}
        return make_recipe(
            {
                "policy": {"model": str(self.out / "policy"), "device": "cpu"},
                "questions": {
                    "train": str(world / "train_questions.jsonl"),
                    "held_out": str(world / "test_questions.jsonl"),
                    "held_out_limit": 0,
                },
                "engine": simulated if engine == "simulated" else real,
                "evaluation_engine": {"kind": "bm25", "corpus": str(world / "test_corpus.jsonl")},
                "rollout": {"prompt": "micro", "max_turns": 4, "max_turn_tokens": 40, "max_observation_tokens": 150, "max_tokens": 560},
                "curriculum": {"start": 0.0, "end": 0.25},
                "rl": {
                    "steps": scale.rl_steps,
                    "questions_per_step": scale.questions_per_step,
                    "group_size": scale.group_size,
                    "minibatches": 2,
                    "learning_rate": 7e-4,
                    "microbatch_tokens": 8192,
                },
                "run": {"out": str(run), "seed": self.seed, "checkpoint_every": 1, "evaluate_every": 25, "save_trajectories_every": 5},
            }
        )

    def _retriever(self) -> Callable[[str, int], list[Document]]:
        """BM25 over the training world."""
        engine = BM25Engine(self.out / "world" / "train_corpus.jsonl")
        return lambda query, k: [document for document, _ in engine.retrieve(query, k)]

    def _fit(
        self,
        name: str,
        origin: str,
        batch_of: Callable[[int], list[Any]],
        rates: tuple[float, float],
        schedule: Schedule,
        on_step: OnStep,
        threads: int = 1,
        width: int = 128,
    ) -> None:
        """Train the model `name` from the model `origin` (none: from random weights) and put the finished model in its folder."""
        folder, state = self.out / name, self.out / f".{name}.state"
        if folder.exists():
            return
        torch.set_num_threads(threads)
        model = _load(self.out / origin) if origin else build_model(len(self.tokenizer), self.seed, width=width)
        fit(model, self.tokenizer, batch_of, micro_optimizers(model, *rates), schedule, state, on_step)
        with new_directory(folder) as partial:
            model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
        state.unlink(missing_ok=True)


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def _show(progress: Progress, total: int) -> OnStep:
    return lambda done, loss, hits: progress.step(done, total, {"loss": loss, "lookup": hits})


def _tune_simulator_in_child(out: Path, seed: int, scale: Scale, sender: Connection) -> None:
    end_with_parent()
    try:
        Lab(out, seed, scale).tune_simulator(lambda *said: sender.send(said))
    except ZeroSearchError as error:
        sender.send(error)


def example_question(out: Path) -> str:
    """A two-hop question of the test world, to try the trained policy on."""
    rows = (json.loads(line) for line in (out / "world" / "test_questions.jsonl").read_text().splitlines())
    return next(row["question"] for row in rows if row["hops"] == 2)
