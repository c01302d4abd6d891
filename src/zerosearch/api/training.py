"""`zerosearch.train`: a whole training run: load, evaluate, train, evaluate, report. The command line and the quickstart call it, too."""

import asyncio
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from zerosearch.api.settings import recipe_of
from zerosearch.config.build import NOTHING, Device, Given, load_environment, load_training, resolved, rollout_settings
from zerosearch.config.evaluation import recipe_of_policy
from zerosearch.config.recipe import Recipe, require_same, to_toml
from zerosearch.core.errors import BadFile, BadInput, RunFailed, SearchFailed
from zerosearch.core.interfaces import Environment, Policy, Renderer, close
from zerosearch.core.sync import outside_loop
from zerosearch.core.types import Episode, Question
from zerosearch.core.version import __version__
from zerosearch.data.questions import write_questions
from zerosearch.evaluation.evaluate import Evaluation, evaluate
from zerosearch.models.local import LocalModel
from zerosearch.models.sampler import Arbiter
from zerosearch.rl.algorithms import Algorithm
from zerosearch.rl.checkpoint import resume_from_checkpoint
from zerosearch.rl.learner import Learner, make_reference
from zerosearch.rl.train import TrainingContext
from zerosearch.rl.train import train as training_loop
from zerosearch.rl.workers import Worker, Workers, pickled, worker_count
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.runs.cost import cost_of, load_prices, training_work
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.interrupts import StopRequest
from zerosearch.runs.progress import Progress
from zerosearch.runs.trackers import require_there, tracked
from zerosearch.viewer.report import write_report


class Run:
    """A training run, finished or opened by its directory: `path`, `metrics`, `summary`, and the `policy` that was trained."""

    def __init__(self, path: str | Path, summary: dict[str, Any] | None = None, policy: Policy | None = None) -> None:
        self.path = Path(path)
        self._summary, self._policy = summary, policy

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, one per step and one per evaluation: `{"kind": "train", "step": 1, "reward": …}`."""
        return list(RunDirectory(self.path).read_metrics())

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json: held-out scores before and after, seconds by phase, cost, versions. Raises BadFile where a run has not finished."""
        if self._summary is None:
            try:
                self._summary = json.loads(RunDirectory(self.path).summary.read_text())
            except (OSError, ValueError) as error:
                raise BadFile(f"'{self.path}' has no summary.json that can be read ({error}); a run writes it when it is done.") from error
        return self._summary

    @cached_property
    def policy(self) -> Policy:
        """The trained policy, ready to be asked; of a run that was opened, its newest checkpoint. Raises BadInput where there is none."""
        if self._policy is None:
            name, recipe = recipe_of_policy(str(self.path)) or (str(self.path), None)
            self._policy = policy = LocalModel.load(name)
            policy.recipe = recipe
        return self._policy

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def train(
    policy: Any = None,
    questions: Any = None,
    *,
    engine: Any = None,
    reward: Any = None,
    algorithm: Any = None,
    curriculum: Any = None,
    environment: Any = None,
    renderer: Any = None,
    trackers: Any = None,
    held_out: Any = None,
    evaluation_engine: Any = None,
    rl: Mapping[str, Any] | None = None,
    rollout: Mapping[str, Any] | None = None,
    guards: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    recipe: str | Path | Mapping[str, Any] | None = None,
    resume: bool = False,
    console: Console | None = None,
    **unknown: Any,
) -> Run:
    """Train a policy by RL to search with `engine`; returns when the run is done.

    `policy` is a checkpoint's folder, a hub id, a GGUF file, or a run (its newest checkpoint, and its rollout settings). `questions` and
    `held_out` are a file or a list: of `Question`, or of dicts with `question` and `golden_answers`. `engine` and `evaluation_engine` are a
    function `(query, k) -> documents`, an engine, or a recipe's [engine] section as a dict; held-out questions are asked with the second,
    by default the first.

    `reward` is a function `Trajectory -> float`, or terms with weights; `algorithm` a name, an `Algorithm`, or a function from a step's
    rewards to advantages; `curriculum` a function of the step (and the mean rewards so far) that gives the noise rate; `environment` an
    object with `reset` and `step`, or what makes one; `renderer` one with `prompt`, `observation` and `decode`, or what makes one of a
    tokenizer; `trackers` functions `(figures, step)`, objects with `log` and `close`, or names; figures are `train/reward`,
    `evaluate/em`, …. Each may be "module:name".

    `rl`, `rollout`, `guards` and `run` are the sections of a recipe, with the same keys; `recipe` is a file (or its content as a dict) that
    all of these are put on top of. A run that was stopped resumes with the same arguments and `resume=True`.

    Raises BadInput, before anything is written, for whatever the caller can mend, and RunFailed when the run could not be finished.
    """
    given, settings = recipe_of(locals(), unknown)
    return outside_loop(lambda: run_training(settings, console or Console(stderr=True), resume=resume, given=given))


