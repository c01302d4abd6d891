"""A whole training run: load, evaluate, train, evaluate, report. What `zerosearch train` does, and the quickstart's last phase."""

from __future__ import annotations

import asyncio
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from zerosearch.config.build import Device, load_environment, load_training, rollout_settings
from zerosearch.config.recipe import Recipe, require_same, to_toml
from zerosearch.core.errors import BadInput, RunFailed, SearchFailed
from zerosearch.core.interfaces import Environment, close
from zerosearch.core.types import Episode
from zerosearch.core.version import __version__
from zerosearch.evaluation.evaluate import Evaluation, evaluate
from zerosearch.models.local import LocalModel
from zerosearch.models.sampler import Arbiter
from zerosearch.rl.learner import Learner, make_reference
from zerosearch.rl.train import TrainingContext, resume_from_checkpoint, train
from zerosearch.rl.workers import Worker, Workers, worker_count
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings, begin
from zerosearch.runs.cost import cost_of, load_prices, training_work
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.interrupts import StopRequest
from zerosearch.runs.progress import Progress
from zerosearch.runs.trackers import require_installed, tracked
from zerosearch.viewer.report import write_report


def run_training(
    recipe: Recipe,
    console: Console,
    resume: bool = False,
    earlier_phases: Mapping[str, float] | None = None,
    extra: Mapping[str, Any] | None = None,
    go_on: str = "",
) -> dict[str, Any]:
    """Train as the recipe says, or go on from the newest checkpoint in its run directory; returns the summary it also writes.

    Everything the recipe names is loaded, and an endpoint asked once, before anything is written. `earlier_phases` (seconds by name)
    and `extra` go into the summary; `go_on` is the command that resumes the run, by default `zerosearch train --resume`.
    Raises BadInput for what the user can mend, RunFailed when the run was stopped or could not be finished.
    """
    run = RunDirectory(Path(recipe.run.out), go_on)
    if resume:
        require_same(run, recipe)
    else:
        run.require_new()
    run.require_writable()
    require_installed(recipe.run.tracker_names)
    parts = load_training(recipe)
    if recipe.engine.url:
        asyncio.run(first_search(parts, recipe.engine.timeout_s))
    if not resume:
        run.create(to_toml(recipe))
    try:
        with tracked(run, recipe.run.tracker_names, recipe.model_dump(), console):
            return _trained(recipe, parts, run, console, dict(earlier_phases or {}), extra or {})
    except KeyboardInterrupt:
        raise RunFailed(f"stopped; finished steps are saved; go on with: {run.go_on}") from None


async def first_search(parts: TrainingContext, timeout_s: float) -> None:
    """Ask the engine once before anything is written: one that is down, hangs or writes rubbish is bad input, not a failed run."""
    question, environment = parts.questions[0], begin(parts.environment, Episode(parts.keep.seed))
    assert isinstance(environment, SearchEnvironment)
    environment.reset(question)
    try:
        async with asyncio.timeout(timeout_s):
            await environment.found(question.text)
    except TimeoutError:
        raise BadInput(f"the simulator did not answer a first search within engine.timeout_s = {timeout_s:g} s; look at its log.") from None
    except SearchFailed as error:
        raise BadInput(f"a first search failed: {error}") from error
    finally:
        await close(environment)


