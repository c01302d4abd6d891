"""How often the documents an engine finds hold the answer: an upper bound for a policy that reads only those."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zerosearch.core.errors import BadConfig, SearchFailed
from zerosearch.core.interfaces import SearchEngine, close
from zerosearch.core.scoring import is_yes_no, rank_of_answer
from zerosearch.core.statistics import Estimate, bootstrap_interval
from zerosearch.core.types import Question, SearchRequest

_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class Recall:
    """`at[k]`: share of the n questions with a gold answer in the top k. Left out: yes/no golds, which any text holds, and failures."""

    at: dict[int, Estimate]
    n: int
    yes_no: int
    failures: tuple[tuple[str, str], ...]  # question id, cause

    def as_dict(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "left_out_yes_no": self.yes_no,
            "failed": len(self.failures),
            "failures": [{"id": question, "cause": cause} for question, cause in self.failures[:20]],
            "recall": {str(k): estimate.as_json() for k, estimate in self.at.items()},
        }


async def recall(
    engine: SearchEngine, questions: Sequence[Question], ks: Sequence[int], on_done: Callable[[], None] = lambda: None
) -> Recall:
    """Search each question's own words, once, for the largest k. Raises BadConfig if there is no k."""
    if not ks or min(ks) < 1:
        raise BadConfig(f"k = {', '.join(map(str, ks)) or '(none)'} must be at least 1; for instance --k 1,5,20.")
    asked = [question for question in questions if not is_yes_no(question.golden_answers)]
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def rank_of(question: Question) -> int | SearchFailed | None:
        async with slots:
            try:
                result = await engine.search(SearchRequest(question.text, question, k=max(ks)))
                return rank_of_answer(result.documents, question.golden_answers)
            except SearchFailed as error:
                return error
            finally:
                on_done()

    try:
        ranks = await asyncio.gather(*map(rank_of, asked))
    finally:
        await close(engine)
    failures = tuple((q.id, str(rank)) for q, rank in zip(asked, ranks, strict=True) if isinstance(rank, SearchFailed))
    found = [rank for rank in ranks if not isinstance(rank, SearchFailed)]
    at = {k: bootstrap_interval([float(rank is not None and rank <= k) for rank in found]) for k in sorted(set(ks))} if found else {}
    return Recall(at, len(found), len(questions) - len(asked), failures)
