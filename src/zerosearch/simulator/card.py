"""A simulator's card from real searches: does it obey the keyword, does a bad query stay bad, is its style that of the real engine?"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zerosearch.core.errors import BadFile, GenerationFailed, SearchFailed
from zerosearch.core.interfaces import Chat, SearchEngine, close
from zerosearch.core.scoring import documents_hold_answer
from zerosearch.core.statistics import bootstrap_interval
from zerosearch.core.types import Document, Quality, Question, Sampling, SearchRequest, SearchResult
from zerosearch.engines.registry import EngineContext, build_engine
from zerosearch.engines.settings import EngineConfig
from zerosearch.engines.simulated import SimulatedEngine
from zerosearch.models.local import LocalModel
from zerosearch.net.chat import OpenAIChat
from zerosearch.net.remote_policy import Pieces
from zerosearch.simulator.judge import Judge, Verdict, judge_all, judge_prompt
from zerosearch.simulator.probe_set import Probe, Probes
from zerosearch.simulator.searches import SearchExample
from zerosearch.simulator.style import near_duplicates, self_bleu, vocabulary_overlap


@dataclass(frozen=True, slots=True)
class Reply:
    """`result` is None when the simulator wrote no document."""

    asked: Probe
    result: SearchResult | None

    @property
    def documents(self) -> tuple[Document, ...]:
        return self.result.documents if self.result else ()

    @property
    def answers(self) -> bool:
        return documents_hold_answer(self.documents, self.asked.question.golden_answers)


class TimedChat:
    """Counts what a chat writes: `count` gives the tokens of a text."""

    def __init__(self, chat: Chat, count: Callable[[str], int]) -> None:
        self._chat, self._count = chat, count
        self.calls = self.prompt_tokens = self.new_tokens = 0

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        reply = await self._chat.complete(prompt, sampling)
        self.calls += 1
        self.prompt_tokens += self._count(prompt)
        self.new_tokens += self._count(reply)
        return reply


async def ask_all(
    engine: SearchEngine, probes: Sequence[Probe], k: int, noise_rate: float, seed: int, concurrency: int = 256
) -> list[Reply]:
    """A noise rate of 0 or 1 decides the draw. Raises SearchFailed if the simulator cannot be reached."""
    places = asyncio.Semaphore(concurrency)

    async def ask(asked: Probe) -> Reply:
        async with places:
            try:
                request = SearchRequest(asked.query, asked.question, k, noise_rate, seed, step=int(noise_rate))
                return Reply(asked, await engine.search(request))
            except SearchFailed as error:
                if isinstance(error.__cause__, GenerationFailed):
                    raise
                return Reply(asked, None)  # it answered without documents, which is a figure of the card

    return list(await asyncio.gather(*map(ask, probes)))


def share(values: Sequence[float | bool]) -> dict[str, float] | None:
    """Mean, 95% interval and n; None if there are no values."""
    if not values:
        return None
    estimate = bootstrap_interval([float(v) for v in values])
    return {**estimate.as_json(), "n": estimate.n}


async def measure(
    engine: SearchEngine, probes: Probes, seen_questions: Sequence[str], k: int, seed: int
) -> tuple[dict[str, Any], list[Reply]]:
    """The figures of one engine, and its replies. `seen_questions` holds the ids it was tuned on."""
    started = time.perf_counter()
    useful = await ask_all(engine, probes.right, k, 0.0, seed)
    noisy = await ask_all(engine, probes.right, k, 1.0, seed)
    first_hop = await ask_all(engine, probes.first_hop, k, 0.0, seed)
    off_target = await ask_all(engine, probes.off_target, k, 0.0, seed)
    seconds = time.perf_counter() - started
    replies = [*useful, *noisy, *first_hop, *off_target]
    seen = set(seen_questions)

    def answered(replies: Sequence[Reply], chosen: Callable[[Reply], bool] = lambda reply: True) -> dict[str, float] | None:
        return share([r.answers for r in replies if chosen(r)])

    def was_seen(reply: Reply) -> bool:
        return reply.asked.question.id in seen

    def real(asked: Sequence[Probe]) -> dict[str, float] | None:
        return share([documents_hold_answer(a.real, a.question.golden_answers) for a in asked])

    documents = [d.text for r in replies for d in r.documents]
    real_documents = [d.text for a in (*probes.right, *probes.first_hop) for d in a.real]
    figures = {
        "answer_in_useful": answered(useful),
        "answer_in_noisy": answered(noisy),
        "answer_in_useful_seen": answered(useful, was_seen),
        "answer_in_useful_unseen": answered(useful, lambda r: not was_seen(r)),
        "answer_in_noisy_seen": answered(noisy, was_seen),
        "answer_in_noisy_unseen": answered(noisy, lambda r: not was_seen(r)),
        "real_engine_right_query": real(probes.right),
        "answer_off_target": answered(off_target),
        "answer_first_hop": answered(first_hop),
        "real_engine_off_target": real(probes.off_target),
        "real_engine_first_hop": real(probes.first_hop),
        "documents_per_reply": share([len(r.documents) for r in replies]),
        "words_per_document": share([len(text.split()) for text in documents]),
        "malformed_share": share([r.result is None or bool(r.result.remark) for r in replies]),
        "no_document_share": share([r.result is None for r in replies]),
        "near_duplicate_share": share([near_duplicates([d.text for d in r.documents]) for r in replies]),
    }
    style = {
        "real_words_per_document": share([len(text.split()) for text in real_documents]),
        "vocabulary_overlap": vocabulary_overlap(documents, real_documents),
        "self_bleu": self_bleu(documents, seed=seed),
        "real_self_bleu": self_bleu(real_documents, seed=seed),
    }
    speed = {"searches": len(replies), "seconds": seconds, "searches_per_s": len(replies) / seconds}
    return {"figures": figures, "style": style, "speed": speed}, replies


def length_ratio(style: dict[str, Any], figures: dict[str, Any]) -> float | None:
    """Words per document of the simulator, divided by those of the real engine."""
    ours, theirs = figures["words_per_document"], style["real_words_per_document"]
    return ours["mean"] / theirs["mean"] if ours and theirs and theirs["mean"] else None


EXAMPLES = 12  # kept on a card


@dataclass(frozen=True, slots=True)
class CardSettings:
    """`tuning`: the tuning.json of an endpoint's model; a folder has its own. `guard_redraws`: also measure what such a guard would do."""

    tuning: str = ""
    guard_redraws: int = 0
    usd_per_hour: float = 0.0
    judge: str = ""
    judge_model: str = ""
    seed: int = 0


