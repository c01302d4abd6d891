"""A retrieval-augmented agent: it decides whether to search, sees how each document begins, and picks those it reads in full."""

from __future__ import annotations

import re

from zerosearch.core.interfaces import Policy, SearchEngine
from zerosearch.core.templates import fill
from zerosearch.core.types import Document, Question, Trajectory
from zerosearch.rollout.agents.conversation import Conversation, OutOfRoom
from zerosearch.rollout.grammar import STOP_TAGS, Answer, Read, Search, parse_turn, render_information
from zerosearch.rollout.loop import RolloutSettings, fit_documents

_ACTIONS = (*STOP_TAGS, "</read>")
_FIRST_WORDS = 12


class RetrievalAgent:
    prompt, searches = "ra-agent", True

    async def answer(self, question: Question, policy: Policy, engine: SearchEngine, settings: RolloutSettings) -> Trajectory:
        async with Conversation(question, policy, engine, settings) as conversation:
            conversation.tell(fill(settings.prompt.task, {"question": question.text}))
            listed: tuple[Document, ...] = ()
            # a search costs two turns, the list and the reading: `max_turns` counts what other agents call a turn
            for turns_left in reversed(range(2 * settings.max_turns - 1)):
                action = parse_turn(await conversation.speak(_ACTIONS), _ACTIONS)
                if isinstance(action, Answer):
                    conversation.answered(action.text)
                if isinstance(action, Answer) or not turns_left:
                    break
                match action:
                    case Search(query):
                        listed = await conversation.search(query)
                        conversation.tell(render_information([_beginning(document) for document in listed]))
                    case Read(numbers) if chosen := _chosen(numbers, listed):
                        room = min(settings.max_observation_tokens, conversation.room - 1)
                        block = fit_documents(policy, chosen, room)
                        if block is None:
                            raise OutOfRoom
                        conversation.tell(block)
                    case _:
                        conversation.malformed()
        return conversation.trajectory


def _beginning(document: Document) -> Document:
    words = document.text.split()
    return Document(" ".join(words[:_FIRST_WORDS]) + (" …" if len(words) > _FIRST_WORDS else ""), document.title)


def _chosen(numbers: str, listed: tuple[Document, ...]) -> tuple[Document, ...]:
    """The documents of the last list whose numbers are named; a number that is not on the list is passed over."""
    wanted = dict.fromkeys(int(number) for number in re.findall(r"\d{1,3}", numbers))
    return tuple(listed[number - 1] for number in wanted if 1 <= number <= len(listed))
