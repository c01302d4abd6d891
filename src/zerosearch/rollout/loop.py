"""One question in, one trajectory out: the loop of think, search, read, answer. Tokens in, tokens out.

The same function serves training, evaluation, `ask` and the cluster; nothing in it knows which policy or engine it drives.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import count

from zerosearch.core.errors import BadConfig, GenerationFailed, SearchFailed
from zerosearch.core.interfaces import Policy, SearchEngine
from zerosearch.core.templates import fill
from zerosearch.core.types import (
    Author,
    Document,
    Group,
    Question,
    Sampling,
    SearchRecord,
    SearchRequest,
    Span,
    StopReason,
    Trajectory,
)
from zerosearch.rollout.grammar import STOP_TAGS, Answer, Search, parse_turn, render_information
from zerosearch.rollout.prompts import PolicyPrompt

_CALLS = count()


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """Budgets in tokens of the policy's tokenizer.

    `max_turns` counts policy turns, the answering one included. A turn gets at most `max_turn_tokens`, an observation at most
    `max_observation_tokens` (its documents are shortened, its tags never), and everything together at most `max_tokens`.
    """

    prompt: PolicyPrompt
    max_turns: int = 4
    max_turn_tokens: int = 500
    max_observation_tokens: int = 1000
    max_tokens: int = 4096
    temperature: float = 1.0
    top_p: float = 1.0
    k: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_turns", "max_turn_tokens", "max_observation_tokens", "max_tokens", "k"):
            if getattr(self, name) < 1:
                raise BadConfig(f"rollout.{name} = {getattr(self, name)} must be at least 1.")


async def rollout_group(
    question: Question,
    group_size: int,
    policy: Policy,
    engine: SearchEngine,
    settings: RolloutSettings,
    step: int = 0,
    noise_rate: float = 0.0,
) -> Group:
    """`group_size` rollouts of one question, at once."""
    rollouts = (rollout(question, policy, engine, settings, sample=i, step=step, noise_rate=noise_rate) for i in range(group_size))
    return Group(question, tuple(await asyncio.gather(*rollouts)))


async def rollout(
    question: Question,
    policy: Policy,
    engine: SearchEngine,
    settings: RolloutSettings,
    sample: int = 0,
    step: int = 0,
    noise_rate: float = 0.0,
) -> Trajectory:
    """Let the policy work on one question until it answers, runs out of turns or tokens, or something fails.

    Never raises for a failed search or generation: the trajectory's `stop_reason` and `cause` say what happened.
    """
    prompt_text = fill(settings.prompt.task, {"question": question.text})
    prompt_ids = tuple(policy.encode_prompt(prompt_text))
    trajectory = Trajectory(question, sample, (Span(Author.PROMPT, prompt_ids, prompt_text),), (), StopReason.MAX_TURNS)
    name = f"{settings.seed}/{step}/{question.id}/{sample}"
    session = f"{name}#{next(_CALLS)}"  # a question that a step meets twice has two conversations, and the same seeds
    try:
        for turn in range(settings.max_turns):
            room = settings.max_tokens - len(trajectory.token_ids)
            if room < 1:
                return replace(trajectory, stop_reason=StopReason.BUDGET if turn else StopReason.PROMPT_TOO_LONG)
            trajectory = await _speak(trajectory, policy, turn_sampling(settings, name, turn, room), session)
            action = parse_turn(trajectory.spans[-1].text)
            last = turn == settings.max_turns - 1
            match action:
                case Answer(text):
                    return replace(trajectory, answer=text, stop_reason=StopReason.ANSWERED)
                case Search(query) if not last:  # on the last turn nobody would read what it finds
                    request = SearchRequest(query, question, settings.k, noise_rate, settings.seed, step, sample, turn)
                    result = await engine.search(request)
                    observation = fit_documents(policy, result.documents, _observation_room(trajectory, settings))
                    searches = (*trajectory.searches, SearchRecord(turn, query, result))
                    trajectory = replace(trajectory, searches=searches)
                case Search():
                    return trajectory
                case _:
                    trajectory = replace(trajectory, malformed_turns=trajectory.malformed_turns + 1)
                    if last:
                        return trajectory
                    observation = settings.prompt.malformed
            observation_ids = tuple(policy.encode(observation)) if observation is not None else ()
            if observation is None or len(observation_ids) >= settings.max_tokens - len(trajectory.token_ids):
                return replace(trajectory, stop_reason=StopReason.BUDGET)
            trajectory = replace(trajectory, spans=(*trajectory.spans, Span(Author.ENVIRONMENT, observation_ids, observation)))
        return trajectory
    except SearchFailed as error:
        return replace(trajectory, stop_reason=StopReason.SEARCH_FAILED, cause=str(error))
    except GenerationFailed as error:
        return replace(trajectory, stop_reason=StopReason.POLICY_FAILED, cause=str(error))
    finally:
        policy.close(session)


async def _speak(trajectory: Trajectory, policy: Policy, sampling: Sampling, session: str) -> Trajectory:
    generation = await policy.generate(trajectory.token_ids, sampling, session)
    span = Span(Author.POLICY, generation.token_ids, policy.decode(generation.token_ids), generation.logprobs, generation.values)
    return replace(trajectory, spans=(*trajectory.spans, span))


def turn_sampling(settings: RolloutSettings, name: str, turn: int, room: int) -> Sampling:
    """How to sample one turn with `room` tokens left; its seed is a pure function of the rollout's name and the turn."""
    seed = int.from_bytes(blake2b(f"{name}/{turn}".encode(), digest_size=7).digest())
    return Sampling(min(settings.max_turn_tokens, room), settings.temperature, settings.top_p, STOP_TAGS, seed)


def _observation_room(trajectory: Trajectory, settings: RolloutSettings) -> int:
    # an observation that leaves no token to answer with would be read by nobody
    return min(settings.max_observation_tokens, settings.max_tokens - len(trajectory.token_ids) - 1)


def fit_documents(policy: Policy, documents: tuple[Document, ...], max_tokens: int) -> str | None:
    """The `<information>` block for `documents` in at most `max_tokens` tokens, or None when not even an empty one fits.

    Too long a block loses words from the ends of its longest documents, evenly; its tags and markers stay whole.
    """
    block = render_information(documents)
    if len(policy.encode(block)) <= max_tokens:
        return block
    words = [document.text.split() for document in documents]
    low, high, best = 0, max(map(len, words), default=0), None
    while low <= high:
        limit = (low + high) // 2
        cut = tuple(replace(d, text=" ".join(w[:limit])) for d, w in zip(documents, words, strict=True))
        block = render_information(cut)
        if len(policy.encode(block)) <= max_tokens:
            best, low = block, limit + 1
        else:
            high = limit - 1
    return best
