"""A search engine played by a language model: Chat + noise rate → documents. Noise is drawn only here."""

import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from zerosearch.core.coalesce import Coalesced
from zerosearch.core.errors import BadConfig, GenerationFailed, SearchFailed, one_line
from zerosearch.core.interfaces import Chat, close
from zerosearch.core.scoring import documents_hold_answer, is_yes_no
from zerosearch.core.types import Quality, Sampling, SearchRequest, SearchResult
from zerosearch.engines.documents import ParsedReply, parse_documents
from zerosearch.engines.prompts import WEB, Imitated, simulator_prompt, simulator_text
from zerosearch.net.chat import FunctionChat, OpenAIChat

_REQUIRED = ("query", "quality")
SAMPLING = Sampling(600, 0.8, 0.95, stop=("</information>",))  # the paper's code has these figures


def draw_quality(request: SearchRequest, *, share_coin_in_group: bool = False) -> Quality:
    """Toss the noise coin: noisy with probability `request.noise_rate`.

    u = blake2b(seed, step, question.id, sample, turn) / 2^64 in [0, 1);  noisy iff u < noise_rate.
    A pure function of those five, so searches may finish in any order. With `share_coin_in_group` the sample is left
    out: all samples of a question share one draw per turn (common random numbers).
    """
    sample = "any" if share_coin_in_group else request.sample
    u = _stable_hash("coin", request.seed, request.step, request.question.id, sample, request.turn) / 2**64
    return Quality.NOISY if u < request.noise_rate else Quality.USEFUL


@dataclass(frozen=True, slots=True)
class _Draw:
    """Everything that decides which documents come back; requests that agree on it share one generation."""

    prompt: str
    seed: int
    k: int
    quality: Quality
    golds: tuple[str, ...]


@dataclass(slots=True)
class Guard:
    """How often the guard looked at a reply, how often it was drawn again, and how often it gave up."""

    replies: int = 0
    redrawn: int = 0
    redraws: int = 0
    broken: int = 0


