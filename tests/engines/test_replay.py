"""A paid search is paid once: tapes, replays, budgets, and what a kill leaves of them."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripted import ScriptedEngine
from zerosearch.core.errors import BadConfig, BadFile, BudgetSpent, SearchFailed
from zerosearch.core.interfaces import SearchEngine
from zerosearch.core.types import Document, Quality, Question, Sampling, SearchRequest, SearchResult
from zerosearch.engines.replay import Budget, RecordedEngine
from zerosearch.engines.search_log import LoggedSearch, SearchLog
from zerosearch.engines.simulated import SimulatedEngine


def request(query: str, k: int = 2, **rest: object) -> SearchRequest:
    return SearchRequest(query, Question("q", "What?", ("gold",)), k=k, **rest)  # pyright: ignore[reportArgumentType]


def counting() -> ScriptedEngine:
    """Every call has an answer of its own, so that a second call would show."""
    made: list[int] = []

    def answer(request: SearchRequest) -> SearchResult:
        made.append(0)
        return SearchResult((Document(f"{request.query} #{len(made)}", "Title ‹é›", "id"),) * min(request.k, 2), None, "odd")

    return ScriptedEngine(answer)


def ask(engine: SearchEngine, *requests: SearchRequest) -> list[SearchResult]:
    async def main() -> list[SearchResult]:
        return await asyncio.gather(*map(engine.search, requests))

    return asyncio.run(main())


# ---- record and replay


def test_a_search_is_made_once(tmp_path: Path) -> None:
    file, inner = tmp_path / "runs" / "tape.jsonl", counting()
    first = ask(RecordedEngine(inner, "serper", record=file), request("a"), request("b"), request("a", k=1))
    assert len(inner.requests) == 3  # another k is another search
    again = RecordedEngine(inner, "serper", record=file)
    assert ask(again, request("a"), request(" b "), request("a", k=1)) == first
    assert len(inner.requests) == 3 and (again.calls, again.hits) == (0, 3)
    assert ask(RecordedEngine(inner, "brave", record=file), request("a")) != first[:1]  # another engine is asked itself
    replayed = RecordedEngine(None, "serper", replay=file)
    assert ask(replayed, request("a"), request("b"), request("a", k=1)) == first
    assert "gold" not in file.read_text() and "What?" not in file.read_text()


def test_a_miss_under_replay_is_an_error_not_a_call(tmp_path: Path) -> None:
    file, inner = tmp_path / "tape.jsonl", counting()
    ask(RecordedEngine(inner, "serper", record=file), request("a"))
    before = file.read_bytes()
    engine = RecordedEngine(inner, "serper", replay=file)
    with pytest.raises(
        SearchFailed, match=r"not in the recording '.*tape.jsonl': query 'b', k 2, engine 'serper'; record it first with record="
    ):
        ask(engine, request("b"))
    assert len(inner.requests) == 1 and file.read_bytes() == before


def test_identical_searches_under_way_are_one_call(tmp_path: Path) -> None:
    calls: list[str] = []

    class Slow:
        async def search(self, request: SearchRequest) -> SearchResult:
            calls.append(request.query)
            await asyncio.sleep(0.02)
            return SearchResult((Document(request.query),))

    engine = RecordedEngine(Slow(), "slow", budget=Budget(max_searches=2))
    assert len({result.documents for result in ask(engine, *[request("a")] * 20, request("b"))}) == 2
    assert sorted(calls) == ["a", "b"] and engine.calls == 2


def test_a_failure_is_not_recorded(tmp_path: Path) -> None:
    answers: list[SearchResult] = [SearchResult(())]

    def answer(request: SearchRequest) -> SearchResult:
        if not answers:
            raise SearchFailed("down")
        return answers.pop()

    engine = RecordedEngine(ScriptedEngine(answer), "e", record=tmp_path / "tape.jsonl")
    assert ask(engine, request("none")) == [SearchResult(())]
    for _ in range(2):
        with pytest.raises(SearchFailed, match="down"):
            ask(engine, request("x"))
    assert len(SearchLog(tmp_path / "tape.jsonl", writable=False)) == 1  # nothing found is an answer


class Writer:
    """A chat that never says the same twice."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        self.prompts.append(prompt)
        return f"Doc 1: {len(self.prompts)} for {prompt}"


