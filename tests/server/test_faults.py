"""Faults on demand: each alone, their rates, and that the same request meets the same."""

import time
from random import Random

import httpx
import pytest

from scripted import ScriptedEngine
from serving import DOCUMENTS, HTTP, served
from zerosearch.core.errors import BadConfig
from zerosearch.core.types import Document, SearchResult
from zerosearch.server.faults import FAULTS, Faults, Latency, Plan, corrupt, parse_rates
from zerosearch.server.service import Bounds


def plan(*names: str) -> Plan:
    return Plan(names, 0.0, Random(0))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_comes_at_its_rate(fault: str) -> None:
    faults = Faults({fault: 0.3})
    struck = sum(faults.plan([f"query {i}"]) is not None for i in range(2000))
    assert 0.27 < struck / 2000 < 0.33


def test_the_same_requests_meet_the_same_whatever_the_order() -> None:
    rates = {"rate-limit": 0.3, "empty": 0.3, "latency": 0.5}

    def met(order: list[int]) -> dict[int, list[tuple[str, ...]]]:
        faults, seen = Faults(rates, seed=1), {}
        for _ in range(5):
            for i in order:
                found = faults.plan([str(i)])
                seen.setdefault(i, []).append(found.names if found else ())
        return seen

    forward = met(list(range(20)))
    assert met(list(range(19, -1, -1))) == forward
    assert any(len(set(tries)) > 1 for tries in forward.values())  # trying again may help


@pytest.mark.parametrize(
    ("text", "low", "high", "mean"),
    [
        ("fixed:0.2", 0.2, 0.2, 0.2),
        ("uniform:0.1:0.3", 0.1, 0.3, 0.2),
        ("exponential:0.2", 0, 60, 0.2),
        ("lognormal:0.2:0.5", 0, 60, 0.2266),
    ],
)
def test_latencies_follow_their_distribution(text: str, low: float, high: float, mean: float) -> None:
    latency, rng = Latency.parse(text), Random(0)
    draws = [latency.draw(rng) for _ in range(4000)]
    assert low <= min(draws) and max(draws) <= high and sum(draws) / len(draws) == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize("text", ["normal:1:2", "fixed", "fixed:x", "uniform:1", "fixed:-1", "fixed:inf"])
def test_a_latency_that_is_none(text: str) -> None:
    with pytest.raises(BadConfig):
        Latency.parse(text)


@pytest.mark.parametrize("text", ["empty", "empty=x", "empty=2", "emtpy=0.1"])
def test_a_fault_that_is_none(text: str) -> None:
    with pytest.raises(BadConfig):
        parse_rates([text])


def test_stale_documents_are_from_years_ago() -> None:
    (old,) = corrupt([Document("Founded in 1998, sold in 2010 for 300 dollars.", "A", "1")], plan("stale"))
    years = [int(word) for word in old.text.replace(",", "").split() if word.isdigit() and len(word) == 4]
    assert years[1] - years[0] == 12 and 1983 <= years[0] <= 1995 and "300 dollars" in old.text and "archived" in old.text


def test_contradictory_documents_say_the_opposite_of_the_best() -> None:
    best, other = Document("Lyon was founded in 43 BC.", "Lyon", "1"), Document("Else.", "", "2")
    first, against, *_ = corrupt([best, other], plan("contradictory"))
    assert first == best and "was not founded" in against.text and "43" not in against.text
    assert len(corrupt([best], plan("contradictory"))) == 2 and len(corrupt([best, other], plan("contradictory"))) == 2
    assert corrupt([Document("Rain.")], plan("contradictory"))[1].text == "It is not true that Rain."
    assert corrupt([], plan("contradictory", "stale")) == ()


def test_faults_over_http_on_demand() -> None:
    with served(ScriptedEngine(lambda request: SearchResult(DOCUMENTS)), bounds=Bounds(fault_timeout_s=0.3)) as service:

        def ask(faults: str) -> httpx.Response:
            headers = {"X-Zerosearch-Faults": faults}
            return HTTP.post(f"{service.library.base_url}/serper/search", json={"q": faults}, headers=headers)

        limited = ask("rate-limit=1")
        assert limited.status_code == 429 and int(limited.headers["retry-after"]) >= 1 and limited.json()["statusCode"] == 429
        assert ask("server-error=1").status_code in (500, 503)
        empty = ask("empty=1")
        assert empty.json()["organic"] == [] and empty.headers["x-zerosearch-fault"] == "empty"
        cut = ask("truncated=1")
        assert cut.status_code == 200 and int(cut.headers["content-length"]) == len(cut.content)
        with pytest.raises(ValueError):
            cut.json()
        assert "archived" in ask("stale=1").json()["organic"][0]["snippet"]
        assert "not" in ask("contradictory=1").json()["organic"][1]["snippet"]
        began = time.monotonic()
        assert ask("timeout=1").status_code == 504 and time.monotonic() - began > 0.3
        assert 'zerosearch_faults_total{fault="timeout"} 1.0' in HTTP.get(f"{service.library.base_url}/metrics").text
        assert ask("empty=0").json()["organic"]


def test_faults_of_the_server_and_latency() -> None:
    with served(ScriptedEngine.of("a"), faults=Faults({"latency": 1.0}, Latency.parse("fixed:0.2"))) as service:
        began = time.monotonic()
        assert HTTP.post(f"{service.library.base_url}/retrieve", json={"queries": ["a"]}).status_code == 200
        assert time.monotonic() - began > 0.2
