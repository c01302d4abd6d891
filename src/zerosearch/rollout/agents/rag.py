"""Retrieval-augmented generation: one search with the question itself, its documents in the prompt, one turn to answer."""

from __future__ import annotations

from zerosearch.core.interfaces import Policy, SearchEngine
from zerosearch.core.templates import fill
from zerosearch.core.types import Question, Trajectory
from zerosearch.rollout.agents.conversation import Conversation, OutOfRoom
from zerosearch.rollout.grammar import Answer, parse_turn
from zerosearch.rollout.loop import RolloutSettings, fit_documents


class SearchOnce:
    prompt, searches = "rag", True

    async def answer(self, question: Question, policy: Policy, engine: SearchEngine, settings: RolloutSettings) -> Trajectory:
        async with Conversation(question, policy, engine, settings) as conversation:
            documents = await conversation.search(question.text)
            block = fit_documents(policy, documents, settings.max_observation_tokens)
            if block is None:
                raise OutOfRoom
            conversation.tell(fill(settings.prompt.task, {"question": question.text, "documents": block.strip()}))
            match parse_turn(await conversation.speak(["</answer>"]), ["</answer>"]):
                case Answer(text):
                    conversation.answered(text)
                case _:
                    pass
        return conversation.trajectory
