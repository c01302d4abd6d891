"""Searches → documents, whatever the dialect: the noise rate, the question of a session, faults, the bounded queue, the time limit."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from zerosearch.core.errors import BadInput, BudgetSpent, SearchFailed
from zerosearch.core.interfaces import SearchEngine, close
from zerosearch.core.types import Question, SearchRequest, SearchResult
from zerosearch.engines.replay import RecordedEngine
from zerosearch.engines.simulated import SimulatedEngine
from zerosearch.server.dialects import ClientSearch
from zerosearch.server.document_cache import DocumentCache, Hit
from zerosearch.server.events import Events
from zerosearch.server.faults import Faults, Plan, corrupt
from zerosearch.server.http_request import Reason, Refused
from zerosearch.server.limits import ConcurrencyLimit, Keys, RateLimit, key_digest
from zerosearch.server.metrics import Meters
from zerosearch.server.noise import NoiseControl
from zerosearch.server.sessions import Sessions

T = TypeVar("T")

_FAILED = (Reason.ENGINE_FAILED, "the search engine behind this server failed; the server's log says why.")
_SPENT = (Reason.TOO_MANY, "the search budget of this server is spent.")


@dataclass(frozen=True, slots=True)
class Bounds:
    timeout_s: float = 60.0
    max_body_bytes: int = 2**20
    max_query_characters: int = 2048
    max_k: int = 100
    fault_timeout_s: float = 120.0  # how long the fault "timeout" stays silent


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who sends a request, and its headers' settings for all of its searches. `owner` represents the API key."""

    owner: str = ""
    session: str = ""
    noise: float | None = None
    seed: int | None = None
    key: str | None = None
    faults: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class SearchReply:
    """`hits` and `qualities` are in the order of the searches; `noise_rates` the rates they were drawn with."""

    hits: list[list[Hit] | Refused]
    qualities: list[str]
    noise_rates: list[float]
    step: int
    plan: Plan | None = None


