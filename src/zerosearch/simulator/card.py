"""How good a simulator is: does it obey the keyword, and does a bad query stay a bad query?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from zerosearch.ports import SearchEngine
from zerosearch.scoring import cover_match
from zerosearch.types import Document, Question, SearchRequest, SearchResult

EXAMPLES = 12  # that a card keeps


@dataclass(frozen=True, slots=True)
class Probe:
    """A question with a query that asks for its last hop, and one that asks for something else."""

    question: Question
    right_query: str
    off_target_query: str


async def simulator_card(simulator: SearchEngine, real: SearchEngine, probes: Sequence[Probe], k: int = 5, seed: int = 0) -> dict[str, Any]:
    """P(answer | useful, right query), P(answer | noisy, right query), P(answer | useful, off-target query) and the real engine's rates.

    "Answer" means that a golden answer stands in one of the reply's documents. A noise rate of 0 or 1 leaves the coin no choice.
    `examples` are some of the replies, beside what the real engine found.
    """

    async def ask(engine: SearchEngine, noise_rate: float, off_target: bool) -> list[SearchResult]:
        requests = (
            SearchRequest(p.off_target_query if off_target else p.right_query, p.question, k, noise_rate, seed, step=int(noise_rate))
            for p in probes
        )
        return list(await asyncio.gather(*map(engine.search, requests)))

    def answered(results: Sequence[SearchResult]) -> float:
        pairs = zip(probes, results, strict=True)
        return fmean(any(cover_match(d.text, p.question.golden_answers) for d in r.documents) for p, r in pairs)

    useful, noisy, astray = await ask(simulator, 0.0, False), await ask(simulator, 1.0, False), await ask(simulator, 0.0, True)
    real_right, real_astray = await ask(real, 0.0, False), await ask(real, 0.0, True)
    replies = [*useful, *noisy, *astray]
    return {
        "answer_in_useful": answered(useful),
        "answer_in_noisy": answered(noisy),
        "answer_off_target": answered(astray),
        "real_engine_right_query": answered(real_right),
        "real_engine_off_target": answered(real_astray),
        "documents_per_reply": fmean(len(r.documents) for r in replies),
        "malformed_share": fmean(bool(r.remark) for r in replies),
        "words_per_document": fmean(len(d.text.split()) for r in replies for d in r.documents),
        "n": len(probes),
        "examples": [
            example(p.question, p.right_query, u.documents, n.documents, r.documents)
            for p, u, n, r in list(zip(probes, useful, noisy, real_right, strict=True))[:EXAMPLES]
        ],
    }


def example(
    question: Question, query: str, useful: Sequence[Document], noisy: Sequence[Document], real: Sequence[Document]
) -> dict[str, Any]:
    """One query's documents, as cards keep them and the viewer shows them."""
    replies = {"useful": useful, "noisy": noisy, "real": real}
    documents = {who: [{"title": d.title, "text": d.text} for d in found] for who, found in replies.items()}
    return {"question": question.text, "golden_answers": list(question.golden_answers), "query": query, **documents}
