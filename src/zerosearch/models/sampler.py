"""Continuous batching over a Hugging Face causal LM, inside one event loop: no threads, no timers.

A tick admits waiting requests (prefill) and samples one token for every active row (decode). Rows join and leave between
ticks; what happens is a pure function of the order in which requests arrive, so one seed gives one result on a CPU.

Slots, in the order the KV cache stores them:   active rows 0 … n-1 │ parked sessions and leftovers, mixed
A parked session waits for its search. A leftover belongs to no session, but its prefix can still be copied.

Suffixes: N rows of one forward, V vocabulary, E size of a state, S slots, W tokens a slot can hold.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosearch.core.errors import GenerationFailed
from zerosearch.core.types import Finish, Generation, Sampling
from zerosearch.models.kv_cache import RowModel
from zerosearch.models.sampling import draw, uniforms
from zerosearch.models.slots import NOWHERE, CachedSession, Request, Slots, common_prefix
from zerosearch.models.stops import StopWatch, end_ids

SHARE_AT_LEAST = 8  # copying a row costs about as much as prefilling this many tokens


@dataclass(slots=True)
class Stats:
    """Counts since the sampler was made. `prefilled / new` is 1 unless evictions caused work to be repeated."""

    new: int = 0  # prompt tokens that neither this session nor a row with the same beginning had prefilled
    prefilled: int = 0  # prompt tokens that went through the model
    shared: int = 0  # prompt tokens whose keys and values were copied from another row
    padded: int = 0  # positions computed only to fill a rectangle
    prefills: int = 0  # forward passes
    steps: int = 0
    decoded: int = 0  # tokens sampled
    evictions: int = 0


class Arbiter:
    """Whose turn it is when several samplers share a device: the one with the most ready rows; the others hold back.

    So the first few prompts of a simulator wait while the policy is busy, and then run as one full batch.
    The active sampler keeps its turn until another is fuller by `margin`. Ties go to the one registered first.
    """

    def __init__(self, margin: float = 0.5) -> None:
        self._margin = margin
        self._samplers: list[Sampler] = []
        self._current: Sampler | None = None

    def register(self, sampler: "Sampler") -> None:
        self._samplers.append(sampler)

    def grants(self, sampler: "Sampler") -> bool:
        """True if it is `sampler`'s turn. The one whose turn it is has work, so none waits forever."""
        fullest = max(self._samplers, key=lambda s: s.ready)  # max keeps the first of equals
        if self._current is None or fullest.ready > self._current.ready * (1 + self._margin):
            self._current = fullest
        return self._current is sampler


