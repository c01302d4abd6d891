"""Record, replay and budget around any search engine.

record    a search that was made before is answered from the recording; any other is made and added to it
replay    a search is answered from the recording or fails; nothing is called, so no key, index or model is needed
budget    stops before the search that would exceed it; what the recording answers costs nothing
remember  the most recent searches are answered from memory, whatever else is set
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from zerosearch.core.coalesce import Coalesced
from zerosearch.core.errors import BadConfig, BadFile, BudgetSpent, SearchFailed
from zerosearch.core.interfaces import SearchEngine, close
from zerosearch.core.types import SearchRequest, SearchResult
from zerosearch.data.files import locked, write_atomically
from zerosearch.engines.search_log import LoggedSearch, SearchLog


@runtime_checkable
class Draws(Protocol):
    """An engine whose reply depends on more than query and k: `describe_draw` says on what else."""

    def describe_draw(self, request: SearchRequest) -> dict[str, str]: ...


class Budget:
    """At most `max_searches` searches, at most `max_usd` dollars at `usd_per_search` (0: no limit).

    The count is kept in `ledger` if given: it outlives the process, and processes that share the file count together.
    A search that fails is counted, because it may have been charged.
    """

    def __init__(self, max_searches: int = 0, max_usd: float = 0.0, usd_per_search: float = 0.0, ledger: Path | None = None) -> None:
        if max_usd and not usd_per_search:
            raise BadConfig(f"max_usd = {max_usd:g} needs usd_per_search, the price of one search, for instance 0.001.")
        self.max_searches, self.max_usd, self.usd_per_search = max_searches, max_usd, usd_per_search
        self._ledger = ledger
        self._count = 0
        self.spent = ""  # why a search was refused

    @property
    def count(self) -> int:
        """Searches paid for so far."""
        if self._ledger is None or not self._ledger.exists():
            return self._count
        text = self._ledger.read_text()
        try:
            return int(text or 0)
        except ValueError:
            raise BadFile(f"{self._ledger}: must hold the number of searches paid for, but holds {text[:40]!r}; write it there.") from None

    def reserve(self) -> None:
        """Count one more search. Raises BudgetSpent if there is no room for it; then nothing is counted."""
        if self._ledger is None:
            self._check(self._count)
            self._count += 1
            return
        with locked(self._ledger):
            count = self.count
            self._check(count)
            write_atomically(self._ledger, f"{count + 1}\n")

    def _check(self, count: int) -> None:
        if self.max_searches and count >= self.max_searches:
            self._refuse(f"{count} of max_searches = {self.max_searches} were made; raise max_searches.")
        cost = (count + 1) * self.usd_per_search
        if self.max_usd and cost > self.max_usd * (1 + 1e-9):  # ten times .1 is more than 1
            spent = f"{count} searches cost ${count * self.usd_per_search:.4g}"
            self._refuse(f"{spent}, one more would exceed max_usd = {self.max_usd:g}; raise max_usd.")

    def _refuse(self, why: str) -> None:
        self.spent = f"the search budget is spent: {why}"
        raise BudgetSpent(self.spent)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Equal if everything that decides the reply is equal."""

    key: tuple[object, ...]
    asked: LoggedSearch = field(compare=False)
    request: SearchRequest = field(compare=False)


class RecordedEngine:
    """A SearchEngine around `engine`, which the recording calls `identity`. Identical concurrent searches are one call.

    `calls` counts the searches that reached the engine, `hits` those answered from the recording. With `replay` the engine is asked for
    nothing but `describe_draw`, and may be None.
    """

    def __init__(
        self,
        engine: SearchEngine | None,
        identity: str,
        *,
        record: str | Path = "",
        replay: str | Path = "",
        budget: Budget | None = None,
        remember: int = 0,
    ) -> None:
        if record and replay:
            raise BadConfig(
                f"record = '{record}' and replay = '{replay}' exclude each other; record makes missing searches, replay makes none."
            )
        if replay and not Path(replay).is_file():
            raise BadFile(f"{replay}: no such file; record it first with record={replay}.")
        if engine is None and not replay:
            raise BadConfig("no engine was given; give one, or replay a recording with replay=FILE.")
        path = record or replay
        self.recording = SearchLog(Path(path), writable=bool(record)) if path else None
        self.budget = budget
        self.calls = self.hits = 0
        self._engine, self._identity, self._replays = engine, identity, bool(replay)
        self._draws = engine if isinstance(engine, Draws) else None
        # a finished search is remembered, recorded, or paid for again
        self._once: Coalesced[_Wanted, SearchResult] = Coalesced(self._answer, max_remembered=remember)

    @property
    def remembered(self) -> int:
        """Searches answered from memory, or by joining a concurrent one."""
        return self._once.hits

    async def search(self, request: SearchRequest) -> SearchResult:
        """Raises SearchFailed as the engine does, or if a replayed search was not recorded; BudgetSpent instead of exceeding the budget."""
        draw = self._draws.describe_draw(request) if self._draws is not None else {}
        asked = LoggedSearch(self._identity, " ".join(request.query.split()), request.k, draw)
        return await self._once(_Wanted((asked.query, asked.k, *sorted(draw.items())), asked, request))

    async def aclose(self) -> None:
        if self._engine is not None:
            await close(self._engine)

    async def _answer(self, wanted: _Wanted) -> SearchResult:
        asked = wanted.asked
        found = self.recording.find(asked) if self.recording is not None else None
        if found is not None:
            self.hits += 1
            return found
        if self._replays or self._engine is None:
            assert self.recording is not None
            raise SearchFailed(
                f"not in the recording '{self.recording.path}': query '{asked.query[:80]}', k {asked.k}, engine '{asked.engine}'; "
                f"record it first with record={self.recording.path}."
            )
        if self.budget is not None:
            self.budget.reserve()
        self.calls += 1
        result = await self._engine.search(wanted.request)
        if self.recording is not None:
            self.recording.append(asked, result)
        return result