class SimulatedEngine:
    """A SearchEngine whose documents are written by `chat`, useful or noisy as drawn.

        engine = SimulatedEngine("http://127.0.0.1:8000/v1", noise=0.25)

    `chat` is the address of an OpenAI-compatible endpoint, a model's folder or hub id, a function from prompt to reply (plain or async), or
    a Chat. `noise` is the probability that a reply is noisy, whatever a search asks for; None: the search's own `noise_rate`, which a
    curriculum sets while a policy trains. `template` is a text, a file or a built-in name; by default, the one the model was tuned with.

    Like a real engine it answers the same query alike: within a step, the same query for the same question at the same
    quality gives the same documents, generated once. `template` holds {query} and {quality}, and may hold {question},
    {golden_answers} (all of them, joined by "; "), {k}, and {persona}, {domain}, {language}, {words}, which come from `imitated`;
    any other brace is left alone. `k` is how many documents the model is asked for, None: as many as the request asks for. Stop
    strings are the caller's, in `sampling`.

    With `guard_redraws` a reply under one of the `guarded` keywords is checked: useful must hold a golden answer, noisy must hold
    none. A reply that breaks this is drawn again, up to that many times; the last draw is kept, with a remark. `guard` counts. Off by
    default, as in the paper. Note that guarding useful replies makes those to bad queries hand out the answer; guarding noisy ones
    alone does not. The simulator's card shows both.
    ZeroSearch (arXiv 2505.04588), section 3.2; differs from the paper's code: every gold alias is shown, k is free.

    Raises BadConfig if the template lacks a required placeholder, or a count is below one.
    """

    def __init__(
        self,
        chat: Chat | Callable[[str], str | Awaitable[str]] | str,
        template: str = "",
        *,
        noise: float | None = None,
        k: int | None = None,
        sampling: Sampling = SAMPLING,
        seed: int = 0,
        share_coin_in_group: bool = False,
        max_attempts: int = 3,
        max_remembered: int = 4096,
        imitated: Imitated = WEB,
        guard_redraws: int = 0,
        guarded: Collection[Quality] = tuple(Quality),
    ) -> None:
        template = template if "{" in template else simulator_prompt(template or _template_of(chat))
        for name in _REQUIRED:
            if f"{{{name}}}" not in template:
                raise BadConfig(f"the simulator's template has no {{{name}}}; add it where the {name} belongs.")
        for name, value in {"k": 1 if k is None else k, "max_attempts": max_attempts}.items():
            if value < 1:
                raise BadConfig(f"{name} is {value}; it must be at least 1.")
        if noise is not None and not 0 <= noise <= 1:
            raise BadConfig(f"noise is {noise:g}; it is a probability, from 0 to 1.")
        self._chat = chat_of(chat)
        self._template = template
        self._noise = noise
        self._k = k
        self._sampling = sampling
        self._seed = seed
        self._share_coin_in_group = share_coin_in_group
        self._max_attempts = max_attempts
        self._imitated = imitated
        self._guard_redraws, self._guarded = guard_redraws, guarded
        self.guard = Guard()
        self.draws: Coalesced[_Draw, ParsedReply] = Coalesced(self._generate, max_remembered=max_remembered)

    def draw_quality(self, request: SearchRequest) -> Quality:
        """What this engine asks the simulator for."""
        if self._noise is not None:
            request = replace(request, noise_rate=self._noise)
        return draw_quality(request, share_coin_in_group=self._share_coin_in_group)

    def render_prompt(self, request: SearchRequest, quality: Quality) -> str:
        """The template with its placeholders filled in one pass, so that braces in a query or an answer are left alone."""
        return simulator_text(self._template, request.question, request.query, quality, self._k or request.k, self._imitated)

    async def search(self, request: SearchRequest) -> SearchResult:
        """The documents, the quality that was drawn, and what was unusual about the reply.

        Raises SearchFailed if the model cannot be reached, or writes no document in `max_attempts` draws.
        """
        quality = self.draw_quality(request)
        reply = await self.draws(self._draw(request, quality))
        return SearchResult(reply.documents[: request.k], quality, reply.remark)

    def describe_draw(self, request: SearchRequest) -> dict[str, str]:
        """What a recording must keep beside query and k; requests that agree on it get the same documents."""
        quality = self.draw_quality(request)
        draw = self._draw(request, quality)
        return {"quality": quality.value, "draw": f"{_stable_hash(draw.prompt, draw.seed, draw.k):016x}"}

    def _draw(self, request: SearchRequest, quality: Quality) -> _Draw:
        # one spelling per query; its case is kept, because the prompt must not depend on which request came first
        query, k = " ".join(request.query.split()), self._k or request.k
        seed = _stable_hash("draw", self._seed, request.seed, request.step, request.question.id, query, quality.value, k)
        golds = request.question.golden_answers
        golds = golds if self._guard_redraws and quality in self._guarded and not is_yes_no(golds) else ()
        return _Draw(self.render_prompt(request, quality), seed, k, quality, golds)

    async def aclose(self) -> None:
        """Close the connections of a chat that has any; the next search opens them again."""
        await close(self._chat)

    async def _generate(self, draw: _Draw) -> ParsedReply:
        """A reply that fits its keyword, if the guard is on and one is drawn within its redraws."""
        parsed = await self._written(draw, 0)
        if not draw.golds:
            return parsed
        self.guard.replies += 1
        redraws = 0
        while _breaks_keyword(parsed, draw) and redraws < self._guard_redraws:
            redraws += 1
            parsed = await self._written(draw, redraws)
        self.guard.redraws += redraws
        self.guard.redrawn += redraws > 0
        if not _breaks_keyword(parsed, draw):
            return parsed
        self.guard.broken += 1
        broken = f"{draw.quality.value}, but the answer is {'missing' if draw.quality is Quality.USEFUL else 'there'}"
        return replace(parsed, remark="; ".join(filter(None, (parsed.remark, broken))))

    async def _written(self, draw: _Draw, redraw: int) -> ParsedReply:
        """The first of `max_attempts` replies that holds a document."""
        reply = ""
        for attempt in range(redraw * self._max_attempts, (redraw + 1) * self._max_attempts):
            # 31 bits: the largest seed that every endpoint accepts
            seed = _stable_hash(draw.seed, attempt) >> 33
            try:
                reply = await self._chat.complete(draw.prompt, replace(self._sampling, seed=seed))
            except GenerationFailed as error:
                raise SearchFailed(f"the simulator could not answer: {error}") from error
            parsed = parse_documents(reply, draw.k)
            if parsed.documents:
                return parsed
        raise SearchFailed(
            f"the simulator wrote no document in {self._max_attempts} attempts: "
            f"'{one_line(reply, 80)}'; check its template and max_new_tokens."
        )


def _breaks_keyword(reply: ParsedReply, draw: _Draw) -> bool:
    return documents_hold_answer(reply.documents, draw.golds) is (draw.quality is Quality.NOISY)


def _stable_hash(*parts: str | int) -> int:
    """64 bits, the same in every process (`hash` is not); JSON keeps ("a", "b") distinct from ("ab",), and 1 from "1"."""
    return int.from_bytes(blake2b(json.dumps(parts).encode(), digest_size=8).digest(), "big")


def chat_of(given: Chat | Callable[[str], str | Awaitable[str]] | str) -> Chat:
    """The Chat that plays the engine, from an address, a folder or hub id, a function, or a Chat as it is."""
    if isinstance(given, str):
        if given.startswith(("http://", "https://")):
            return OpenAIChat(given)
        from zerosearch.models.local import LocalModel  # imports torch

        return LocalModel.load(given)
    if isinstance(given, Chat):
        return given
    if callable(given):
        return FunctionChat(given)
    raise BadConfig(
        f"{given!r:.80} cannot play a search engine; give an endpoint's address, a model's folder, or a function prompt -> reply."
    )


def _template_of(chat: object) -> str:
    """The prompt that the model in a folder was tuned with; for any other model the one with a worked example."""
    try:
        return str(json.loads((Path(chat) / "tuning.json").read_text())["template"]) if isinstance(chat, str) else "web"
    except (OSError, ValueError, KeyError):
        return "web"
