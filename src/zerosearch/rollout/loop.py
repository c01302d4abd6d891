"""One question in, one trajectory out. The environment speaks text, the policy token ids; the two meet here and nowhere else.

The same function serves training, evaluation, `ask` and the cluster; nothing in it knows which policy, environment or engine it drives.
"""

import asyncio
from copy import copy
from dataclasses import dataclass, replace
from hashlib import blake2b
from inspect import isawaitable
from itertools import count
from typing import Any

from zerosearch.core.errors import BadConfig, BadInput, GenerationFailed, SearchFailed
from zerosearch.core.interfaces import Environment, Policy, Renderer
from zerosearch.core.types import Author, Episode, Group, Question, Sampling, Span, Step, StopReason, Trajectory

_CALLS = count()


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """Budgets in the policy's tokens, and how it samples.

    `max_turns` counts turns of the policy, including the one that answers (an environment may have a limit of its own). A turn gets at most
    `max_turn_tokens`, an observation at most `max_observation_tokens`, and everything together at most `max_tokens`.
    """

    max_turns: int = 4
    max_turn_tokens: int = 500
    max_observation_tokens: int = 1000
    max_tokens: int = 4096
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        for name in ("max_turns", "max_turn_tokens", "max_observation_tokens", "max_tokens"):
            if getattr(self, name) < 1:
                raise BadConfig(f"rollout.{name} = {getattr(self, name)} must be at least 1.")


async def rollout_group(
    question: Question,
    group_size: int,
    policy: Policy,
    environment: Environment,
    settings: RolloutSettings,
    episode: Episode = Episode(),
    renderer: Renderer | None = None,
) -> Group:
    """`group_size` rollouts of one question, at once."""
    episodes = (replace(episode, sample=i) for i in range(group_size))
    rollouts = (rollout(question, policy, environment, settings, one, renderer) for one in episodes)
    return Group(question, tuple(await asyncio.gather(*rollouts)))


async def rollout(
    question: Question,
    policy: Policy,
    environment: Environment,
    settings: RolloutSettings,
    episode: Episode = Episode(),
    renderer: Renderer | None = None,
) -> Trajectory:
    """Let the policy act until the environment ends it, or turns or tokens are used up, or something fails.

    What fails ends up in the trajectory's `stop_reason` and `cause`; only BadInput is raised, for it concerns every rollout alike.
    """
    conversation = _Conversation(question, policy, renderer or policy.renderer, settings, episode)
    environment = begin(environment, episode)
    try:
        first = await act(environment, "reset", question)
        conversation.record(first)
        if not conversation.read(first, Author.PROMPT, settings.max_observation_tokens):
            return conversation.ended(StopReason.PROMPT_TOO_LONG)
        turns = getattr(environment, "max_turns", settings.max_turns)
        for turn in range(turns):
            step = await act(environment, "step", await conversation.speak(turn, tuple(getattr(environment, "stop", ()))))
            while step.aside is not None:
                conversation.record(step)
                step = await act(environment, "step", await conversation.aside(step, turn))
            conversation.record(step)
            if step.answer is not None:
                return conversation.ended(StopReason.ANSWERED)
            if step.done or turn == turns - 1:
                return conversation.ended(StopReason.MAX_TURNS if turn == turns - 1 else StopReason.ENDED)
            # an observation that leaves no token to answer with would never be used
            if not conversation.read(step, Author.ENVIRONMENT, min(settings.max_observation_tokens, conversation.room - 1)):
                return conversation.ended(StopReason.BUDGET)
        return conversation.ended(StopReason.MAX_TURNS)
    except BadInput:
        raise
    except _OutOfRoom:
        return conversation.ended(StopReason.BUDGET)
    except SearchFailed as error:
        return conversation.ended(StopReason.SEARCH_FAILED, str(error))
    except GenerationFailed as error:
        return conversation.ended(StopReason.POLICY_FAILED, str(error))
    except Exception as error:  # an unexpected error in one rollout must not stop the others
        return conversation.ended(StopReason.ERROR, " ".join(f"{type(error).__name__}: {error}".split()))
    finally:
        policy.close(conversation.session)


def begin(environment: Environment, episode: Episode) -> Environment:
    """An environment for one rollout: what its `begin` gives, else a copy."""
    make = getattr(environment, "begin", None)
    return make(episode) if make else copy(environment)


