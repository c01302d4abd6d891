"""The training loop: roll out against the engine, score, compare, learn; noise rises along the curriculum."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from zerosearch.core.errors import RunFailed
from zerosearch.core.interfaces import Environment, Renderer
from zerosearch.core.types import Episode, Group, Question, Trajectory
from zerosearch.evaluation.evaluate import evaluate
from zerosearch.models.local import LocalModel
from zerosearch.rl.algorithms import Algorithm
from zerosearch.rl.batch import TrainingExample
from zerosearch.rl.checkpoint import roll_back, save_checkpoint
from zerosearch.rl.guards import Guards
from zerosearch.rl.learner import Learner
from zerosearch.rl.rollouts import Reward, rollout_metrics, stop_if_too_many_failed, with_rewards
from zerosearch.rl.settings import GuardsConfig, RLConfig
from zerosearch.rl.training_examples import TokenEstimates, can_be_estimated, make_examples, sampled_values
from zerosearch.rl.workers import Workers
from zerosearch.rollout.loop import RolloutSettings
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.interrupts import StopRequest
from zerosearch.runs.progress import Progress
from zerosearch.runs.settings import RunConfig

Curriculum = Callable[[int, Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """What a run works with, loaded. `evaluation_environment` None: nothing is evaluated while training.

    `curriculum(step, rewards)` gives the noise rate of a step, counted from 0, after steps with these mean rewards.
    """

    policy: LocalModel
    environment: Environment
    questions: Sequence[Question]
    settings: RolloutSettings
    rl: RLConfig
    keep: RunConfig
    guards: GuardsConfig
    curriculum: Curriculum
    reward: Reward
    algorithm: Algorithm
    renderer: Renderer | None = None
    held_out: Sequence[Question] = ()
    evaluation_environment: Environment | None = None


async def train(
    context: TrainingContext, workers: Workers, run: RunDirectory, progress: Progress, stop: StopRequest, start: int = 0
) -> None:
    """Train `context.policy` in place from step `start` on; the run directory has all of it after each step, the model after a checkpoint.

    Raises RunFailed when `stop` was requested (the finished step is saved first), or when too many rollouts of a step failed.
    """
    rl, keep, learner = context.rl, context.keep, workers.me.learner
    before = [row for row in run.read_metrics() if row["kind"] == "train"]
    guards, rewards = Guards(context.guards, before), [row["reward"] for row in before]
    order, done = QuestionOrder(context.questions, keep.seed), start
    for step in range(start, rl.steps):
        started = time.perf_counter()
        noise_rate = context.curriculum(step, rewards)
        groups = await workers.rollout(order.of_step(step, rl.questions_per_step), step, noise_rate)
        groups = [with_rewards(group, context.reward, step) for group in groups]
        stop_if_too_many_failed(groups, rl.max_failed_share, run)
        seen = rollout_metrics([t for g in groups for t in g.trajectories])
        guards.allows(seen)
        rolled_out = time.perf_counter()

        groups, learned = learn(groups, step, keep.seed, learner, workers, guards.allows)

        done, last = step + 1, step + 1 == rl.steps
        metrics = {"kind": "train", "step": done, "noise_rate": noise_rate, **seen, **learned, **guards.verdict()}
        metrics |= times(groups, started, rolled_out)
        run.append_metrics(metrics)
        rewards.append(seen["reward"])
        if guards.end_step(metrics) == "rollback":
            roll_back(run, learner)
        if last or done % keep.save_trajectories_every == 0:
            run.append_trajectories(groups, done, "train")
        if not last and keep.evaluate_every and done % keep.evaluate_every == 0:
            await evaluate_now(context, run, done)
        stopping = stop.requested  # read once: it may change at any moment
        if last or stopping or done % keep.checkpoint_every == 0:
            save_checkpoint(run, done, context.policy.model, context.policy.tokenizer, learner.state(), keep.keep_checkpoints)
        progress.step(done, rl.steps, metrics)
        if stopping:
            break
    if stop.requested:
        raise RunFailed(f"stopped after step {done} of {rl.steps}, which is saved; resume with: {run.resume_command}")


def learn(
    groups: Sequence[Group],
    step: int,
    seed: int,
    learner: Learner,
    workers: Workers | None = None,
    allows: Callable[[Mapping[str, float]], bool] = lambda figures: True,
) -> tuple[list[Group], dict[str, float]]:
    """Learn from one step's groups, which have rewards; returns them with advantages, and figures.

    `allows` sees the figures of each minibatch before the optimiser takes its step; False leaves that step out.
    """
    rollouts = [t for g in groups for t in g.trajectories]
    estimated = iter(estimate([t for t in rollouts if can_be_estimated(t)], learner, workers or learner))
    pairs = [[(t, next(estimated) if can_be_estimated(t) else TokenEstimates()) for t in g.trajectories] for g in groups]
    groups, examples, figures = make_examples(pairs, learner.config, learner.algorithm)
    figures["used"] = len(examples) / max(len(rollouts), 1)
    return groups, {**update(examples, step, seed, learner, workers, lambda seen: allows({**seen, **figures})), **figures}


def update(
    examples: Sequence[TrainingExample],
    step: int,
    seed: int,
    learner: Learner,
    workers: Workers | None = None,
    allows: Callable[[Mapping[str, float]], bool] = lambda figures: True,
) -> dict[str, float]:
    """One optimiser step for each minibatch of each epoch. The loss is the same however a minibatch is cut into parts, or among workers.

    What `allows` leaves out is not in the figures; `skipped_updates` counts it, together with a batch without a trainable token.
    """
    learner.begin_step(step, len(examples))
    for minibatch in learner.minibatches(examples, step, seed):
        totals = (workers or learner).gradients(minibatch)
        learner.optimizer_step(minibatch, totals, allows)
    return learner.figures()


def estimate(trajectories: Sequence[Trajectory], learner: Learner, workers: Learner | Workers) -> list[TokenEstimates]:
    """What the algorithm asks for: nothing, the sampler's values where they are all of it, or what takes a pass of its own."""
    if learner.needs_logprobs:
        return workers.estimates(trajectories)
    if learner.critic is None:
        return [TokenEstimates()] * len(trajectories)
    values = [sampled_values(t) for t in trajectories]
    told = learner.config.mask_observations and all(values)  # a document's tokens were sampled by nobody
    return [TokenEstimates(values=v) for v in values] if told else workers.estimates(trajectories)