def _trained(
    recipe: Recipe, parts: TrainingContext, run: RunDirectory, console: Console, phases: dict[str, float], extra: Mapping[str, Any]
) -> dict[str, Any]:
    summary: dict[str, Any] = {"seed": recipe.run.seed}
    base: dict[str, Any] = {}
    if parts.evaluation_environment and parts.held_out:
        base = _evaluation_at(run, recipe, parts, "base", console)
        phases["base evaluation"] = base["wall_s"]
        summary["base"] = base["figures"]
    reference = make_reference(parts.policy.model, recipe.rl, lora=recipe.policy.lora_rank > 0)
    me = member(recipe, parts.policy, parts.environment, parts.settings, reference)
    size = worker_count(recipe.run.workers, parts.policy.model.device.type)
    start = resume_from_checkpoint(run, me.learner)
    if start == 0 and base:
        run.append_metrics({"kind": "evaluate", "step": 0, **base["greedy"]})
    if start < recipe.rl.steps:
        with (
            Workers(me, recipe, start_worker, size) as workers,
            StopRequest(console) as stop,
            Progress("reinforcement learning", console) as progress,
        ):
            stop.run(train(parts, workers, run, progress, stop, start))
    phases["reinforcement learning"] = round(sum(row["seconds"] for row in run.read_metrics() if row["kind"] == "train"), 1)
    if parts.evaluation_environment and parts.held_out:
        trained = _evaluation_at(run, recipe, parts, "trained", console)
        phases["trained evaluation"] = trained["wall_s"]
        summary["trained"] = trained["figures"]
    rollouts = recipe.rl.questions_per_step * recipe.rl.group_size
    work = training_work(run.read_metrics(), rollouts, recipe.engine.kind, parts.policy.model.device.type != "cpu", size)
    summary["cost"] = cost_of(work, load_prices())
    summary |= {"wall_s": round(sum(phases.values()), 1), "phases": phases, "versions": versions(), **extra}
    run.write_summary(summary)
    write_report(run.path, run.go_on)
    return summary


def member(
    recipe: Recipe, policy: LocalModel, environment: Environment, settings: RolloutSettings, reference: Any, critic: Any = None
) -> Worker:
    pad_id, budget = policy.tokenizer.pad_token_id or 0, min(settings.max_tokens, settings.max_turns * settings.max_turn_tokens)
    learner = Learner(policy.model, reference, recipe.rl, recipe.rollout.temperature, pad_id, critic, budget)
    policy.sampler.critic = learner.critic
    return Worker(policy, environment, settings, learner, recipe.rl.group_size, recipe.run.seed)


def start_worker(recipe: Recipe, model: Any, tokenizer: Any, reference: Any, critic: Any) -> Worker:
    """A member of the crew in a process of its own: the weights are shared, the engine is its own."""
    arbiter = Arbiter()
    policy = LocalModel(model, tokenizer, arbiter)
    environment = load_environment(recipe, recipe.engine, Device("cpu", recipe.policy.dtype, arbiter))
    return member(recipe, policy, environment, rollout_settings(recipe.rollout), reference, critic)


def _evaluation_at(run: RunDirectory, recipe: Recipe, parts: TrainingContext, when: str, console: Console) -> dict[str, Any]:
    """Evaluate greedily and at temperature 1, once: the figures are kept in the run and read again on a resume."""
    kept = run.path / f"evaluation-{when}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    started = time.perf_counter()
    greedy = evaluate_with_progress(parts, 0.0, f"evaluating the {when} policy", console)
    sampled = evaluate_with_progress(parts, 1.0, "the same, sampled at T = 1", console)
    figures = summary_figures(greedy, sampled)
    result = {"figures": figures, "greedy": greedy.as_dict(), "wall_s": round(time.perf_counter() - started, 1)}
    if when == "trained":
        run.append_metrics({"kind": "evaluate", "step": recipe.rl.steps, **greedy.as_dict()})
    run.write_evaluated(when, greedy.trajectories, recipe.rl.steps if when == "trained" else 0)
    run.write_json(kept, result)
    return result


def evaluate_with_progress(parts: TrainingContext, temperature: float, phase: str, console: Console) -> Evaluation:
    assert parts.evaluation_environment is not None
    settings = replace(parts.settings, temperature=temperature)
    with Progress(phase, console) as progress:
        done = 0

        def count(_: object) -> None:
            nonlocal done
            done += 1
            progress.step(done, len(parts.held_out))

        episode = Episode(parts.keep.seed)
        return asyncio.run(evaluate(parts.policy, parts.evaluation_environment, parts.held_out, settings, episode, on_done=count))


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