def make_card(chat: Chat, config: EngineConfig, probes: Probes, searches: Path, wanted: CardSettings) -> dict[str, Any]:
    """The card of the simulator that `chat` plays, with the guard set in `config`; `searches` is where the probes come from.

    Raises BadInput for a simulator that cannot be used, SearchFailed if it cannot be reached.
    """
    seen = _questions_tuned_on(wanted.tuning or (str(Path(config.model) / "tuning.json") if config.model and not config.url else ""))
    about = {
        "simulator": config.url or config.model,
        "template": config.template,
        "k": config.k,
        "guard_redraws": config.guard_redraws,
        "guarded": config.guarded,
        "searches": str(searches),
        "seed": wanted.seed,
        "questions_tuned_on": len(seen),
    }
    return about | asyncio.run(_measured(wanted, config, probes, seen, chat))


async def _measured(wanted: CardSettings, config: EngineConfig, probes: Probes, seen: list[str], chat: Chat) -> dict[str, Any]:
    renderer = chat.renderer if isinstance(chat, LocalModel) else Pieces()
    timed = TimedChat(chat, lambda text: len(renderer.observation(text)))
    try:
        measured, replies = await measure(_engine(config, timed, wanted.seed), probes, seen, config.k, wanted.seed)
        seconds, n = measured["speed"]["seconds"], len(probes.right)
        measured["examples"] = [
            example(u.asked.question, u.asked.query, u.documents, noisy.documents, u.asked.real)
            for u, noisy in list(zip(replies[:n], replies[n : 2 * n], strict=True))[:EXAMPLES]
        ]
        measured["style"]["length_ratio"] = length_ratio(measured["style"], measured["figures"])
        measured["speed"] |= {
            "new_tokens": timed.new_tokens,
            "prompt_tokens": timed.prompt_tokens,
            "tokens_per_s": timed.new_tokens / seconds,
            "tokens_are": "the model's" if isinstance(chat, LocalModel) else "pieces of text, about one to a token",
        }
        usd = 1000 * seconds / measured["speed"]["searches"] * wanted.usd_per_hour / 3600
        measured["usd_per_1000_searches"] = usd if wanted.usd_per_hour else None
        if wanted.guard_redraws:
            measured["guard"] = await _guarded(wanted, config, timed, probes, seen)
        if wanted.judge:
            measured["judge"] = await _judged(wanted, replies[: len(probes.right) * 2])
    finally:
        await close(chat)
    return measured