class QuestionOrder:
    """The questions of each step: epoch after epoch, each in an order of its own. A pure function of the seed: a resume needs no cursor."""

    def __init__(self, questions: Sequence[Question], seed: int) -> None:
        self._questions, self._seed = questions, seed
        self._orders: dict[int, list[int]] = {}  # of the epochs that the last step touched

    def of_step(self, step: int, count: int) -> list[Question]:
        places = [divmod(position, len(self._questions)) for position in range(step * count, (step + 1) * count)]
        self._orders = {epoch: self._orders.get(epoch) or self._order(epoch) for epoch in {epoch for epoch, _ in places}}
        return [self._questions[self._orders[epoch][index]] for epoch, index in places]

    def _order(self, epoch: int) -> list[int]:
        order = list(range(len(self._questions)))
        random.Random(f"{self._seed}/{epoch}").shuffle(order)
        return order


def times(groups: Sequence[Group], started: float, rolled_out: float) -> dict[str, float]:
    seconds = time.perf_counter() - started
    tokens = sum(len(t.token_ids) for g in groups for t in g.trajectories)
    return {"tokens_per_s": tokens / seconds, "rollout_s": rolled_out - started, "seconds": seconds}


async def evaluate_now(context: TrainingContext, run: RunDirectory, step: int) -> None:
    """Held-out questions, greedily, in the midst of training; nothing where the run has none."""
    if context.evaluation_environment is None or not context.held_out:
        return
    settings, questions = replace(context.settings, temperature=0.0), context.held_out[: context.keep.evaluate_questions]
    episode = Episode(context.keep.seed)
    evaluation = await evaluate(context.policy, context.evaluation_environment, questions, settings, episode, context.renderer)
    context.policy.sampler.forget()  # a run resumed here begins with nothing cached: so does this one
    run.append_metrics({"kind": "evaluate", "step": step, **evaluation.as_dict()})
    run.append_trajectories([Group(t.question, (t,)) for t in evaluation.trajectories[:50]], step, "evaluate")