class Sampler:
    """The engine behind a local policy and a local simulator.

    max_rows        slots: active rows and parked sessions together; memory is taken as needed, by doubling
    join_fraction   waiting requests join once their number reaches this fraction of the active rows (a prefill has a fixed cost) …
    max_wait_steps  … or when one has waited this many steps
    call_tokens     fixed cost of a forward, in tokens; bounds the padding
    max_prefill     most tokens in one prefill forward

    `critic` maps states [N, E] to values [N, 1]; set it before anything is sampled, and every token comes with the value of the text
    before it, computed from the same state the token is drawn from.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_rows: int = 256,
        arbiter: Arbiter | None = None,
        join_fraction: float = 0.25,
        max_wait_steps: int = 16,
        call_tokens: int | None = None,
        max_prefill: int | None = None,
    ) -> None:
        self.stats = Stats()
        self.critic: Any = None
        self._model = RowModel(model)
        self._max_rows, self._join_fraction, self._max_wait_steps = max_rows, join_fraction, max_wait_steps
        # A CPU gains nothing from more tokens at once than its caches hold: 1,024 at a time take a quarter less time than 4,096.
        on_cpu = self._model.device.type == "cpu"
        self._call_tokens = call_tokens or (128 if on_cpu else 4096)
        self._max_prefill = max_prefill or (1024 if on_cpu else 16384)
        self._watch = StopWatch(tokenizer, end_ids(model, tokenizer), self._model.vocabulary)
        self._sessions: dict[str, CachedSession] = {}
        self._waiting: list[Request] = []
        self._slots = Slots()
        self._active = 0
        self._tick = 0
        self._task: asyncio.Task[None] | None = None
        self._arbiter = arbiter
        if arbiter is not None:
            arbiter.register(self)

    @property
    def ready(self) -> int:
        """The number of rows that could use the device now."""
        return self._active + len(self._waiting)

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        """Continue `token_ids`; what this session, or any row with the same beginning, has cached is not computed again.

        Raises GenerationFailed.
        """
        ids = np.array(token_ids, np.int64)
        room, vocabulary = self._model.max_length - len(ids), self._model.vocabulary
        if not len(ids) or not 0 <= ids.min() <= ids.max() < vocabulary:
            raise GenerationFailed(f"session '{session}': expected token ids in 0 … {vocabulary - 1}, got {ids[:8]}")
        if room < 1:
            # it names no session, because it becomes a question's cause, which must not depend on what was asked before
            raise GenerationFailed(
                f"the text so far has {len(ids)} tokens and the model's context is {self._model.max_length}: no room is left to generate; "
                "allow fewer turns, or use a model with a longer context."
            )
        if sampling.max_new_tokens < 1:
            return Generation((), (), Finish.LENGTH)
        state = self._sessions.setdefault(session, CachedSession(session))
        if state.request is not None:
            raise GenerationFailed(f"session '{session}' is already generating; one call at a time")
        end = len(ids) + min(room, sampling.max_new_tokens)
        future: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        state.request = request = Request(state, ids, len(ids), end, sampling, future, self._tick)
        self._waiting.append(request)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            return await future
        except asyncio.CancelledError:
            self._withdraw(request)
            raise

    def close(self, session: str) -> None:
        """Forget the session. Its rows stay as a leftover that others may copy from until the slot is needed."""
        state = self._sessions.pop(session, None)
        if state is None:
            return
        if state.request is not None:
            _fail(state.request, f"session '{session}' was closed while it was generating")
            self._withdraw(state.request)
        if state.slot >= self._active:
            self._slots.owner[state.slot] = None

    def forget(self) -> None:
        """Drop every key and value, because the weights have changed; an unfinished row continues under the new ones.

        With no unfinished row the sampler is as new: it then does bit by bit what a new sampler would do.
        """
        resumed: list[Request] = []
        for slot in range(self._active):
            request = self._slots.owner[slot].request
            request.ids = self._slots.tokens[slot, : self._slots.lengths[slot] + 1].copy()
            resumed.append(request)
        self._waiting[:0] = resumed
        self._reset()
        if self._model.device.type != "cpu":  # training needs a GPU's memory now
            self._model.cache.clear()
        if not self._sessions:
            self._slots, self._tick = Slots(), 0
            self._model.cache.clear()
        self._model.refresh()

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        try:
            while self.ready:
                if self._arbiter is None or self._arbiter.grants(self):
                    self._step()
                await asyncio.sleep(0)
        except BaseException as error:  # whatever it was, no caller may be left waiting
            for state in self._sessions.values():
                if state.request is not None:
                    _fail(state.request, f"the sampler stopped: {type(error).__name__}: {error}", error)
                    state.request = None
            self._waiting.clear()
            self._reset()
            self._model.cache.clear()  # an aborted step may have left anything there
            if not isinstance(error, Exception):
                raise

    @torch.inference_mode()
    def _step(self) -> None:
        self._tick += 1
        if self._waiting and (
            len(self._waiting) >= self._active * self._join_fraction or self._tick - self._waiting[0].arrived > self._max_wait_steps
        ):
            self._admit()
        if self._active:
            self._decode()

    def _decode(self) -> None:
        slots, n = self._slots, self._active
        starts = slots.lengths[:n].copy()
        self._reserve_kv(int(starts.max()) + 1)
        ids = slots.tokens[np.arange(n), starts]  # the last sampled token is not cached yet
        logits_NV, states_NE = self._model.forward(ids[:, None], 0, starts)
        slots.lengths[:n] += 1
        self.stats.steps += 1
        self._sample(logits_NV, states_NE, 0, n)

    @property
    def _criticises(self) -> bool:
        return self.critic is not None and self._model.headless

    def _sample(self, logits_NV: Tensor, states_NE: Tensor, lo: int, hi: int) -> None:
        """Draw the next token of rows lo … hi - 1 and release those that are finished."""
        slots, rows, at = self._slots, np.arange(lo, hi), self._slots.lengths[lo:hi]

        def column(values: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
            return torch.from_numpy(values[:, None]).to(logits_NV.device)

        scale, greedy, top_p = slots.inverse_temperature[lo:hi], slots.greedy[lo:hi], slots.top_p[lo:hi]
        drawn = draw(
            logits_NV,
            column(slots.uniforms[rows, at]),
            column(scale) if (scale != 1).any() else None,
            column(top_p) if (top_p < 1).any() else None,
            column(greedy) if greedy.any() else None,
        )
        if self._criticises:
            drawn = torch.cat((drawn, self.critic(states_NE.float()).T))
        drawn = drawn.numpy(force=True)  # the only synchronisation of a step
        tokens = drawn[0].astype(np.int64)
        slots.tokens[rows, at] = tokens
        slots.logprobs[rows, at] = drawn[1]
        if self._criticises:
            slots.values[rows, at] = drawn[2]
        self.stats.decoded += hi - lo
        suspects = self._watch.table[slots.watch[lo:hi], tokens] | (at + 1 >= slots.end[lo:hi]) | np.isnan(drawn[1])
        if suspects.any():
            self._leave([slots.owner[slot] for slot in (lo + np.flatnonzero(suspects)).tolist() if self._finish(slot)])

    def _finish(self, slot: int) -> bool:
        """Answer the caller if the newest token ends the continuation; True if it does."""
        slots, state = self._slots, self._slots.owner[slot]
        request, stop = state.request, int(slots.lengths[slot]) + 1
        if np.isnan(slots.logprobs[slot, stop - 1]):
            _fail(request, f"the model's logits are not finite at position {stop - 1}")
            self._model.cache.wipe(slot)
            slots.lengths[slot] = 0
            return True
        ids = slots.tokens[slot, request.begin : stop].tolist()
        finish = self._watch.finish(ids, request.sampling.stop) or (Finish.LENGTH if stop >= request.end else None)
        if finish is None:
            return False
        if not request.future.done():  # done: cancelled, and its caller has not run yet
            logprobs = slots.logprobs[slot, request.begin : stop].tolist()
            values = slots.values[slot, request.begin : stop].tolist() if self._criticises else ()
            request.future.set_result(Generation(tuple(ids), tuple(logprobs), finish, values=tuple(values)))
        return True

    def _leave(self, leaving: list[CachedSession]) -> None:
        """Park rows, and close the gaps they leave among the active ones."""
        n = self._active = self._active - len(leaving)
        going = sorted(state.slot for state in leaving)
        holes = [slot for slot in going if slot < n]
        stay = [slot for slot in range(n, n + len(going)) if slot not in set(going)]
        self._swap(holes, stay)
        for state in leaving:
            state.request = None
            self._slots.used[state.slot] = self._tick
            if self._sessions.get(state.name) is not state:
                self._slots.owner[state.slot] = None

    @torch.inference_mode()
    def _withdraw(self, request: Request) -> None:
        """Withdraw a request that no one waits for any more. Always between two steps, because a step does not await."""
        if request in self._waiting:
            self._waiting.remove(request)
            request.session.request = None
        elif request.session.request is request:
            self._leave([request.session])

    # ── joining ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _admit(self) -> None:
        """Prefill the waiting requests, one of each set of equal prompts, the rest by copying; then sample each one's first token."""
        leaders: dict[bytes, Request] = {}
        twins: list[tuple[Request, Request]] = []
        for request in self._seat():
            leader = leaders.setdefault(request.ids.tobytes(), request)
            if leader is not request:
                twins.append((request, leader))
        top, pending, outputs = self._active, list(leaders.values()), list[tuple[Tensor, Tensor]]()
        while pending:
            later = self._later(pending)
            now = [request for request in pending if request not in later]
            self._copy_prefixes(now)
            for bucket in self._buckets(now):
                outputs.append(self._prefill(bucket, top))
                top += len(bucket)
            pending = later
        if not outputs:
            return
        logits_NV, states_NE = map(torch.cat, zip(*outputs, strict=True)) if len(outputs) > 1 else outputs[0]
        if twins:
            self._copy([leader.session.slot for _, leader in twins], [twin.session.slot for twin, _ in twins])
            for twin, _ in twins:
                self._write(twin, len(twin.ids))
            order = self._gather([twin for twin, _ in twins], top)
            row_of = {twin.session.slot: leader.session.slot - self._active for twin, leader in twins}
            copied = [row_of[slot] for slot in order]
            logits_NV, states_NE = torch.cat((logits_NV, logits_NV[copied])), torch.cat((states_NE, states_NE[copied]))
            top += len(twins)
        lo, self._active = self._active, top
        self._sample(logits_NV, states_NE, lo, top)

    def _seat(self) -> list[Request]:
        """Give as many waiting requests as possible a slot, first come, first served, and take them off the queue."""
        slots, n = self._slots, self._active
        seatless = sum(request.session.slot == NOWHERE for request in self._waiting)
        held = sum(owner is not None for owner in slots.owner)
        size = min(self._max_rows, 1 << max(held + seatless - 1, 0).bit_length())
        longest = max(request.end for request in self._waiting)
        slots.reserve(size, 1 << (longest - 1).bit_length())
        self._reserve_kv(1)  # rows may be moved or copied before the next forward makes room
        seated: list[Request] = []
        for request in self._waiting:
            if request.session.slot == NOWHERE:
                slot = self._free_slot(n)
                if slot is None:
                    continue
                slots.owner[slot], request.session.slot = request.session, slot
            seated.append(request)
        chosen = set(map(id, seated))
        self._waiting = [request for request in self._waiting if id(request) not in chosen]
        return seated

    def _free_slot(self, n: int) -> int | None:
        """The least recently used slot: first among leftovers, then among parked sessions, which are evicted."""
        slots = self._slots
        order: list[int] = (n + np.argsort(slots.used[n:], kind="stable")).tolist()
        for slot in order:
            if slots.owner[slot] is None:
                return slot
        for slot in order:
            state = slots.owner[slot]
            if state.request is None:
                state.evicted, state.slot = slots.tokens[slot, : slots.lengths[slot]].copy(), NOWHERE
                self.stats.evictions += 1
                return slot
        return None

    def _later(self, pending: list[Request]) -> list[Request]:
        """Requests that should wait for another in `pending` with the same beginning (a shared template) and then copy it."""
        later: list[Request] = []
        gain = 0
        ordered = sorted(pending, key=lambda request: request.ids.astype(">u4").tobytes())
        head = ordered[0]
        for request in ordered[1:]:
            saved = common_prefix(head.ids, request.ids[:-1]) - self._slots.overlap(request.ids, request.session.slot)
            if saved >= SHARE_AT_LEAST:
                later.append(request)
                gain += saved
            else:
                head = request
        return later if gain >= self._call_tokens else []

    def _copy_prefixes(self, requests: list[Request]) -> None:
        """Start every row from the longest beginning any slot has cached."""
        slots = self._slots
        starts: list[int] = []
        sources: list[int] = []
        targets: list[int] = []
        for request in requests:
            ids, slot = request.ids, request.session.slot
            known = slots.overlap(ids, slot)
            # A longer overlap must at least match at the end of the row's own: this leaves hardly any candidates to compare.
            agree = (slots.lengths >= known + SHARE_AT_LEAST) & (slots.tokens[:, known] == ids[known])
            best = max(np.flatnonzero(agree).tolist(), key=lambda other: slots.overlap(ids, other), default=slot)
            shared = slots.overlap(ids, best)
            if shared >= known + SHARE_AT_LEAST:
                sources.append(best)
                targets.append(slot)
                self.stats.shared += shared - known
                known = shared
            starts.append(known)
        self._copy(sources, targets, max(starts, default=0))
        for request, start in zip(requests, starts, strict=True):
            self._write(request, start)
            evicted, request.session.evicted = request.session.evicted, None
            ever = 0 if evicted is None else common_prefix(evicted, request.ids[:-1])
            self.stats.new += len(request.ids) - max(start, ever)

    def _write(self, request: Request, start: int) -> None:
        """Enter a request, whose first `start` tokens are cached, into the tables."""
        slots, slot, sampling = self._slots, request.session.slot, request.sampling
        slots.tokens[slot, : len(request.ids)] = request.ids
        slots.lengths[slot] = start
        slots.end[slot] = request.end
        slots.watch[slot] = self._watch.row(sampling.stop)
        slots.greedy[slot] = sampling.temperature <= 0
        slots.inverse_temperature[slot] = 1 / sampling.temperature if sampling.temperature > 0 else 1
        slots.top_p[slot] = sampling.top_p
        slots.uniforms[slot, request.begin : request.end] = uniforms(sampling.seed, request.end - request.begin)

    def _buckets(self, requests: list[Request]) -> Iterator[list[Request]]:
        """Group requests of similar length, so that padding never costs more than another forward would."""
        lengths = {id(r): len(r.ids) - int(self._slots.lengths[r.session.slot]) for r in requests}
        bucket: list[Request] = []
        padding = 0
        for request in sorted(requests, key=lambda r: -lengths[id(r)]):
            longest = lengths[id(bucket[0] if bucket else request)]
            padding += longest - lengths[id(request)]
            if bucket and (padding > self._call_tokens or (len(bucket) + 1) * longest > self._max_prefill):
                yield bucket
                bucket, padding = [], 0
            bucket.append(request)
        if bucket:
            yield bucket

    def _prefill(self, bucket: list[Request], top: int) -> tuple[Tensor, Tensor]:
        """Run a bucket's uncached tokens as rows top, top + 1, … and return logits [N, V] and states [N, E] after each prompt."""
        slots, n = self._slots, len(bucket)
        self._gather(bucket, top)
        by_slot = sorted(bucket, key=lambda request: request.session.slot)
        ends = np.array([len(request.ids) for request in by_slot])
        starts = slots.lengths[top : top + n].copy()
        new = ends - starts
        longest = int(new.max())
        ids_NT = np.zeros((n, longest), np.int64)
        for row, request in enumerate(by_slot):
            ids_NT[row, : new[row]] = request.ids[starts[row] :]
        self._reserve_kv(int(starts.max()) + longest)
        output = self._model.forward(ids_NT, top, starts, new - 1)
        slots.lengths[top : top + n] = ends
        self.stats.prefills += 1
        self.stats.prefilled += int(new.sum())
        self.stats.padded += ids_NT.size - int(new.sum())
        return output

    # ── moving rows ───────────────────────────────────────────────────────────────────────────────────────────────

    def _gather(self, requests: list[Request], top: int) -> range:
        """Move the requests' rows to the slots from `top` on; returns these."""
        target = range(top, top + len(requests))
        mine = {request.session.slot for request in requests}
        self._swap(sorted(mine.difference(target)), [slot for slot in target if slot not in mine])
        return target

    def _swap(self, some: list[int], others: list[int]) -> None:
        if some:
            length = int(self._slots.lengths[some + others].max())
            self._model.cache.move(some + others, others + some, length)
            self._slots.swap(some, others)

    def _copy(self, sources: list[int], targets: list[int], length: int | None = None) -> None:
        if sources:
            length = int(self._slots.lengths[sources].max()) if length is None else length
            self._model.cache.move(sources, targets, length)

    def _reserve_kv(self, length: int) -> None:
        """Room for `length` tokens in every slot, grown by a quarter, as growing copies everything, and no more, as a CPU reads it all."""
        cache = self._model.cache
        if length > cache.capacity or len(self._slots.lengths) > cache.slots:
            grown = (max(length, cache.capacity * 5 // 4) // 16 + 1) * 16
            cache.reserve(len(self._slots.lengths), grown if length > cache.capacity else cache.capacity)

    def _reset(self) -> None:
        """Nothing is active and nothing is cached."""
        self._active = 0
        self._slots.lengths[:] = 0
        for slot, state in enumerate(self._slots.owner):
            if state is not None and self._sessions.get(state.name) is not state:
                self._slots.owner[slot] = None


def _fail(request: Request, message: str, cause: BaseException | None = None) -> None:
    if not request.future.done():
        error = GenerationFailed(message)
        error.__cause__ = cause
        request.future.set_exception(error)
