"""Useful or noisy, search by search: by a judge, by the answer's presence, by how the rollout ended, or by several of them together."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console

from zerosearch.core.errors import BadConfig, BadFile, GenerationFailed, RunFailed, one_of
from zerosearch.core.scoring import documents_hold_answer, is_yes_no
from zerosearch.core.types import Quality, Sampling
from zerosearch.data.files import append_whole, whole_lines, write_atomically, writing
from zerosearch.data.questions import read_objects
from zerosearch.net.chat import OpenAIChat
from zerosearch.runs.progress import Progress
from zerosearch.simulator.judge import Judge, Verdict, judge_all, judge_prompt
from zerosearch.simulator.pairs import SearchPair
from zerosearch.simulator.searches import SearchesDirectory, SearchExample

Labels = dict[str, Verdict]  # by the search's id


def by_answer(found: SearchExample) -> Verdict:
    """Useful iff a golden answer occurs in the documents. A yes or no occurs anywhere, so such questions get no label."""
    if is_yes_no(found.question.golden_answers):
        return Verdict(found.id, None, "the golden answer is a yes or no")
    present = documents_hold_answer(found.documents, found.question.golden_answers)
    return Verdict(found.id, Quality.USEFUL if present else Quality.NOISY, "the answer is there" if present else "no golden answer")


def by_outcome(found: SearchExample) -> Verdict:
    """Useful iff the rollout ended in exactly the right answer: the paper's other rule, which judges all searches of a rollout alike."""
    if found.em is None:
        return Verdict(found.id, None, "the rollout was never scored")
    return Verdict(found.id, Quality.USEFUL if found.em == 1 else Quality.NOISY, f"exact match {found.em:g}")


RULES: dict[str, Callable[[SearchExample], Verdict]] = {"answer": by_answer, "outcome": by_outcome}
LABELLERS = ("judge", *RULES)


# the joint label of several labellers, if each has given one
COMBINATIONS: dict[str, Callable[[Sequence[Quality]], Quality | None]] = {
    "agree": lambda votes: votes[0] if len(set(votes)) == 1 else None,
    "all": lambda votes: Quality.USEFUL if all(v is Quality.USEFUL for v in votes) else Quality.NOISY,
    "any": lambda votes: Quality.USEFUL if any(v is Quality.USEFUL for v in votes) else Quality.NOISY,
}


@dataclass(frozen=True, slots=True)
class Labelling:
    """`said` holds each labeller's verdicts, `final` the joint ones; both for every search."""

    said: Mapping[str, Labels]
    final: Labels

    def report(self) -> dict[str, Any]:
        kappas = {}
        for a, b in combinations(self.said, 2):
            both = [i for i in self.final if self.said[a][i].quality and self.said[b][i].quality]
            kappa = cohens_kappa([self.said[a][i].quality for i in both], [self.said[b][i].quality for i in both])
            equal = sum(self.said[a][i].quality is self.said[b][i].quality for i in both)
            kappas[f"{a}, {b}"] = {"kappa": kappa, "equal": equal / len(both) if both else None, "n": len(both)}
        labelled = _counts(self.final)
        total = labelled["useful"] + labelled["noisy"]
        return {
            "n": len(self.final),
            "labellers": {name: _counts(labels) for name, labels in self.said.items()},
            "agreement": kappas,
            "labels": labelled,
            "useful_share": labelled["useful"] / total if total else None,
            "balanced_pairs": 2 * min(labelled["useful"], labelled["noisy"]),
        }


def cohens_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float | None:
    """κ = (p_o - p_e) / (1 - p_e) (Cohen, 1960), in [-1, 1]: 1 is full agreement, 0 agreement by chance.

    p_o is the share of items with equal labels, p_e = Σ_label p_a(label) · p_b(label). None if it is not defined: no items, or both
    labellers give the same label to all.

    Pencil: a = uuuunn, b = uuunnn. p_o = 5/6, p_e = 4/6·3/6 + 2/6·3/6 = 1/2, κ = (5/6 - 1/2) / (1/2) = 2/3.
    """
    assert len(a) == len(b)
    n = len(a)
    if not n:
        return None
    observed = sum(x == y for x, y in zip(a, b, strict=True)) / n
    counts_a, counts_b = Counter(a), Counter(b)
    by_chance = sum(counts_a[label] * counts_b[label] for label in counts_a) / n**2
    return None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)


def _counts(labels: Labels) -> dict[str, Any]:
    counts = Counter(v.quality for v in labels.values())
    causes = Counter(v.reason.partition(",")[0] for v in labels.values() if v.quality is None)
    return {
        "useful": counts[Quality.USEFUL],
        "noisy": counts[Quality.NOISY],
        "unlabelled": counts[None],
        "causes": dict(causes.most_common()),
    }