def means_of(card: dict[str, Any]) -> dict[str, float]:
    """A card's figures as plain numbers, those that exist, and `n`, the number of right queries."""
    figures = {name: figure for name, figure in card["figures"].items() if figure}
    return {**{name: figure["mean"] for name, figure in figures.items()}, "n": figures["answer_in_useful"]["n"]}


def example(
    question: Question, query: str, useful: Sequence[Document], noisy: Sequence[Document], real: Sequence[Document]
) -> dict[str, Any]:
    """One query's documents, as cards store them and the viewer shows them."""
    replies = {"useful": useful, "noisy": noisy, "real": real}
    documents = {who: [{"title": d.title, "text": d.text} for d in found] for who, found in replies.items()}
    return {"question": question.text, "golden_answers": list(question.golden_answers), "query": query, **documents}


def _engine(config: EngineConfig, chat: Chat, seed: int) -> SearchEngine:
    return build_engine(config, EngineContext(lambda _: chat, seed=seed))


async def _guarded(wanted: CardSettings, config: EngineConfig, chat: Chat, probes: Probes, seen: list[str]) -> dict[str, Any]:
    """The same figures with the guard on, and how often it acted."""
    engine = _engine(config.model_copy(update={"guard_redraws": wanted.guard_redraws}), chat, wanted.seed)
    assert isinstance(engine, SimulatedEngine)
    measured, _ = await measure(engine, probes, seen, config.k, wanted.seed)
    guard, names = engine.guard, ("answer_in_useful", "answer_in_noisy", "answer_off_target", "answer_first_hop")
    return {
        "redraws_allowed": wanted.guard_redraws,
        "guarded": config.guarded,
        "replies": guard.replies,
        "redrawn_share": guard.redrawn / guard.replies if guard.replies else None,
        "redraws_per_reply": guard.redraws / guard.replies if guard.replies else None,
        "broken_share": guard.broken / guard.replies if guard.replies else None,
        **{name: measured["figures"][name] for name in names},
    }


async def _judged(wanted: CardSettings, replies: list[Reply]) -> dict[str, Any]:
    """How often a judge finds a useful reply useful, and a noisy one noisy."""
    chat = OpenAIChat(wanted.judge, wanted.judge_model)
    judge = Judge(chat, judge_prompt("judge"), Sampling(256, temperature=0.0, seed=wanted.seed))
    meant: dict[str, Quality] = {}
    asked: list[SearchExample] = []
    for i, reply in enumerate(replies):
        if reply.result is not None and reply.result.quality is not None:
            asked.append(SearchExample(str(i), reply.asked.question, reply.asked.query, reply.documents, 0, None, None, None, ""))
            meant[str(i)] = reply.result.quality
    verdicts: list[Verdict] = []
    await judge_all(judge, chat, asked, 16, verdicts.append)
    told = [v for v in verdicts if v.quality]
    return {
        **{f"{q.value}_is_{q.value}": share([v.quality is q for v in told if meant[v.id] is q]) for q in Quality},
        "unjudged": len(verdicts) - len(told),
    }


def _questions_tuned_on(file: str) -> list[str]:
    """The ids in a tuning.json; none if a folder has none. Raises BadFile if a named file does not exist."""
    if not file or (not Path(file).exists() and file.endswith("/tuning.json") and Path(file).parent.exists()):
        return []
    try:
        return [str(q) for q in json.loads(Path(file).read_text())["questions"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not Path(file).exists() and not Path(file).parent.exists():
            return []  # a hub id
        raise BadFile(f"{file} is not the tuning.json of a simulator ({type(error).__name__}); correct or omit --tuning.") from error


def card_page(card: dict[str, Any]) -> str:
    """The card as one HTML page that needs no network."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("card.html.jinja").render(card=card, labels=LABELS)


LABELS = {
    "answer_in_useful": "answer in useful replies",
    "answer_in_noisy": "answer in noisy replies",
    "answer_in_useful_seen": "answer in useful replies, questions tuned on",
    "answer_in_useful_unseen": "answer in useful replies, other questions",
    "answer_in_noisy_seen": "answer in noisy replies, questions tuned on",
    "answer_in_noisy_unseen": "answer in noisy replies, other questions",
    "real_engine_right_query": "the real engine, for the queries that ask for the answer",
    "answer_off_target": "answer given to another question's query",
    "real_engine_off_target": "the real engine, for the same queries",
    "answer_first_hop": "answer given to a first-hop query",
    "real_engine_first_hop": "the real engine, for the same first-hop queries",
    "documents_per_reply": "documents per reply",
    "words_per_document": "words per document",
    "malformed_share": "malformed replies",
    "no_document_share": "replies without any document",
    "near_duplicate_share": "near-duplicate documents",
}
