"""A language model judges whether real documents are useful or noisy, and why. ZeroSearch (arXiv 2505.04588), section 3.2."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from zerosearch.core.errors import ZeroSearchError, first_error, one_line, one_of
from zerosearch.core.interfaces import Chat, close
from zerosearch.core.templates import file_text, fill, require_placeholders
from zerosearch.core.types import Quality, Sampling
from zerosearch.engines.documents import render_documents
from zerosearch.simulator.searches import SearchExample


def judge_prompt(name: str) -> str:
    """The built-in judge's prompt ("judge"), or the text of a file; BadConfig if it lacks {question} or {documents}."""
    if (text := file_text(name)) is None:
        return Path(__file__).with_name(one_of("judge prompt", name, ("judge",)) + ".txt").read_text(encoding="utf-8")
    require_placeholders(name, text, ("question", "documents"))
    return text


_OBJECT = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A labeller's verdict on one search. `quality` is None if it gives none; then `reason` says why."""

    id: str
    quality: Quality | None
    reason: str


def read_verdict(reply: str) -> tuple[Quality, str] | None:
    """(verdict, reason) of the last JSON object in a reply that holds a verdict; None for prose, which is never guessed from."""
    for text in reversed(_OBJECT.findall(reply)):
        try:
            match json.loads(text):
                case {"verdict": str(verdict), **rest} if verdict.strip().lower() in list(Quality):
                    return Quality(verdict.strip().lower()), " ".join(str(rest.get("reason", "")).split())
                case _:
                    continue
        except ValueError:
            continue
    return None


class Judge:
    """`template` holds {question}, {golden_answers}, {query} and {documents}."""

    def __init__(self, chat: Chat, template: str, sampling: Sampling, max_attempts: int = 3) -> None:
        self._chat, self._template, self._sampling, self._max_attempts = chat, template, sampling, max_attempts

    @property
    def fingerprint(self) -> str:
        """Two judges with the same fingerprint are asked in the same words."""
        return blake2b(repr((self._template, self._sampling, self._max_attempts)).encode(), digest_size=8).hexdigest()

    async def verdict(self, found: SearchExample) -> Verdict:
        """A reply without a verdict is asked for again, `max_attempts` times in all. Raises GenerationFailed, as the chat does."""
        values = {
            "question": found.question.text,
            "golden_answers": "; ".join(found.question.golden_answers),
            "query": found.query,
            "documents": render_documents(found.documents) or "(none)",
        }
        prompt, reply = fill(self._template, values), ""
        for attempt in range(self._max_attempts):
            # a model asked again with the same seed repeats its reply, and always when greedy
            sampling = replace(
                self._sampling, seed=self._sampling.seed + attempt, temperature=self._sampling.temperature if attempt == 0 else 0.7
            )
            reply = await self._chat.complete(prompt, sampling)
            if (read := read_verdict(reply)) is not None:
                return Verdict(found.id, *read)
        return Verdict(found.id, None, f"no verdict in {self._max_attempts} replies, the last: {one_line(reply, 80)!r}")


async def judge_all(judge: Judge, chat: Chat, searches: Sequence[SearchExample], concurrency: int, keep: Callable[[Verdict], Any]) -> None:
    """Pass each verdict to `keep` as soon as it arrives; the first failure ends everything. Raises GenerationFailed."""
    left = iter(searches)

    async def work() -> None:
        for found in left:  # one iterator for all tasks: whichever is free takes the next
            keep(await judge.verdict(found))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(searches))):
                group.create_task(work())
    except* ZeroSearchError as failures:
        raise first_error(failures) from None
    finally:
        await close(chat)
