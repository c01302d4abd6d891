"""What a step's rollouts are worth, and what they look like."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from inspect import iscoroutine
from statistics import fmean

from zerosearch.core.errors import BadConfig, RunFailed, called, one_line, quoted_name
from zerosearch.core.scoring import documents_hold_answer, is_yes_no, score
from zerosearch.core.types import Group, Quality, StopReason, Trajectory
from zerosearch.runs.directory import RunDirectory

Reward = Callable[[Trajectory], float]


def with_rewards(group: Group, reward: Reward, step: int = 0) -> Group:
    """The group with the scores and the reward of each rollout. Failures stay unscored: they are not evidence about the policy.

    Raises BadConfig, with the rollout named, when the reward function raises or returns something else than a finite number.
    """

    def scored(t: Trajectory) -> Trajectory:
        if t.stop_reason.is_failure:
            return t
        golds = t.question.golden_answers
        t = replace(t, scores=score(t.answer, golds)) if golds else t
        return replace(t, reward=_reward_of(t, reward, step))

    return replace(group, trajectories=tuple(scored(t) for t in group.trajectories))


def _reward_of(t: Trajectory, reward: Reward, step: int) -> float:
    where = f" (question '{t.question.id}', sample {t.sample}, step {step + 1})"
    what = f"reward function {quoted_name(reward)}"
    value = called(what, reward, t, where=where)
    number = value
    with suppress(AttributeError, TypeError, ValueError, RuntimeError):
        number = value.item()  # a number of numpy's or torch's
    if isinstance(number, int | float) and math.isfinite(number):
        return float(number)
    if iscoroutine(value):
        value.close()  # else Python warns, later and elsewhere, that nobody awaited it
        raise BadConfig(f"the {what} is async; give a plain function.")
    source = "environment's Step.reward was" if t.reward is not None and value is t.reward else f"{what} returned"
    raise BadConfig(f"the {source} {one_line(repr(value), 80)}{where}; it must be a finite number.")


def stop_if_too_many_failed(groups: Sequence[Group], max_share: float, run: RunDirectory) -> None:
    trajectories = [t for g in groups for t in g.trajectories]
    failed = [t for t in trajectories if t.stop_reason.is_failure]
    if failed and (len(failed) > max_share * len(trajectories) or len(failed) == len(trajectories)):
        raise RunFailed(
            f"{len(failed)} of {len(trajectories)} rollouts of a step failed, the first with {failed[0].stop_reason}: {failed[0].cause}; "
            f"mend that, then resume with: {run.resume_command}"
        )


def rollout_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What one step's rollouts look like, over those that did not fail; failures are counted beside them.

    Scores are means over the questions that have golden answers.
    """
    sound = [t for t in trajectories if t.reward is not None]
    scores = [t.scores for t in sound if t.scores is not None]
    drawn = [s.result.quality for t in sound for s in t.searches if s.result.quality is not None]

    def mean(value: Callable[[Trajectory], float]) -> float:
        return fmean(map(value, sound))

    return {
        "reward": mean(lambda t: t.reward or 0.0),
        **({"em": fmean(s.em for s in scores), "f1": fmean(s.f1 for s in scores)} if scores else {}),
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