def run_training(
    recipe: Recipe,
    console: Console,
    resume: bool = False,
    earlier_phases: Mapping[str, float] | None = None,
    extra: Mapping[str, Any] | None = None,
    resume_command: str = "",
    given: Given = NOTHING,
) -> Run:
    """Train as the recipe says, with what was given instead, or resume from the newest checkpoint in the run directory.

    Everything is loaded, and an endpoint asked once, before anything is written. `earlier_phases` (seconds by name) and `extra` go into the
    summary; `resume_command` is the command that resumes the run, by default `zerosearch train --resume`.
    Raises BadInput for what the user can mend, RunFailed when the run was stopped or could not be finished.
    """
    run = RunDirectory(Path(recipe.run.out), resume_command)
    if resume:
        require_same(run, recipe)
    else:
        run.require_new()
    run.require_writable()
    trackers = [given.trackers.get(name, name) for name in recipe.run.tracker_names]
    require_there(trackers)
    given = resolved(recipe, given)
    context = load_training(recipe, given)
    size = worker_count(recipe.run.workers, context.policy.model.device.type)
    parts = {"engine": given.engine, "environment": given.environment, "algorithm": context.algorithm, "renderer": context.renderer}
    start_worker = pickled(worker_elsewhere, recipe=recipe, **parts) if size > 1 else b""
    if (recipe.engine.url or given.engine is not None) and isinstance(context.environment, SearchEnvironment):
        asyncio.run(first_search(context.environment, context.questions[0], recipe))
    if not resume:
        run.create(to_toml(recipe))
        for name, asked in (("questions", given.questions), ("held_out", given.held_out)):
            if asked is not None:
                write_questions(run.path / f"{name}.jsonl", asked)
    try:
        with tracked(run, trackers, recipe.model_dump(), console):
            return _trained(recipe, context, (start_worker, size), run, console, dict(earlier_phases or {}), extra or {})
    except KeyboardInterrupt:
        raise RunFailed(f"stopped; finished steps are saved; resume with: {run.resume_command}") from None


async def first_search(environment: SearchEnvironment, question: Question, recipe: Recipe) -> None:
    """Ask the engine once before anything is written: one that is down, hangs or writes rubbish is bad input, not a failed run."""
    environment, timeout_s = environment.begin(Episode(recipe.run.seed)), recipe.engine.timeout_s
    environment.reset(question)
    try:
        async with asyncio.timeout(timeout_s):
            await environment.found(question.text)
    except TimeoutError:
        raise BadInput(f"a first search took longer than engine.timeout_s = {timeout_s:g} s; see its log.") from None
    except SearchFailed as error:
        raise BadInput(f"a first search failed: {error}") from error
    finally:
        await close(environment)


def _trained(
    recipe: Recipe,
    context: TrainingContext,
    processes: tuple[bytes, int],
    run: RunDirectory,
    console: Console,
    phases: dict[str, float],
    extra: Mapping[str, Any],
) -> Run:
    summary: dict[str, Any] = {"seed": recipe.run.seed}
    policy, evaluates = context.policy, context.evaluation_environment is not None and bool(context.held_out)
    base: dict[str, Any] = {}
    if evaluates:
        base = _evaluation_at(run, context, "base", console)
        phases["base evaluation"] = base["wall_s"]
        summary["base"] = base["figures"]
    reference = make_reference(policy.model, recipe.rl, lora=recipe.policy.lora_rank > 0)
    me = make_worker(recipe, policy, context.environment, context.algorithm, context.renderer, reference)
    start = resume_from_checkpoint(run, me.learner)
    if start == 0 and base:
        run.append_metrics({"kind": "evaluate", "step": 0, **base["greedy"]})
    if start < recipe.rl.steps:
        with Workers(me, *processes) as workers, StopRequest(console) as stop, Progress("reinforcement learning", console) as progress:
            stop.run(training_loop(context, workers, run, progress, stop, start))
    phases["reinforcement learning"] = round(sum(row["seconds"] for row in run.read_metrics() if row["kind"] == "train"), 1)
    if evaluates:
        trained = _evaluation_at(run, context, "trained", console)
        phases["trained evaluation"] = trained["wall_s"]
        summary["trained"] = trained["figures"]
    rollouts = recipe.rl.questions_per_step * recipe.rl.group_size
    work = training_work(run.read_metrics(), rollouts, recipe.engine.kind, policy.model.device.type != "cpu", processes[1])
    summary["cost"] = cost_of(work, load_prices())
    summary |= {"wall_s": round(sum(phases.values()), 1), "phases": phases, "versions": versions(), **extra}
    run.write_summary(summary)
    write_report(run.path, run.resume_command)
    policy.recipe = recipe  # whoever asks it later asks it as it was trained
    return Run(run.path, summary, policy)


