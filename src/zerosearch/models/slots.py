"""The sampler's state on the host: conversations, the calls that wait or run, and a table with a row for every slot of the KV cache."""

import asyncio
from dataclasses import dataclass

import numpy as np

from zerosearch.core.types import Generation, Sampling
from zerosearch.models.kv_cache import Ints

NOWHERE = -1


@dataclass(eq=False, slots=True)
class CachedSession:
    """One conversation. `request` is set while a call waits or runs; `slot` is NOWHERE before the first and when evicted."""

    name: str
    slot: int = NOWHERE
    request: "Request | None" = None
    evicted: Ints | None = None  # what was cached when it was evicted


@dataclass(eq=False, slots=True)
class Request:
    """One call of `generate`, until it is answered."""

    session: CachedSession
    ids: Ints
    begin: int  # where the continuation begins
    end: int  # where it ends because no room is left
    sampling: Sampling
    future: asyncio.Future[Generation]
    arrived: int  # in ticks


class Slots:
    """The host's state of every slot, one entry or row each; entries move together with the KV cache."""

    def __init__(self) -> None:
        self.owner = np.empty(0, object)
        self.lengths = np.empty(0, np.int64)  # tokens whose keys and values are cached
        self.used = np.empty(0, np.int64)  # tick of the last use
        self.end = np.empty(0, np.int64)
        self.watch = np.empty(0, np.int64)  # row of StopWatch.table
        self.inverse_temperature = np.empty(0, np.float32)
        self.greedy = np.empty(0, np.bool_)
        self.top_p = np.empty(0, np.float32)
        self.tokens = np.empty((0, 0), np.int64)
        self.logprobs = np.empty((0, 0), np.float32)
        self.values = np.empty((0, 0), np.float32)
        self.uniforms = np.empty((0, 0), np.float32)

    def reserve(self, slots: int, width: int) -> None:
        old_slots, old_width = self.tokens.shape
        if slots > old_slots or width > old_width:
            slots, width = max(slots, old_slots), max(width, old_width)
            for name, old in vars(self).items():
                new = np.zeros((slots, width)[: old.ndim], old.dtype)
                new[tuple(slice(size) for size in old.shape)] = old
                setattr(self, name, new)
            self.owner[old_slots:] = None

    def swap(self, some: list[int], others: list[int]) -> None:
        both, turned = some + others, others + some
        for array in vars(self).values():
            array[both] = array[turned]
        for slot in both:
            if self.owner[slot] is not None:
                self.owner[slot].slot = slot

    def overlap(self, ids: Ints, slot: int) -> int:
        """How many leading tokens of `ids` the slot has cached; never all, because the last one's logits are needed."""
        return common_prefix(ids[:-1], self.tokens[slot, : self.lengths[slot]])


def common_prefix(a: Ints, b: Ints) -> int:
    """Length of the longest common beginning."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length