def simulated(chat: Writer, seed: int = 0) -> SimulatedEngine:
    return SimulatedEngine(chat, "{question} {query} {quality}", k=1, sampling=Sampling(9), seed=seed)


def test_a_simulated_engine_is_replayed_with_its_coin(tmp_path: Path) -> None:
    file, chat = tmp_path / "tape.jsonl", Writer()
    requests = [request("a", noise_rate=0.5, step=step, sample=sample) for step in range(3) for sample in range(6)]
    first = ask(RecordedEngine(simulated(chat), "sim", record=file), *requests)
    assert {result.quality for result in first} == {Quality.USEFUL, Quality.NOISY}
    silent = Writer()
    assert ask(RecordedEngine(simulated(silent), "sim", replay=file), *requests) == first and silent.prompts == []
    with pytest.raises(SearchFailed, match="not in the recording"):  # another seed draws other documents
        ask(RecordedEngine(simulated(silent, seed=1), "sim", replay=file), requests[0])


# ---- the file


QUERIES = st.lists(st.tuples(st.text(st.characters(exclude_categories=("Cs",)), max_size=8), st.integers(1, 3)), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(QUERIES, st.integers(0, 10**6))
def test_a_kill_at_any_byte_costs_the_line_it_hit(tmp_path: Path, queries: list[tuple[str, int]], cut: int) -> None:
    file = tmp_path / "tape.jsonl"
    file.unlink(missing_ok=True)
    asked = [LoggedSearch("e", query, k) for query, k in queries]
    tape = SearchLog(file, writable=True)
    results = {a.digest: SearchResult((Document(a.query, "t", str(a.k)),) * a.k, None, "r") for a in asked}
    for a in asked:
        tape.append(a, results[a.digest])
    data = file.read_bytes() if asked else b""
    file.write_bytes(data[: cut % (len(data) + 1)])
    whole = file.read_bytes().count(b"\n")
    assert len(SearchLog(file, writable=False)) == whole
    mended = SearchLog(file, writable=True)
    assert len(mended) == whole and file.read_bytes().count(b"\n") == whole
    for a in asked:
        assert mended.find(a) in (None, results[a.digest])
        mended.append(a, results[a.digest])
    assert sorted(file.read_bytes().splitlines()) == sorted(data.splitlines())


def test_two_who_share_a_tape_see_each_other(tmp_path: Path) -> None:
    file = tmp_path / "tape.jsonl"
    one, two = counting(), counting()
    a, b = RecordedEngine(one, "e", record=file), RecordedEngine(two, "e", record=file)
    assert ask(a, request("x")) == ask(b, request("x"))
    with open(file, "ab") as torn:
        torn.write(b'{"engine": "e", "que')  # a third was killed
    assert ask(b, request("y")) == ask(a, request("y"))
    assert (len(one.requests), len(two.requests)) == (1, 1)
    assert len(SearchLog(file, writable=False)) == 2


@pytest.mark.parametrize("line", ["oops", "[]", '{"engine": "e"}', '{"engine": "e", "query": "q", "k": 1, "draw": {}, "documents": [{}]}'])
def test_a_file_that_is_no_tape(tmp_path: Path, line: str) -> None:
    file = tmp_path / "tape.jsonl"
    SearchLog(file, writable=True).append(LoggedSearch("e", "q", 1), SearchResult(()))
    with open(file, "a") as more:
        more.write(line + "\n")
    with pytest.raises(BadFile, match=r"tape.jsonl, line 2: not a recorded search: .*; record into another file") as failure:
        SearchLog(file, writable=False)
    assert "\n" not in str(failure.value)


def test_what_contradicts_itself_or_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="exclude each other"):
        RecordedEngine(counting(), "e", record="a", replay="b")
    with pytest.raises(BadFile, match="nowhere.jsonl: no such file; record it first with record="):
        RecordedEngine(None, "e", replay=tmp_path / "nowhere.jsonl")
    with pytest.raises(BadConfig, match="no engine was given"):
        RecordedEngine(None, "e", record=tmp_path / "tape.jsonl")
    with pytest.raises(BadFile, match="cannot be written"):
        RecordedEngine(counting(), "e", record=tmp_path)


