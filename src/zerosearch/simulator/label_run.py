"""Labelling a directory of searches, as `zerosearch label` does it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from zerosearch.core.errors import BadConfig, GenerationFailed, RunFailed
from zerosearch.core.types import Sampling
from zerosearch.net.chat import OpenAIChat
from zerosearch.runs.progress import Progress
from zerosearch.simulator.judge import Judge, Verdict, judge_all, judge_prompt
from zerosearch.simulator.label import RULES, JudgeJournal, Labels, combine, labellers_of, write_labels
from zerosearch.simulator.searches import SearchesDirectory, SearchExample


@dataclass(frozen=True, slots=True)
class JudgeWanted:
    """`sample` searches are judged (0: all), drawn with `seed`; the others stay without the judge's word."""

    url: str = ""
    model: str = ""
    prompt: str = "judge"
    sample: int = 0
    seed: int = 0
    concurrency: int = 16
    max_attempts: int = 3


def label_directory(path: Path, by: str, combination: str, wanted: JudgeWanted, console: Console) -> dict[str, Any]:
    """Label what is not labelled yet, write all labels and the report. Raises RunFailed when the judge dies: what it said is kept."""
    names = labellers_of(by)
    if "judge" in names and not wanted.url:
        raise BadConfig("--by judge needs --judge URL, an OpenAI-compatible endpoint, for instance http://localhost:8000/v1.")
    combine([], {}, combination)  # a mistyped one is said before anybody is asked
    directory = SearchesDirectory(path)
    searches = directory.read_searches()
    said: dict[str, Labels] = {}
    for name in names:
        if name == "judge":
            said[name] = _judged(directory, searches, wanted, console)
        else:
            said[name] = {found.id: RULES[name](found) for found in searches}
    labelling = combine(searches, said, combination)
    write_labels(directory, labelling)
    return labelling.report()


def _judged(directory: SearchesDirectory, searches: list[SearchExample], wanted: JudgeWanted, console: Console) -> Labels:
    chosen = searches
    if wanted.sample and wanted.sample < len(searches):
        chosen = random.Random(f"judge/{wanted.seed}").sample(searches, wanted.sample)
    chat = OpenAIChat(wanted.url, wanted.model, max_concurrency=wanted.concurrency)
    judge = Judge(chat, judge_prompt(wanted.prompt), Sampling(256, temperature=0.0, seed=wanted.seed), wanted.max_attempts)
    journal = JudgeJournal(directory, f"{wanted.model}/{judge.fingerprint}")
    left = [found for found in chosen if found.id not in journal.verdicts]
    with Progress("judging", console) as progress:

        def keep(verdict: Verdict) -> None:
            journal.keep(verdict)
            progress.step(min(len(journal.verdicts), len(chosen)), len(chosen))

        try:
            asyncio.run(judge_all(judge, chat, left, wanted.concurrency, keep))
        except GenerationFailed as error:
            done = sum(found.id in journal.verdicts for found in chosen)
            raise RunFailed(f"the judge failed after {done} of {len(chosen)} searches: {error} The same command goes on there.") from error
    unasked = "not in the judge's sample"
    return {f.id: journal.verdicts.get(f.id) or Verdict(f.id, None, unasked) for f in searches}