def labellers_of(by: str) -> list[str]:
    """ "judge,answer" → the labellers. Raises BadConfig for an unknown one."""
    names = [one_of("labeller", name.strip(), LABELLERS) for name in by.split(",")]
    if len(set(names)) < len(names):
        raise BadConfig(f"--by '{by}' names a labeller twice; name each only once.")
    return names


def combine(searches: Sequence[SearchExample], said: Mapping[str, Labels], combination: str = "agree") -> Labelling:
    """The labels of all searches. A search that a labeller leaves unlabelled has no label, nor has one on which they do not `agree`."""
    rule = COMBINATIONS[one_of("combination", combination, COMBINATIONS)]
    final: Labels = {}
    for found in searches:
        verdicts = {name: labels[found.id] for name, labels in said.items()}
        votes = [v.quality for v in verdicts.values() if v.quality]
        silent = next((f"{name}: {v.reason}" for name, v in verdicts.items() if v.quality is None), "")
        quality = None if silent else rule(votes)
        reason = silent or ("the labellers disagree" if quality is None else "; ".join(v.reason for v in verdicts.values() if v.reason))
        final[found.id] = Verdict(found.id, quality, reason)
    return Labelling(said, final)


def write_labels(directory: SearchesDirectory, labelling: Labelling) -> None:
    for name in labelling.said.keys() & RULES.keys():
        write_atomically(directory.said_by(name), "".join(map(line_of, labelling.said[name].values())))
    write_atomically(directory.labels, "".join(map(line_of, labelling.final.values())))
    write_atomically(directory.label_report, json.dumps(labelling.report(), indent=2) + "\n")


def line_of(verdict: Verdict, **more: str) -> str:
    return json.dumps({**asdict(verdict), **more}) + "\n"


def read_labelled(directory: SearchesDirectory) -> list[SearchPair]:
    """The searches that have a label. Raises BadFile if there are none, or none of one kind, which it names."""
    searches = {found.id: found for found in directory.read_searches()}
    if not directory.labels.exists():
        raise BadFile(f"'{directory.path}' has no labels.jsonl; make it with: zerosearch label {directory.path} --by answer.")
    pairs: list[SearchPair] = []
    for line, row in read_objects(directory.labels):
        if row.get("id") not in searches:
            raise BadFile(f"{directory.labels}, line {line}: this label is for an unknown search; label again.")
        if row["quality"]:
            found = searches[row["id"]]
            pairs.append(SearchPair(found.question, found.query, found.documents, Quality(row["quality"])))
    check_both_sides(pairs, str(directory.labels))
    return pairs


def check_both_sides(pairs: Sequence[SearchPair], where: str) -> None:
    counts = Counter(pair.quality for pair in pairs)
    missing = [quality.value for quality in Quality if not counts[quality]]
    if missing:
        have = ", ".join(f"{counts[q]} {q.value}" for q in Quality)
        raise BadFile(f"{where}: no {' and no '.join(missing)} search is labelled ({have}); collect more, or label by another rule.")


class JudgeJournal:
    """The judge's verdicts, each written as soon as it is given, so that none is asked for twice; another judge's are asked for again."""

    def __init__(self, directory: SearchesDirectory, fingerprint: str) -> None:
        self._file, self._fingerprint = directory.said_by("judge"), fingerprint
        self.verdicts: Labels = {}
        if self._file.exists():
            for row in map(json.loads, whole_lines(self._file)):
                if row.pop("judge") == fingerprint:
                    self.verdicts[row["id"]] = Verdict(row["id"], Quality(row["quality"]) if row["quality"] else None, row["reason"])
            write_atomically(self._file, "".join(line_of(v, judge=fingerprint) for v in self.verdicts.values()))

    def keep(self, verdict: Verdict) -> None:
        with writing(self._file):
            append_whole(self._file, line_of(verdict, judge=self._fingerprint).encode())
        self.verdicts[verdict.id] = verdict


@dataclass(frozen=True, slots=True)
class JudgeWanted:
    """`sample` searches are judged (0: all), drawn with `seed`; the others get no verdict."""

    url: str = ""
    model: str = ""
    prompt: str = "judge"
    sample: int = 0
    seed: int = 0
    concurrency: int = 16
    max_attempts: int = 3


def label_directory(path: Path, by: str, combination: str, wanted: JudgeWanted, console: Console) -> dict[str, Any]:
    """Label what is not labelled yet, write all labels and the report. Raises RunFailed if the judge fails; its verdicts are kept."""
    names = labellers_of(by)
    if "judge" in names and not wanted.url:
        raise BadConfig("--by judge needs --judge URL, an OpenAI-compatible endpoint, for instance http://localhost:8000/v1.")
    combine([], {}, combination)  # a mistyped one fails before the judge is asked
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
            raise RunFailed(f"the judge failed after {done} of {len(chosen)} searches: {error} The same command resumes it.") from error
    unasked = "not in the judge's sample"
    return {f.id: journal.verdicts.get(f.id) or Verdict(f.id, None, unasked) for f in searches}
