"""`zerosearch evaluate` and `zerosearch ask`: a policy from anywhere, an engine from anywhere, the rollout all others use."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from zerosearch.assemble import Device, load_engine, load_policy, rollout_settings
from zerosearch.config import EngineConfig, PolicyConfig, Recipe, RolloutConfig, load_recipe
from zerosearch.errors import BadConfig, RunFailed
from zerosearch.evaluation.evaluate import evaluate
from zerosearch.evaluation.questions import load_questions
from zerosearch.models.local import LocalModel
from zerosearch.models.sampler import Arbiter
from zerosearch.ports import SearchEngine
from zerosearch.progress import Progress
from zerosearch.rl.checkpoint import finished_checkpoints
from zerosearch.rollout import RolloutSettings, rollout
from zerosearch.rundir import RunDirectory, trajectory_row
from zerosearch.search import close
from zerosearch.types import Author, Question, Trajectory


def resolve_policy(policy: str) -> tuple[str, Recipe | None]:
    """A run directory stands for its newest checkpoint, and brings its recipe along; anything else is what it is."""
    run = RunDirectory(Path(policy))
    if not run.config.exists():
        return policy, None
    recipe = load_recipe(run.config)
    checkpoints = finished_checkpoints(run)
    if not checkpoints:
        raise BadConfig(f"the run in '{policy}' has no checkpoint yet; let it finish a step: zerosearch train --resume {policy}")
    return str(checkpoints[-1]), recipe


def _load(
    policy: str, engine: Mapping[str, Any] | None, prompt: str, max_turns: int, temperature: float, seed: int
) -> tuple[LocalModel, SearchEngine, RolloutSettings]:
    model, recipe = resolve_policy(policy)
    if engine is None:
        if recipe is None:
            raise BadConfig("say what to search: --engine bm25 --corpus FILE, or --engine simulated --simulator MODEL.")
        config = recipe.evaluation_engine or recipe.engine
    else:
        config = EngineConfig.model_validate(engine)
    budgets = (recipe.rollout if recipe else RolloutConfig(max_turns=max_turns)).model_copy(update={"temperature": temperature})
    if prompt:
        budgets = budgets.model_copy(update={"prompt": prompt})
    arbiter = Arbiter()
    settings = rollout_settings(budgets, config.k, seed)
    return load_policy(PolicyConfig(model=model), arbiter), load_engine(config, seed, Device(arbiter=arbiter)), settings


def evaluate_file(
    benchmark: str,
    policy: str,
    engine: Mapping[str, Any],
    prompt: str,
    max_turns: int,
    limit: int,
    temperature: float,
    seed: int,
    out: Path | None,
    console: Console,
) -> dict[str, Any]:
    """Evaluate on a question file; `out` keeps the trajectories and the figures. RunFailed when no question could be scored."""
    questions = load_questions(benchmark, limit=limit or None, seed=seed)
    model, search, settings = _load(policy, engine, prompt, max_turns, temperature, seed)
    with Progress("evaluating", console) as progress:
        done = 0

        def count(_: object) -> None:
            nonlocal done
            done += 1
            progress.step(done, len(questions))

        evaluation = asyncio.run(evaluate(model, search, questions, settings, on_done=count))
    result = {
        "benchmark": benchmark,
        "policy": policy,
        "engine": dict(engine),
        "temperature": temperature,
        "seed": seed,
        **evaluation.as_dict(),
    }
    if out:
        out.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(trajectory_row(t, 0, "evaluate")) + "\n" for t in evaluation.trajectories)
        (out / "trajectories.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
        (out / "summary.json").write_text(json.dumps(result, indent=2) + "\n")
    if not result["n"]:
        first = evaluation.trajectories[0]
        raise RunFailed(f"none of {len(questions)} questions could be scored; the first failed with {first.stop_reason}: {first.cause}")
    return result


_COLOURS = {Author.PROMPT: "dim", Author.POLICY: "bright_cyan", Author.ENVIRONMENT: "yellow"}


def ask_one(question: str, policy: str, engine: Mapping[str, Any] | None, prompt: str, max_turns: int, console: Console) -> dict[str, Any]:
    """One greedy rollout, printed by author; RunFailed when the engine or the policy failed."""
    model, search, settings = _load(policy, engine, prompt, max_turns, temperature=0.0, seed=0)
    trajectory = asyncio.run(_ask(question, model, search, settings))
    for span in trajectory.spans:
        console.print(Text(span.text.strip(), style=_COLOURS[span.author]), soft_wrap=True)
    if trajectory.stop_reason.is_failure:
        raise RunFailed(f"{trajectory.stop_reason}: {trajectory.cause}")
    return {
        "question": question,
        "answer": trajectory.answer,
        "stop_reason": trajectory.stop_reason,
        "searches": [{"query": s.query, "documents": [asdict(d) for d in s.result.documents]} for s in trajectory.searches],
    }


async def _ask(question: str, model: LocalModel, search: SearchEngine, settings: RolloutSettings) -> Trajectory:
    try:
        return await rollout(Question("ask", question, ()), model, search, settings)
    finally:
        await close(search)