# ---- budgets


def test_the_budget_stops_before_the_call(tmp_path: Path) -> None:
    inner = counting()
    engine = RecordedEngine(inner, "e", budget=Budget(max_searches=2))
    ask(engine, request("a"), request("b"))
    with pytest.raises(BudgetSpent, match="the search budget is spent: 2 of max_searches = 2 were made; raise max_searches"):
        ask(engine, request("c"))
    assert len(inner.requests) == 2 and issubclass(BudgetSpent, SearchFailed)


def test_dollars_by_pencil() -> None:
    budget = Budget(max_usd=1.0, usd_per_search=0.1)  # ten of them, whatever a float makes of .1
    for _ in range(10):
        budget.reserve()
    with pytest.raises(BudgetSpent, match="10 searches cost \\$1, one more would exceed max_usd = 1; raise max_usd"):
        budget.reserve()
    assert budget.count == 10
    with pytest.raises(BudgetSpent, match="0 searches cost"):
        Budget(max_usd=0.01, usd_per_search=0.02).reserve()
    with pytest.raises(BadConfig, match="max_usd = 5 needs usd_per_search"):
        Budget(max_usd=5)


def test_hits_cost_nothing_and_failures_may(tmp_path: Path) -> None:
    file = tmp_path / "tape.jsonl"
    ask(RecordedEngine(counting(), "e", record=file), request("a"))

    def fails(request: SearchRequest) -> SearchResult:
        raise SearchFailed("timed out")

    budget = Budget(max_searches=1)
    engine = RecordedEngine(ScriptedEngine(fails), "e", record=file, budget=budget)
    ask(engine, request("a"), request("a"))
    assert budget.count == 0
    with pytest.raises(SearchFailed, match="timed out"):
        ask(engine, request("b"))
    with pytest.raises(BudgetSpent):
        ask(engine, request("b"))


SPEND = """
import sys
from pathlib import Path
from zerosearch.core.errors import BudgetSpent
from zerosearch.engines.replay import Budget
budget, made = Budget(max_searches=50, ledger=Path(sys.argv[1])), 0
try:
    while True:
        budget.reserve()
        made += 1
except BudgetSpent:
    print(made)
"""


def test_processes_that_share_a_ledger_count_together_and_a_restart_goes_on(tmp_path: Path) -> None:
    ledger = tmp_path / "tape.jsonl.spent"
    processes = [subprocess.Popen([sys.executable, "-c", SPEND, str(ledger)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    made = [int(process.communicate()[0]) for process in processes]
    assert sum(made) == 50 and Budget(ledger=ledger).count == 50
    with pytest.raises(BudgetSpent):
        Budget(max_searches=50, ledger=ledger).reserve()
    ledger.write_text("many")
    with pytest.raises(BadFile, match="must hold the number of searches paid for, but holds 'many'"):
        Budget(max_searches=50, ledger=ledger).reserve()


def test_a_tape_is_plain_json_lines(tmp_path: Path) -> None:
    ask(RecordedEngine(counting(), "e", record=tmp_path / "tape.jsonl"), request("a"))
    (row,) = map(json.loads, (tmp_path / "tape.jsonl").read_text().splitlines())
    document = {"text": "a #1", "title": "Title ‹é›", "id": "id"}
    assert row == {"engine": "e", "query": "a", "k": 2, "draw": {}, "documents": [document] * 2, "quality": None, "remark": "odd"}
