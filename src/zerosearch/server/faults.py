"""Faults on demand, to test how an agent handles them: each has a rate and a seed, and a repeated request draws again.

latency         the reply is delayed, for a time drawn from a distribution    timeout        no reply until the client has long gone
rate-limit      429 with Retry-After       server-error   503              empty          no results
truncated       JSON that stops in the middle
stale           an old copy: every year in it is years earlier                 contradictory  the best document again, saying the opposite
"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from random import Random
from typing import Self

from zerosearch.core.errors import BadConfig, one_of
from zerosearch.core.types import Document

# in drawing order: the first fault drawn of its kind is used
FAULTS = ("latency", "timeout", "rate-limit", "server-error", "empty", "truncated", "stale", "contradictory")
_REFUSALS = ("timeout", "rate-limit", "server-error")
_REMEMBERED = 100_000
_YEAR = re.compile(r"\b(1[5-9]|20)\d\d\b")
_NUMBER = re.compile(r"\b\d{1,9}\b")
_IS = re.compile(r"\b(is|was|are|were|has|had|did|can|will)\b(?! not\b)")


@dataclass(frozen=True, slots=True)
class Latency:
    """`fixed:S`, `uniform:LOW:HIGH`, `exponential:MEAN` or `lognormal:MEDIAN:SIGMA`, in seconds; never more than a minute."""

    kind: str = "lognormal"
    a: float = 0.3
    b: float = 0.8

    @classmethod
    def parse(cls, text: str) -> Self:
        kind, *numbers = text.split(":")
        one_of("latency", kind, _LATENCIES)
        try:
            values = [float(number) for number in numbers]
            if len(values) != _LATENCIES[kind][0] or not all(math.isfinite(value) and value >= 0 for value in values):
                raise ValueError
        except ValueError:
            raise BadConfig(f"--latency '{text}' is not {(cls.__doc__ or '').partition(', in')[0].replace('`', '')}.") from None
        return cls(kind, values[0], values[-1])

    def draw(self, rng: Random) -> float:
        return min(_LATENCIES[self.kind][1](rng, self.a, self.b), 60.0)


# kind → how many numbers it takes, and how a latency is drawn with them
_LATENCIES: dict[str, tuple[int, Callable[[Random, float, float], float]]] = {
    "fixed": (1, lambda rng, seconds, _: seconds),
    "uniform": (2, lambda rng, low, high: rng.uniform(low, high)),
    "exponential": (1, lambda rng, mean, _: rng.expovariate(1 / mean) if mean else 0.0),
    "lognormal": (2, lambda rng, median, sigma: median * math.exp(rng.gauss(0, sigma))),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults of one request: their `names`, `latency_s` its delay, and `rng` for the other draws."""

    names: tuple[str, ...]
    latency_s: float
    rng: Random

    def __contains__(self, name: str) -> bool:
        return name in self.names


class Faults:
    """Rates by name, each a probability. Raises BadConfig for a name that is not in FAULTS, or a rate that is not a probability."""

    def __init__(self, rates: Mapping[str, float] | None = None, latency: Latency | None = None, seed: int = 0) -> None:
        self.rates = dict(rates or {})
        check_rates(self.rates)
        self._latency, self._seed = latency or Latency(), seed
        self._asked: OrderedDict[bytes, int] = OrderedDict()

    def plan(self, who: Sequence[str], rates: Mapping[str, float] | None = None) -> Plan | None:
        """The faults of a request; `who` identifies it (seed, query, key), `rates` are its own, if it sent any.

        The n-th request with the same `who` makes the n-th draw, so an agent that retries may succeed, and in whatever order
        requests come, each gets the same faults. None if it gets no fault.
        """
        chances = self.rates if rates is None else rates
        if not chances:
            return None
        name = blake2b("\0".join(who).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        times = self._asked.pop(name, 0)
        self._asked[name] = times + 1
        if len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        rng = Random(f"faults/{self._seed}/{name.hex()}/{times}")
        draws = {fault: rng.random() for fault in FAULTS}
        struck = [fault for fault in FAULTS if draws[fault] < chances.get(fault, 0.0)]
        refusal = next((fault for fault in struck if fault in _REFUSALS), None)
        if refusal is not None:
            struck = [fault for fault in struck if fault in ("latency", refusal)]
        return Plan(tuple(struck), self._latency.draw(rng) if "latency" in struck else 0.0, rng) if struck else None


def parse_rates(texts: Sequence[str]) -> dict[str, float]:
    """Rates from texts NAME=RATE. Raises BadConfig."""
    rates: dict[str, float] = {}
    for text in texts:
        name, _, rate = text.strip().partition("=")
        try:
            rates[name] = float(rate)
        except ValueError:
            raise BadConfig(f"'{text[:80]}' is not of the form FAULT=RATE; write for instance rate-limit=0.1.") from None
    check_rates(rates)
    return rates


def check_rates(rates: Mapping[str, float]) -> None:
    for name, rate in rates.items():
        one_of("fault", name[:80], FAULTS)
        if not 0 <= rate <= 1:
            raise BadConfig(f"fault {name}={rate:g} is not a probability; choose a number from 0 to 1.")


def corrupt(documents: Sequence[Document], plan: Plan) -> tuple[Document, ...]:
    """The documents after the faults."""
    if "empty" in plan:
        return ()
    if "stale" in plan:
        documents = [_stale(document, plan.rng) for document in documents]
    if "contradictory" in plan and documents:
        documents = [documents[0], _contradicting(documents[0], plan.rng), *documents[1:]][: len(documents) + (len(documents) == 1)]
    return tuple(documents)


def truncated(body: bytes, plan: Plan) -> bytes:
    """The body, cut somewhere after its first and before its last byte."""
    return body[: plan.rng.randint(1, max(1, len(body) - 2))]


def _stale(document: Document, rng: Random) -> Document:
    age = rng.randint(3, 15)
    text = _YEAR.sub(lambda match: str(int(match[0]) - age), document.text)
    return replace(document, text=f"(archived {age} years ago) {text}")


def _contradicting(document: Document, rng: Random) -> Document:
    """Other numbers and a denied first statement, under a new address."""
    text = _NUMBER.sub(lambda match: str(int(match[0]) + rng.randint(1, 9)), document.text)
    denied = _IS.sub(r"\1 not", text, count=1)
    return replace(document, text=denied if denied != document.text else f"It is not true that {document.text}", id="")