async def act(environment: Environment, name: str, argument: Any) -> Step:
    """`reset` or `step` of an environment, the async form where it has one. Raises BadConfig when it returns something else."""
    result = (getattr(environment, f"a{name}", None) or getattr(environment, name))(argument)
    result = await result if isawaitable(result) else result
    if name == "reset" and isinstance(result, str):
        return Step(result)
    if not isinstance(result, Step) or not (result.done or isinstance(result.observation or result.aside, str) or result.observation == ""):
        wanted = "a text" if name == "reset" else "a zerosearch.Step with an observation, or with done=True"
        raise BadConfig(f"{type(environment).__name__}.{name} returned {result!r:.80}; it must return {wanted}.")
    return result


class _OutOfRoom(Exception):
    """No token is left for what comes next."""


class _Conversation:
    """The tokens of one rollout as it grows."""

    def __init__(self, question: Question, policy: Policy, renderer: Renderer, settings: RolloutSettings, episode: Episode) -> None:
        self.policy, self.renderer, self.settings = policy, renderer, settings
        self.trajectory = Trajectory(question, episode.sample, (), (), StopReason.ERROR)
        self.name = f"{episode.seed}/{episode.step}/{question.id}/{episode.sample}"
        self.session = f"{self.name}#{next(_CALLS)}"  # a question that a step meets twice has two conversations, and the same seeds

    @property
    def room(self) -> int:
        """How many tokens are left."""
        return self.settings.max_tokens - len(self.trajectory.token_ids)

    def count(self, text: str) -> int:
        """The length in tokens of a text in the middle of the conversation."""
        return len(self.renderer.observation(text))

    def read(self, step: Step, author: Author, max_tokens: int) -> bool:
        """What the policy reads next; False when it does not fit, or leaves no token to answer with."""
        encode = self.renderer.prompt if author is Author.PROMPT else self.renderer.observation
        text = step.shorten(self.count, max_tokens) if step.shorten else step.observation
        ids = tuple(encode(text)) if text is not None else ()
        fits = text is not None and len(ids) < self.room
        if text is not None and (fits or author is Author.PROMPT):  # a prompt that is too long is shown in the record
            self._add(Span(author, ids, text))
        return fits

    async def speak(self, turn: int, stop: tuple[str, ...]) -> str:
        """One turn of the policy, up to and with one of the stop strings."""
        sampling = turn_sampling(self.settings, self.name, turn, self.room, stop)
        generation = await self.policy.generate(self.trajectory.token_ids, sampling, self.session)
        text = self.renderer.decode(generation.token_ids)
        self._add(Span(Author.POLICY, generation.token_ids, text, generation.logprobs, generation.values))
        return text

    async def aside(self, step: Step, turn: int) -> str:
        """The policy's reply to another prompt; neither becomes part of this conversation."""
        prompt = step.shorten(self.count, self.settings.max_observation_tokens) if step.shorten else step.aside
        ids = self.renderer.prompt(prompt or step.aside or "")
        room = self.settings.max_tokens - len(ids)
        if room < 1:
            raise _OutOfRoom
        session = f"{self.session}/aside{turn}"
        try:
            generation = await self.policy.generate(ids, turn_sampling(self.settings, f"{self.name}/aside", turn + 1, room, ()), session)
        finally:
            self.policy.close(session)
        return self.renderer.decode(generation.token_ids).strip()

    def record(self, step: Step) -> None:
        t = self.trajectory
        self.trajectory = replace(
            t,
            searches=(*t.searches, *step.searches),
            malformed_turns=t.malformed_turns + step.malformed,
            answer=step.answer,
            reward=step.reward,
        )

    def ended(self, reason: StopReason, cause: str = "") -> Trajectory:
        return replace(self.trajectory, stop_reason=reason, cause=cause)

    def _add(self, span: Span) -> None:
        self.trajectory = replace(self.trajectory, spans=(*self.trajectory.spans, span))


def turn_sampling(settings: RolloutSettings, name: str, turn: int, room: int, stop: tuple[str, ...]) -> Sampling:
    """How to sample one turn with `room` tokens left; its seed is a pure function of the rollout's name and the turn."""
    seed = int.from_bytes(blake2b(f"{name}/{turn}".encode(), digest_size=7).digest())
    return Sampling(min(settings.max_turn_tokens, room), settings.temperature, settings.top_p, stop, seed)
