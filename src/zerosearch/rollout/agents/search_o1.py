"""Search inside the reasoning, with a second look at what was found: the policy reads the documents aside and writes down what matters."""

from __future__ import annotations

from zerosearch.core.interfaces import Policy, SearchEngine
from zerosearch.core.templates import fill
from zerosearch.core.types import Author, Document, Question, Trajectory
from zerosearch.rollout.agents.conversation import Conversation
from zerosearch.rollout.grammar import STOP_TAGS, Answer, Search, parse_turn, render_information
from zerosearch.rollout.loop import RolloutSettings, fit_documents


class SearchO1:
    """The chain of reasoning reads the distilled note, never the documents. Nothing written aside can be the answer."""

    prompt, searches = "search-o1", True

    async def answer(self, question: Question, policy: Policy, engine: SearchEngine, settings: RolloutSettings) -> Trajectory:
        async with Conversation(question, policy, engine, settings) as conversation:
            conversation.tell(fill(settings.prompt.task, {"question": question.text}))
            for turns_left in reversed(range(settings.max_turns)):
                action = parse_turn(await conversation.speak(STOP_TAGS))
                if isinstance(action, Answer):
                    conversation.answered(action.text)
                if isinstance(action, Answer) or not turns_left:
                    break
                if isinstance(action, Search):
                    documents = await conversation.search(action.query)
                    conversation.tell(render_information([Document(await self._note(conversation, action.query, documents))]))
                else:
                    conversation.malformed()
        return conversation.trajectory

    async def _note(self, conversation: Conversation, query: str, documents: tuple[Document, ...]) -> str:
        """What the policy says of the documents, in its own words."""
        trajectory, settings = conversation.trajectory, conversation.settings
        reasoning = " ".join(span.text for span in trajectory.spans if span.author is not Author.PROMPT)
        block = fit_documents(conversation.policy, documents, settings.max_observation_tokens) or ""
        values = {"question": trajectory.question.text, "reasoning": reasoning, "query": query, "documents": block.strip()}
        return await conversation.aside(fill(settings.prompt.distil, values), conversation.turn)
