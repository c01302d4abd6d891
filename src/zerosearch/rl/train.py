"""The training loop: roll out against the engine, score, compare, learn; noise rises along the curriculum."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from zerosearch.core.curriculum import NoiseCurriculum
from zerosearch.core.errors import RunFailed
from zerosearch.core.interfaces import Environment
from zerosearch.core.rewards import reward_of
from zerosearch.core.scoring import documents_hold_answer, is_yes_no, score
from zerosearch.core.types import Episode, Group, Quality, Question, StopReason, Trajectory
from zerosearch.evaluation.evaluate import evaluate
from zerosearch.models.local import LocalModel
from zerosearch.rl.checkpoint import finished_checkpoints, restore, save_checkpoint
from zerosearch.rl.guards import Guards
from zerosearch.rl.learner import Learner
from zerosearch.rl.settings import GuardsConfig, RLConfig
from zerosearch.rl.workers import Workers
from zerosearch.rollout.loop import RolloutSettings
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.interrupts import StopRequest
from zerosearch.runs.progress import Progress
from zerosearch.runs.settings import RunConfig


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """What a run works with, loaded. `evaluation_environment` None: nothing is evaluated while training."""

    policy: LocalModel
    environment: Environment
    questions: Sequence[Question]
    settings: RolloutSettings
    rl: RLConfig
    keep: RunConfig
    guards: GuardsConfig
    curriculum: NoiseCurriculum
    held_out: Sequence[Question] = ()
    evaluation_environment: Environment | None = None


async def train(
    context: TrainingContext, workers: Workers, run: RunDirectory, progress: Progress, stop: StopRequest, start: int = 0
) -> None:
    """Train `context.policy` in place from step `start` on; the run directory has all of it after each step, the model after a checkpoint.

    Raises RunFailed when `stop` was requested (the finished step is saved first), or when too many rollouts of a step failed.
    """
    rl, keep, curriculum = context.rl, context.keep, context.curriculum
    learner, done = workers.me.learner, start
    guards, rewards = Guards(context.guards, run.read_metrics()), [row["reward"] for row in run.read_metrics() if row["kind"] == "train"]
    for step in range(start, rl.steps):
        started, noise_rate = time.perf_counter(), curriculum.noise_rate(step, rewards)
        questions = questions_of_step(context.questions, step, rl.questions_per_step, keep.seed)
        groups = await workers.roll_out(questions, step, noise_rate)
        groups = [with_rewards(group, rl.reward_weights) for group in groups]
        stop_if_too_many_failed(groups, rl.max_failed_share, run)
        seen = rollout_metrics([t for g in groups for t in g.trajectories])
        guards.allows(seen)
        rolled_out = time.perf_counter()

        groups, learned = learner.learn(groups, step, keep.seed, workers, guards.allows)

        done, last = step + 1, step + 1 == rl.steps
        metrics = {"kind": "train", "step": done, "noise_rate": noise_rate, **seen, **learned, **guards.verdict()}
        metrics |= times(groups, started, rolled_out)
        run.append_metrics(metrics)
        rewards.append(seen["reward"])
        if guards.end_step(metrics) == "rollback":
            roll_back(run, learner)
        if last or done % keep.save_trajectories_every == 0:
            run.append_trajectories(groups, done, "train")
        if not last and keep.evaluate_every and done % keep.evaluate_every == 0 and context.evaluation_environment and context.held_out:
            await evaluate_now(context, run, done)
        stopping = stop.requested  # read once: it may change at any moment
        if last or stopping or done % keep.checkpoint_every == 0:
            save_checkpoint(run, done, context.policy.model, context.policy.tokenizer, learner.state(), keep.keep_checkpoints)
        progress.step(done, rl.steps, metrics)
        if stopping:
            break
    if stop.requested:
        raise RunFailed(f"stopped after step {done} of {rl.steps}, which is saved; go on with: {run.go_on}")


def times(groups: Sequence[Group], started: float, rolled_out: float) -> dict[str, float]:
    seconds = time.perf_counter() - started
    tokens = sum(len(t.token_ids) for g in groups for t in g.trajectories)
    return {"tokens_per_s": tokens / seconds, "rollout_s": rolled_out - started, "seconds": seconds}


def resume_from_checkpoint(run: RunDirectory, learner: Learner) -> int:
    """Go back to the newest checkpoint, if there is one; returns how many steps are done."""
    if not (checkpoints := finished_checkpoints(run)):
        run.cut_back({name: 0 for name in run.lengths()})
        return 0
    state = restore(checkpoints[-1], learner)
    run.cut_back(state["lengths"])
    return int(state["step"])


def roll_back(run: RunDirectory, learner: Learner) -> None:
    """Weights and optimiser as the newest checkpoint has them; the steps go on. Without a checkpoint yet nothing is lost by staying."""
    if checkpoints := finished_checkpoints(run):
        restore(checkpoints[-1], learner)


def questions_of_step(questions: Sequence[Question], step: int, count: int, seed: int) -> list[Question]:
    """The questions of a step: epoch after epoch, each in an order of its own; a pure function, so a resume needs no cursor."""
    chosen: list[Question] = []
    for position in range(step * count, (step + 1) * count):
        epoch, index = divmod(position, len(questions))
        order = list(range(len(questions)))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        chosen.append(questions[order[index]])
    return chosen


def with_rewards(group: Group, weights: Mapping[str, float]) -> Group:
    """Score what the policy answered. Failures stay unscored: they are no evidence about the policy."""

    def scored(t: Trajectory) -> Trajectory:
        if t.stop_reason.is_failure:
            return t
        t = replace(t, scores=score(t.answer, t.question.golden_answers))
        return replace(t, reward=reward_of(t, weights))

    return replace(group, trajectories=tuple(scored(t) for t in group.trajectories))


def stop_if_too_many_failed(groups: Sequence[Group], max_share: float, run: RunDirectory) -> None:
    trajectories = [t for g in groups for t in g.trajectories]
    failed = [t for t in trajectories if t.stop_reason.is_failure]
    if failed and (len(failed) > max_share * len(trajectories) or len(failed) == len(trajectories)):
        raise RunFailed(
            f"{len(failed)} of {len(trajectories)} rollouts of a step failed, the first with {failed[0].stop_reason}: {failed[0].cause}; "
            f"mend that, then go on with: {run.go_on}"
        )


def rollout_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What one step's rollouts look like, over those that did not fail; failures are counted beside them."""
    sound = [t for t in trajectories if t.scores is not None]
    drawn = [s.result.quality for t in sound for s in t.searches if s.result.quality is not None]

    def mean(value: Callable[[Trajectory], float]) -> float:
        return fmean(map(value, sound))

    return {
        "reward": mean(lambda t: t.reward or 0.0),
        "em": mean(lambda t: t.scores.em if t.scores else 0.0),
        "f1": mean(lambda t: t.scores.f1 if t.scores else 0.0),
        "searches": mean(lambda t: len(t.searches)),
        "answered": mean(lambda t: t.answer is not None),
        "malformed_share": mean(lambda t: t.malformed_turns > 0),
        "policy_tokens": mean(lambda t: t.policy_token_count),
        "tokens": mean(lambda t: len(t.token_ids)),
        "failed": len(trajectories) - len(sound),
        "failed_searches": sum(t.stop_reason is StopReason.SEARCH_FAILED for t in trajectories),
        **({"noise_drawn": fmean(q is Quality.NOISY for q in drawn)} if drawn else {}),
        **answers_in_documents(sound),
    }


def answers_in_documents(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """How often a reply held a golden answer: `answer_leak` when noisy was drawn, `answer_given` when useful was. Not for yes and no."""
    figures: dict[str, float] = {}
    for name, quality in (("answer_leak", Quality.NOISY), ("answer_given", Quality.USEFUL)):
        held = [
            documents_hold_answer(s.result.documents, t.question.golden_answers)
            for t in trajectories
            if not is_yes_no(t.question.golden_answers)
            for s in t.searches
            if s.result.quality is quality
        ]
        figures |= {name: fmean(held)} if held else {}
    return figures


async def evaluate_now(context: TrainingContext, run: RunDirectory, step: int) -> None:
    assert context.evaluation_environment is not None
    settings, questions = replace(context.settings, temperature=0.0), context.held_out[: context.keep.evaluate_questions]
    episode = Episode(context.keep.seed)
    evaluation = await evaluate(context.policy, context.evaluation_environment, questions, settings, episode)
    context.policy.sampler.forget()  # a run resumed here begins with nothing cached: so does this one
    run.append_metrics({"kind": "evaluate", "step": step, **evaluation.as_dict()})
    run.append_trajectories([Group(t.question, (t,)) for t in evaluation.trajectories[:50]], step, "evaluate")
