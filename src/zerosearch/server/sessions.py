"""Sessions: a question and its gold answers, under a name that requests carry. Golds go in and never come out."""

import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from zerosearch.core.types import Question
from zerosearch.server.http_request import Reason, Refused


@dataclass(frozen=True, slots=True)
class Session:
    question: Question
    owner: str = ""  # only its owner may search in it; "": everyone


class Sessions:
    """Open sessions, of which the oldest are dropped beyond `max_sessions`, and the questions of a file, by their ids."""

    def __init__(self, questions: Iterable[Question] = (), max_sessions: int = 100_000) -> None:
        self._of_file = {question.id: question for question in questions}
        self._opened: OrderedDict[str, Session] = OrderedDict()
        self._max_sessions = max_sessions

    def __len__(self) -> int:
        return len(self._opened)

    def open(self, question: str, golds: Iterable[str], name: str = "", owner: str = "") -> str:
        """The session's name. A name that the same owner uses gets the new question; another's is refused."""
        name = name or secrets.token_urlsafe(12)
        before = self._opened.pop(name, None)
        if before is not None and before.owner != owner:
            self._opened[name] = before
            raise Refused(Reason.BAD_REQUEST, "this session belongs to someone else; choose another id.")
        self._opened[name] = Session(Question(name, question, tuple(golds)), owner)
        if len(self._opened) > self._max_sessions:
            self._opened.popitem(last=False)
        return name

    def close(self, name: str, owner: str = "") -> None:
        self._find(name, owner)
        del self._opened[name]

    def question(self, name: str, owner: str = "") -> Question:
        """The question of a session, or of the question file. Raises Refused if there is none of this name."""
        if name in self._of_file:
            return self._of_file[name]
        return self._find(name, owner).question

    def _find(self, name: str, owner: str) -> Session:
        session = self._opened.get(name)
        if session is None or session.owner != owner:
            raise Refused(Reason.NOT_FOUND, "there is no such session or question; open one with POST /v1/sessions.")
        return session
