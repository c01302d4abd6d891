"""What agents that are not a plain rollout are written with: a conversation that keeps record, budgets and causes of failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from zerosearch.core.errors import GenerationFailed, SearchFailed
from zerosearch.core.interfaces import Policy, SearchEngine
from zerosearch.core.types import Author, Document, Question, SearchRecord, SearchRequest, Span, StopReason, Trajectory
from zerosearch.rollout.loop import RolloutSettings, turn_sampling

_CALLS = count()


class OutOfRoom(Exception):
    """No token is left for what comes next."""


class Conversation:
    """`async with Conversation(…) as c:` and then `c.tell`, `await c.speak`, `await c.search`, … and `c.answered(text)`.

    Leaving the block turns a failed search, a failed generation or a used-up budget into the trajectory's `stop_reason` and `cause`.
    Budgets mean what they mean in a rollout (`RolloutSettings`).
    """

    def __init__(self, question: Question, policy: Policy, engine: SearchEngine, settings: RolloutSettings) -> None:
        self.settings, self.policy = settings, policy
        self.trajectory = Trajectory(question, 0, (), (), StopReason.MAX_TURNS)
        self.turn = 0
        self._engine = engine
        self._name = f"{settings.seed}/0/{question.id}/0"
        self._session = f"{self._name}#agent{next(_CALLS)}"

    async def __aenter__(self) -> Conversation:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.policy.close(self._session)
        match error:
            case SearchFailed():
                self._stop(StopReason.SEARCH_FAILED, str(error))
            case GenerationFailed():
                self._stop(StopReason.POLICY_FAILED, str(error))
            case OutOfRoom():
                self._stop(StopReason.BUDGET if self.turn else StopReason.PROMPT_TOO_LONG)
            case _:
                return False
        return True

    @property
    def room(self) -> int:
        """How many tokens are left."""
        return self.settings.max_tokens - len(self.trajectory.token_ids)

    def tell(self, text: str) -> None:
        """What the policy reads next: the prompt, or after its first turn what the environment says. Raises OutOfRoom."""
        author = Author.ENVIRONMENT if self.trajectory.spans else Author.PROMPT
        ids = tuple(self.policy.encode(text) if self.trajectory.spans else self.policy.encode_prompt(text))
        if len(ids) >= self.room:  # nothing would be left to answer with
            raise OutOfRoom
        self._add(Span(author, ids, text))

    async def speak(self, stop: Sequence[str]) -> str:
        """One turn of the policy, up to and with one of the stop strings."""
        sampling = replace(turn_sampling(self.settings, self._name, self.turn, self.room), stop=tuple(stop))
        generation = await self.policy.generate(self.trajectory.token_ids, sampling, self._session)
        text = self.policy.decode(generation.token_ids)
        self._add(Span(Author.POLICY, generation.token_ids, text, generation.logprobs))
        self.turn += 1
        return text

    async def aside(self, prompt: str, turn: int) -> str:
        """What the policy makes of another prompt; neither is part of this conversation."""
        session = f"{self._session}/aside{turn}"
        try:
            ids = self.policy.encode_prompt(prompt)
            room = self.settings.max_tokens - len(ids)
            if room < 1:
                raise OutOfRoom
            sampling = replace(turn_sampling(self.settings, f"{self._name}/aside", turn, room), stop=())
            generation = await self.policy.generate(ids, sampling, session)
            return self.policy.decode(generation.token_ids).strip()
        finally:
            self.policy.close(session)

    async def search(self, query: str) -> tuple[Document, ...]:
        question, settings = self.trajectory.question, self.settings
        result = await self._engine.search(SearchRequest(query, question, settings.k, seed=settings.seed, turn=max(self.turn - 1, 0)))
        record = SearchRecord(max(self.turn - 1, 0), query, result)
        self.trajectory = replace(self.trajectory, searches=(*self.trajectory.searches, record))
        return result.documents

    def malformed(self) -> None:
        """Count a turn that did nothing, and say what can be done."""
        self.trajectory = replace(self.trajectory, malformed_turns=self.trajectory.malformed_turns + 1)
        self.tell(self.settings.prompt.malformed)

    def answered(self, text: str) -> None:
        self.trajectory = replace(self.trajectory, answer=text, stop_reason=StopReason.ANSWERED)

    def _stop(self, reason: StopReason, cause: str = "") -> None:
        self.trajectory = replace(self.trajectory, stop_reason=reason, cause=cause)

    def _add(self, span: Span) -> None:
        self.trajectory = replace(self.trajectory, spans=(*self.trajectory.spans, span))
