"""What an evaluation needs, loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from zerosearch.core.interfaces import Environment, Policy, Renderer, SearchEngine, close
from zerosearch.core.types import Episode, Question
from zerosearch.evaluation.evaluate import Answered, Evaluation, evaluate
from zerosearch.rollout.loop import RolloutSettings


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """`config` holds everything that decides the answers, as JSON. `engine` is the environment's; None: it never searches."""

    environment: Environment
    policy: Policy
    settings: RolloutSettings
    engine: SearchEngine | None = None
    episode: Episode = Episode()
    renderer: Renderer | None = None
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    uses_gpu: bool = False


async def evaluate_in(
    context: EvaluationContext, questions: Sequence[Question], concurrency: int, on_done: Callable[[Answered], None]
) -> Evaluation:
    """`evaluate` with all that the context has; closes its connections."""
    try:
        c = context
        return await evaluate(c.policy, c.environment, questions, c.settings, c.episode, c.renderer, concurrency, on_done)
    finally:
        await close(context.policy)
