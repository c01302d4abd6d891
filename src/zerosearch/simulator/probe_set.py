"""The searches of a simulator's card: good queries and bad ones, each with what the real engine found."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zerosearch.core.errors import BadFile
from zerosearch.core.scoring import documents_hold_answer, is_yes_no
from zerosearch.core.types import Document, Question
from zerosearch.simulator.searches import SearchExample

Real = tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """A question, a query, and what the real engine found for that query."""

    question: Question
    query: str
    real: Real


@dataclass(frozen=True, slots=True)
class Probes:
    """`right`: queries with which the real engine found the answer (in the micro world: that ask for it). `first_hop`: those after which
    the rollout had to search again. `off_target`: each question of `right` with a query made for another question."""

    right: tuple[Probe, ...]
    first_hop: tuple[Probe, ...]
    off_target: tuple[Probe, ...]


def probes_of(searches: Sequence[SearchExample], limit: int, seed: int) -> Probes:
    """At most `limit` of each kind, a seeded sample. Yes/no questions are left out, because their answer occurs anywhere.

    Raises BadFile if the real engine never found an answer, because useful replies then cannot be measured.
    """
    usable = [f for f in searches if not is_yes_no(f.question.golden_answers)]
    rollouts: dict[str, list[SearchExample]] = defaultdict(list)
    for found in usable:
        rollouts[found.id.rpartition("/")[0]].append(found)
    rng = random.Random(f"probes/{seed}")

    def some(found: Iterable[SearchExample]) -> tuple[Probe, ...]:
        once = list({(f.question.id, f.query): Probe(f.question, f.query, f.documents) for f in found}.values())
        return tuple(rng.sample(once, min(limit, len(once))))

    right = some(f for f in usable if documents_hold_answer(f.documents, f.question.golden_answers))
    if not right:
        raise BadFile(f"the real engine found the answer in none of the {len(searches)} searches; collect more before you make a card.")
    first_hop = some(f for rollout in rollouts.values() for f in rollout[:-1])
    others = [Probe(f.question, f.query, f.documents) for f in usable]
    off_target: list[Probe] = []
    for probe in right:
        foreign = [o for o in others if o.question.id != probe.question.id]
        if foreign:
            other = rng.choice(foreign)
            off_target.append(Probe(probe.question, other.query, other.real))
    return Probes(right, first_hop, tuple(off_target))