class Service:
    """An engine with everything that a server puts around it."""

    def __init__(
        self,
        engine: SearchEngine,
        *,
        dial: NoiseControl | None = None,
        sessions: Sessions | None = None,
        keys: Keys | None = None,
        rate: RateLimit | None = None,
        places: ConcurrencyLimit | None = None,
        faults: Faults | None = None,
        bounds: Bounds | None = None,
        events: Events | None = None,
        seed: int = 0,
        name: str = "",
    ) -> None:
        self.engine, self.name, self.seed = engine, name, seed
        self.dial = dial or NoiseControl.fixed(0.0)
        self.sessions = sessions if sessions is not None else Sessions()  # an empty one is false
        self.keys = keys or Keys()
        self.rate = rate or RateLimit()
        self.places = places or ConcurrencyLimit(256, 256)
        self.faults = faults or Faults()
        self.bounds = bounds or Bounds()
        self.events = events or Events("warning")
        self.library = DocumentCache()
        self.meters = Meters()
        self.ready = False
        self.meters.watch("zerosearch_searching", "Requests being searched.", lambda: self.places.taken)
        self.meters.watch("zerosearch_queue", "Requests waiting for a place.", lambda: self.places.waiting)
        self.meters.watch("zerosearch_noise_rate", "The current noise rate.", lambda: self.dial.rate)
        self.meters.watch("zerosearch_step", "The step of the curriculum.", lambda: self.dial.step)
        self.meters.watch_counts(self._engine_counts)

    def _engine_counts(self) -> dict[str, float]:
        match self.engine:
            case RecordedEngine(calls=calls, hits=hits, remembered=remembered):
                return {"engine_calls": calls, "cache_hits": hits + remembered}
            case SimulatedEngine(draws=draws):
                return {"engine_calls": draws.calls - draws.hits, "cache_hits": draws.hits}
            case _:
                return {}

    def admit(self, key: str, client: Sequence[Any] | None) -> str:
        """The caller's owner name; `client` is (host, port). Raises Refused for a wrong key, or for too many requests."""
        self.keys.check(key)
        owner = key_digest(key)
        self.rate.take(owner or (client or ("",))[0])
        return owner

    async def check(self) -> None:
        """Search once, so that a back end that is down or misnamed is reported before anyone relies on it. Raises BadInput."""
        try:
            async with asyncio.timeout(self.bounds.timeout_s):
                await self.engine.search(SearchRequest("test", Question("check", "test", ()), 1, seed=self.seed))
        except TimeoutError:
            raise BadInput(f"the engine did not answer a first search within {self.bounds.timeout_s:g} s; check its log.") from None
        except SearchFailed as error:
            raise BadInput(f"a first search failed: {error}") from error

    async def aclose(self) -> None:
        await close(self.engine)

    async def answer(self, searches: Sequence[ClientSearch], asker: RequestContext, *, partial: bool = False) -> SearchReply:
        """The documents of all searches. Raises Refused for the first that fails, unless `partial` keeps the others."""
        self.dial.count_request()
        rate, step = self.dial.rate, self.dial.step
        requests = [self._request(search, asker, rate) for search in searches]
        plan = self._plan(requests, asker) if self.faults.rates or asker.faults else None
        if plan is not None:
            await self._apply_fault(plan)
        async with self.places:
            try:
                async with asyncio.timeout(self.bounds.timeout_s):
                    results = await self._all(requests, partial)
            except TimeoutError:
                self.meters.engine_error("timeout")
                raise Refused(Reason.TIMED_OUT, f"no answer within {self.bounds.timeout_s:g} s.") from None
        hits: list[list[Hit] | Refused] = []
        for search, result in zip(searches, results, strict=True):
            if isinstance(result, Refused):
                hits.append(result)
                continue
            documents = result.documents[search.start : search.start + search.k]
            hits.append(self.library.show(corrupt(documents, plan) if plan else documents))
        return SearchReply(hits, [_quality(result) for result in results], [request.noise_rate for request in requests], step, plan)

    def _request(self, search: ClientSearch, asker: RequestContext, rate: float) -> SearchRequest:
        """The search with its question, its noise rate, and a name for its noise draw."""
        query = " ".join(search.query.split())
        name = search.session or asker.session
        question = self.sessions.question(name, asker.owner) if name else Question("", query, ())
        if search.question or search.golds:
            question = Question(question.id, search.question or question.text, search.golds)
        noise = _first_said(search.noise, asker.noise, rate)
        key = _first_said(search.key, asker.key, asker.owner)
        seed = _first_said(search.seed, asker.seed, self.seed)
        # the step is left out: as the rate rises, replies turn from useful to noisy one after another, and none turns back
        coin = Question("\0".join((key, question.text, query)), question.text, question.golden_answers)
        return SearchRequest(query, coin, search.start + search.k, noise, seed)

    async def _all(self, requests: Sequence[SearchRequest], partial: bool) -> list[SearchResult | Refused]:
        if len(requests) == 1:
            return [await self._search(requests[0], partial)]
        tasks = [asyncio.create_task(self._search(request, partial)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _search(self, request: SearchRequest, partial: bool) -> SearchResult | Refused:
        try:
            result = await self.engine.search(request)
        except SearchFailed as error:
            self.meters.engine_error(type(error).__name__)
            # a back end's message may hold the prompt, and so the gold answers: it goes only to the log
            self.events.say("warning", "engine failed", error=type(error).__name__, private={"message": str(error)})
            refused = Refused(*(_SPENT if isinstance(error, BudgetSpent) else _FAILED))
            if partial:
                return refused
            raise refused from None
        if result.quality is not None:
            self.meters.drawn(result.quality)
        return result

    def _plan(self, requests: Sequence[SearchRequest], asker: RequestContext) -> Plan | None:
        who = [asker.key or asker.owner, *(f"{request.seed} {request.query}" for request in requests)]
        plan = self.faults.plan(who, asker.faults)
        for name in plan.names if plan else ():
            self.meters.fault(name)
        return plan

    async def _apply_fault(self, plan: Plan) -> None:
        """Apply the faults that precede a search."""
        await asyncio.sleep(plan.latency_s)
        if "timeout" in plan:
            await asyncio.sleep(self.bounds.fault_timeout_s)
            raise Refused(Reason.TIMED_OUT, "timed out.")
        if "rate-limit" in plan:
            raise Refused(Reason.TOO_MANY, "too many requests.", retry_after_s=plan.rng.randint(1, 5))
        if "server-error" in plan:
            raise Refused(Reason.BUSY if plan.rng.random() < 0.5 else Reason.BROKEN, "something went wrong here.")


def _quality(result: SearchResult | Refused) -> str:
    if isinstance(result, Refused):
        return "failed"
    return result.quality.value if result.quality else "undrawn"


def _first_said(*values: T | None) -> T:
    return next(value for value in values if value is not None)
