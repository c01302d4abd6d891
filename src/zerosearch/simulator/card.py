"""A simulator's card from real searches: does it obey the keyword, does a bad query stay a bad query, does it read like the real engine?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zerosearch.core.errors import GenerationFailed, SearchFailed
from zerosearch.core.interfaces import Chat, SearchEngine
from zerosearch.core.scoring import documents_hold_answer
from zerosearch.core.statistics import bootstrap_interval
from zerosearch.core.types import Document, Sampling, SearchRequest, SearchResult
from zerosearch.simulator.probe_set import Probe, Probes
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
    """A noise rate of 0 or 1 leaves the coin no choice. Raises SearchFailed when the simulator is out of reach."""
    places = asyncio.Semaphore(concurrency)

    async def ask(asked: Probe) -> Reply:
        async with places:
            try:
                request = SearchRequest(asked.query, asked.question, k, noise_rate, seed, step=int(noise_rate))
                return Reply(asked, await engine.search(request))
            except SearchFailed as error:
                if isinstance(error.__cause__, GenerationFailed):
                    raise
                return Reply(asked, None)  # it answered, but not with documents: that is a figure of the card

    return list(await asyncio.gather(*map(ask, probes)))


def share(values: Sequence[float | bool]) -> dict[str, float] | None:
    """Mean, 95% interval and n; None of nothing."""
    if not values:
        return None
    estimate = bootstrap_interval([float(v) for v in values])
    return {**estimate.as_json(), "n": estimate.n}


async def measure(
    engine: SearchEngine, probes: Probes, seen_questions: Sequence[str], k: int, seed: int
) -> tuple[dict[str, Any], list[Reply]]:
    """The figures of one engine, and its replies. `seen_questions` are the ids it was tuned on."""
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
    """Words a document of the simulator, over those of the real engine."""
    ours, theirs = figures["words_per_document"], style["real_words_per_document"]
    return ours["mean"] / theirs["mean"] if ours and theirs and theirs["mean"] else None
