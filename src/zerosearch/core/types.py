"""Frozen records that every other module passes around, with no behaviour beyond reading them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and every answer that counts as right."""

    id: str
    text: str
    golden_answers: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    title: str = ""
    id: str = ""

    def as_json(self) -> dict[str, str]:
        """What `dataclasses.asdict` gives, in a sixth of the time: rows of trajectories hold tens of documents."""
        return {"text": self.text, "title": self.title, "id": self.id}


class Quality(StrEnum):
    """The kind of documents that were drawn, and that the simulator was asked for."""

    USEFUL = "useful"
    NOISY = "noisy"


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search with everything that belongs to it, so that nothing travels in parallel lists.

    (`seed`, `step`, `question.id`, `sample`, `turn`) name the search; the noise draw is a pure function of them.
    `noise_rate` is the probability that a simulator answers with noisy documents; real engines ignore it.
    """

    query: str
    question: Question
    k: int = 5
    noise_rate: float = 0.0
    seed: int = 0
    step: int = 0
    sample: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The documents of one search. `quality` is what was drawn (None for a real engine, where nothing is drawn).

    `remark` says what was unusual about the reply, for instance "3 documents instead of 5"; empty when nothing was.
    """

    documents: tuple[Document, ...]
    quality: Quality | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one continuation. Temperature 0 is greedy. Generation ends with the token that completes a stop string."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0


class Finish(StrEnum):
    """Why a generation ended."""

    STOP = "stop"  # a stop string was completed; the token that completes it is kept
    EOS = "eos"  # the model ended the text; the end token is kept
    LENGTH = "length"  # max_new_tokens were sampled


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one or several generations used, as an API bills them: every call counts its whole prompt again."""

    calls: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.calls + other.calls, self.prompt_tokens + other.prompt_tokens, self.new_tokens + other.new_tokens)


@dataclass(frozen=True, slots=True)
class Generation:
    """Sampled token ids with the log-prob of each, under the distribution at the sampling temperature (before top-p; T = 1 when greedy).

    An endpoint that reports no log-probs leaves them empty; if its tokens are not our ids, `usage` is its own count. A policy with a
    critic also gives `values`, one per token: the value of the text before it.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish
    usage: Usage | None = None
    values: tuple[float, ...] = ()


class Author(StrEnum):
    """Who wrote a span of a trajectory."""

    PROMPT = "prompt"
    POLICY = "policy"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Span:
    """A run of tokens by one author. Only POLICY spans have log-probs (and values), one per token, and only they are trained on.

    A trajectory that searches once, with 7 tokens of prompt:

        author       PROMPT  POLICY                         ENVIRONMENT                     POLICY
        text         …?      <think>…</think><search>…      <information>…</information>    <answer>…</answer>
        tokens       7       12                             40                              5
        loss mask    0000000 111111111111                   0000…                           11111
    """

    author: Author
    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...] = ()
    values: tuple[float, ...] = ()


class StopReason(StrEnum):
    """Why a rollout ended."""

    ANSWERED = "answered"
    MAX_TURNS = "max_turns"  # the last turn did not answer
    ENDED = "ended"  # the environment ended it without an answer
    BUDGET = "budget"  # no room left for another turn
    PROMPT_TOO_LONG = "prompt_too_long"  # the question itself does not fit: nothing was generated
    SEARCH_FAILED = "search_failed"  # the engine could not answer; `Trajectory.cause` says why
    POLICY_FAILED = "policy_failed"  # the policy could not answer; likewise
    ERROR = "error"  # something else broke; likewise

    @property
    def is_failure(self) -> bool:
        """True when the rollout ended for a reason that is not the policy's doing: never scored, never trained on."""
        return self in (StopReason.SEARCH_FAILED, StopReason.POLICY_FAILED, StopReason.PROMPT_TOO_LONG, StopReason.ERROR)


@dataclass(frozen=True, slots=True)
class Scores:
    """Exact match, cover match and token F1 of one answer, each in [0, 1]."""

    em: float
    cover_em: float
    f1: float


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """One search that was made: what was asked, what was drawn, what came back."""

    turn: int
    query: str
    result: SearchResult


@dataclass(frozen=True, slots=True)
class Episode:
    """Which rollout of a question this is. Everything random about it is a pure function of these, the question and the turn.

    `step` counts the trainer's steps from 0, `sample` the rollouts of one question; `noise_rate` is the probability, in [0, 1], that a
    simulated search is noisy.
    """

    seed: int = 0
    step: int = 0
    sample: int = 0
    noise_rate: float = 0.0


Count = Callable[[str], int]  # text -> its length in the policy's tokens


@dataclass(frozen=True, slots=True)
class Step:
    """What an environment makes of one turn of the policy: what the policy reads next, or the end.

    `reward` is the environment's own, at the end; None: the trainer's reward function decides. `answer`, `searches` and `malformed` (the
    turn was not a legal action) are for the record: scores, metrics and the viewer read them.

    `shorten(count, max_tokens)` returns the observation in at most `max_tokens` tokens, or None if it cannot; without it, an observation
    that is too long ends the rollout. With `aside`, the policy is asked that prompt outside the conversation, and the next `step` receives
    its reply.
    """

    observation: str | None = None
    done: bool = False
    reward: float | None = None
    answer: str | None = None
    searches: tuple[SearchRecord, ...] = ()
    malformed: bool = False
    shorten: Callable[[Count, int], str | None] | None = None
    aside: str | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One rollout. `answer` is what the policy wrote, None when it never answered.

    `scores` and `reward` are None while unscored and stay None for failures (0 is a score; None means there is none).
    `token_advantages` has one value per trained token if a critic gives them; otherwise every token has `advantage`.
    """

    question: Question
    sample: int
    spans: tuple[Span, ...]
    searches: tuple[SearchRecord, ...]
    stop_reason: StopReason
    answer: str | None = None
    cause: str = ""
    malformed_turns: int = 0
    scores: Scores | None = None
    reward: float | None = None
    advantage: float | None = None
    token_advantages: tuple[float, ...] = ()

    @property
    def token_ids(self) -> tuple[int, ...]:
        return tuple(chain.from_iterable(span.token_ids for span in self.spans))  # read at every turn, so the loop runs in C

    @property
    def policy_mask(self) -> tuple[bool, ...]:
        """True for tokens the policy sampled; aligned with `token_ids`. This is the loss mask."""
        return tuple(span.author is Author.POLICY for span in self.spans for _ in span.token_ids)

    @property
    def policy_token_count(self) -> int:
        return sum(len(s.token_ids) for s in self.spans if s.author is Author.POLICY)


@dataclass(frozen=True, slots=True)
class Group:
    """The G samples of one question that are compared with each other."""

    question: Question
    trajectories: tuple[Trajectory, ...]