def make_worker(
    recipe: Recipe,
    policy: LocalModel,
    environment: Environment,
    algorithm: Algorithm,
    renderer: Renderer | None,
    reference: Any,
    critic: Any = None,
) -> Worker:
    settings = rollout_settings(recipe.rollout)
    pad_id, budget = policy.tokenizer.pad_token_id or 0, min(settings.max_tokens, settings.max_turns * settings.max_turn_tokens)
    learner = Learner(policy.model, reference, recipe.rl, settings.temperature, pad_id, critic, budget, algorithm)
    policy.sampler.critic = learner.critic
    return Worker(policy, environment, settings, learner, recipe.rl.group_size, recipe.run.seed, renderer)


def worker_elsewhere(
    model: Any,
    tokenizer: Any,
    reference: Any,
    critic: Any,
    *,
    recipe: Recipe,
    engine: Any,
    environment: Any,
    algorithm: Algorithm,
    renderer: Renderer | None,
) -> Worker:
    """A worker in a process of its own: the weights are shared, an engine of the recipe's is its own."""
    arbiter = Arbiter()
    device = Device("cpu", recipe.policy.dtype, arbiter)
    environment = load_environment(recipe, recipe.engine, device, engine, environment)
    return make_worker(recipe, LocalModel(model, tokenizer, arbiter), environment, algorithm, renderer, reference, critic)


def _evaluation_at(run: RunDirectory, context: TrainingContext, when: str, console: Console) -> dict[str, Any]:
    """Evaluate greedily and at temperature 1, once: the figures are kept in the run and read again on a resume."""
    kept = run.path / f"evaluation-{when}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    started = time.perf_counter()
    greedy = evaluate_with_progress(context, 0.0, f"evaluating the {when} policy", console)
    sampled = evaluate_with_progress(context, 1.0, "the same, sampled at T = 1", console)
    figures = summary_figures(greedy, sampled)
    result = {"figures": figures, "greedy": greedy.as_dict(), "wall_s": round(time.perf_counter() - started, 1)}
    if when == "trained":
        run.append_metrics({"kind": "evaluate", "step": context.rl.steps, **greedy.as_dict()})
    run.write_evaluated(when, greedy.trajectories, context.rl.steps if when == "trained" else 0)
    run.write_json(kept, result)
    return result


def evaluate_with_progress(context: TrainingContext, temperature: float, phase: str, console: Console) -> Evaluation:
    assert context.evaluation_environment is not None
    settings = replace(context.settings, temperature=temperature)
    with Progress(phase, console) as progress:
        done = 0

        def count(_: object) -> None:
            nonlocal done
            done += 1
            progress.step(done, len(context.held_out))

        episode = Episode(context.keep.seed)
        return asyncio.run(
            evaluate(context.policy, context.evaluation_environment, context.held_out, settings, episode, context.renderer, on_done=count)
        )


def summary_figures(greedy: Evaluation, sampled: Evaluation) -> dict[str, Any]:
    """The figures of one policy: exact match greedy, by hops, sampled, with 95% intervals and by type beside them."""
    hops = {str(t.question.metadata.get("hops")) for t in greedy.trajectories}
    figures = {"em": greedy.estimate(lambda s: s.em)}
    if "1" in hops:
        figures["em_one_hop"] = greedy.estimate(lambda s: s.em, lambda q: q.metadata.get("hops") == 1)
    if "2" in hops:
        figures["em_two_hop"] = greedy.estimate(lambda s: s.em, lambda q: q.metadata.get("hops") == 2)
    figures["em_sampled"] = sampled.estimate(lambda s: s.em)
    figures["f1"] = greedy.estimate(lambda s: s.f1)
    details = greedy.as_dict()
    return {
        **{name: estimate.mean for name, estimate in figures.items()},
        "n": figures["em"].n,
        "failed": details["failed"],
        "searches": details.get("searches", 0.0),
        "intervals": {name: [estimate.low, estimate.high] for name, estimate in figures.items()},
        "by_type": {name: row["em"] for name, row in details.get("by_type", {}).items()},
    }


def versions() -> dict[str, str]:
    import torch
    import transformers

    return {
        "zerosearch": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
