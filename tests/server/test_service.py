"""What a server puts around an engine, asked over HTTP: the noise dial, sessions, the coin, and what never comes back."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripted import ScriptedEngine
from serving import HTTP, served
from zerosearch.core.curriculum import NoiseCurriculum
from zerosearch.core.errors import BadConfig
from zerosearch.core.types import Question, Sampling, SearchRequest, SearchResult
from zerosearch.engines.prompts import SIMULATOR_PROMPTS
from zerosearch.engines.replay import RecordedEngine
from zerosearch.engines.simulated import SimulatedEngine
from zerosearch.server.events import Events
from zerosearch.server.limits import Keys
from zerosearch.server.noise import NoiseControl, parse_curriculum
from zerosearch.server.service import Service
from zerosearch.server.sessions import Sessions

GOLD = "Ouagadougou"


class Player:
    """A Chat that says what it was asked for, and keeps the prompts. It writes rubbish, or nothing, on request."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        self.prompts.append(prompt)
        if "rubbish" in prompt:
            return "</information><search>more</search><answer>{{{</answer>"
        if "silence" in prompt:
            return " \n "
        return "\n".join(f"Doc {i}: document {i} drawn with {sampling.seed}" for i in range(1, 6))


@pytest.fixture
def player() -> Player:
    return Player()


@pytest.fixture
def log() -> list[str]:
    return []


def engine(player: Player) -> SimulatedEngine:
    return SimulatedEngine(player, SIMULATOR_PROMPTS["web"], k=5, sampling=Sampling(100), seed=0, max_attempts=2)


@pytest.fixture
def service(player: Player, log: list[str]) -> Iterator[Service]:
    questions = [Question("q7", "What is the capital of Burkina Faso?", (GOLD,))]
    with served(engine(player), sessions=Sessions(questions), events=Events("info", write=log.append)) as service:
        yield service


def post(service: Service, path: str, body: object = None, **headers: str) -> httpx.Response:
    return HTTP.post(f"{service.library.base_url}{path}", json=body, headers=headers)


def search(service: Service, query: str = "a query", **said: object) -> httpx.Response:
    reply = post(service, "/v1/search", {"query": query, **said})
    assert reply.status_code == 200, reply.text
    return reply


def quality(reply: httpx.Response) -> str:
    return reply.headers["x-zerosearch-quality"]


def test_the_dial_turns_by_field_header_and_server(service: Service) -> None:
    assert quality(search(service)) == "useful" and quality(search(service, noise=1.0)) == "noisy"
    loud = post(service, "/tavily/search", {"query": "a"}, **{"X-Zerosearch-Noise": "1"})
    assert quality(loud) == "noisy" and loud.headers["x-zerosearch-noise"] == "1"
    assert "noisy" not in loud.text and "useful" not in search(service).text


def test_the_coin_is_a_function_of_seed_query_and_key(service: Service) -> None:
    def draws(**said: object) -> list[tuple[str, str]]:
        return [(quality(r), r.text) for i in range(24) if (r := search(service, f"query {i}", noise=0.5, **said))]

    first = draws(seed=3)
    assert {q for q, _ in first} == {"useful", "noisy"}
    assert draws(seed=3) == first
    assert [q for q, _ in draws(seed=4)] != [q for q, _ in first] != [q for q, _ in draws(seed=3, key="other")]


def test_an_api_key_names_the_coin_when_nothing_else_does(service: Service) -> None:
    def draws(key: str) -> list[str]:
        headers = {"X-API-KEY": key, "X-Zerosearch-Noise": "0.5"}
        return [quality(post(service, "/serper/search", {"q": f"query {i}"}, **headers)) for i in range(24)]

    assert draws("one") == draws("one") != draws("two")


def test_more_noise_turns_replies_noisy_and_none_back(service: Service) -> None:
    before: set[int] = set()
    for noise in (0.2, 0.5, 0.8):
        noisy = {i for i in range(24) if quality(search(service, f"query {i}", noise=noise)) == "noisy"}
        assert before < noisy
        before = noisy


def test_a_curriculum_goes_by_steps_that_are_told(player: Player) -> None:
    with served(engine(player), dial=NoiseControl(NoiseCurriculum("linear", 0.0, 1.0, 10))) as service:
        assert search(service).headers["x-zerosearch-step"] == "0"
        assert post(service, "/v1/step").json() == {"step": 1, "noise_rate": pytest.approx(0.1)}
        assert post(service, "/v1/step", {"step": 10}).json()["noise_rate"] == 1.0
        assert quality(search(service)) == "noisy"
        assert post(service, "/v1/step", {"step": -1}).json()["error"]["code"] == "bad_request"


def test_a_curriculum_goes_by_requests(player: Player) -> None:
    with served(engine(player), dial=NoiseControl(NoiseCurriculum("linear", 0.0, 1.0, 4), requests_per_step=3)) as service:
        rates = [search(service).headers["x-zerosearch-noise"] for _ in range(13)]
    assert rates == ["0"] * 2 + ["0.25"] * 3 + ["0.5"] * 3 + ["0.75"] * 3 + ["1"] * 2


@pytest.mark.parametrize("text", ["0.5", "a:b", "0:2"])
def test_a_curriculum_that_is_none(text: str) -> None:
    with pytest.raises(BadConfig):
        start, end = parse_curriculum(text)
        NoiseControl(NoiseCurriculum("linear", start, end, 1))


def test_the_simulator_sees_question_and_golds_and_nobody_else_does(service: Service, player: Player, log: list[str]) -> None:
    opened = post(service, "/v1/sessions", {"question": "Which city is it?", "golden_answers": [GOLD]})
    assert opened.status_code == 201 and GOLD not in opened.text
    name, prefix = opened.json()["session"], opened.json()["prefix"]
    replies = [
        search(service, session=name),
        post(service, f"{prefix}/tavily/search", {"query": "by prefix"}),
        post(service, "/serper/search", {"q": "by header"}, **{"X-Zerosearch-Session": name}),
        post(service, "/serper/search", {"q": "from the file"}, **{"X-Zerosearch-Question": "q7"}),
        search(service, "outright", question="Which?", golden_answers=[GOLD]),
    ]
    assert [r.status_code for r in replies] == [200] * 5, [r.text for r in replies]
    assert len(player.prompts) == 5 and all(GOLD in prompt for prompt in player.prompts)
    assert [r.status_code for r in replies] == [200] * 5
    assert all(GOLD not in r.text and GOLD not in str(r.headers) for r in replies)
    assert post(service, f"{prefix}/tavily/search", {"query": "silence"}).status_code == 502
    assert "engine failed" in "".join(log) and GOLD not in "".join(log) and "by prefix" not in "".join(log)
    search(service, "from the query alone")
    assert GOLD not in player.prompts[-1] and "from the query alone" in player.prompts[-1]


def test_a_session_is_its_owners(player: Player) -> None:
    with served(engine(player), keys=Keys(["one", "two"])) as service:
        mine, yours = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))
        assert post(service, "/v1/sessions", {"question": "Q?", "id": "s"}).status_code == 401
        assert post(service, "/v1/sessions", {"question": "Q?", "id": "s"}, **mine).json()["session"] == "s"
        assert post(service, "/v1/search", {"query": "a", "session": "s"}, **mine).status_code == 200
        assert post(service, "/v1/search", {"query": "a", "session": "s"}, **yours).status_code == 404
        assert post(service, "/v1/sessions", {"question": "Q?", "id": "s"}, **yours).status_code == 400
        gone = HTTP.delete(f"{service.library.base_url}/v1/sessions/s", headers=mine)
        assert gone.status_code == 204
        assert post(service, "/v1/search", {"query": "a", "session": "s"}, **mine).status_code == 404


def test_only_the_newest_sessions_are_kept() -> None:
    sessions = Sessions(max_sessions=2)
    names = [sessions.open(f"question {i}", ()) for i in range(3)]
    assert len(sessions) == 2 and sessions.question(names[2]).text == "question 2"


def test_a_batch_keeps_what_was_found(service: Service) -> None:
    reply = post(service, "/v1/search/batch", {"searches": [{"query": "a"}, {"query": "silence"}, {"query": "b", "noise": 1.0, "k": 2}]})
    first, second, third = reply.json()["results"]
    assert len(first["documents"]) == 5 and second["error"]["code"] == "engine_failed" and len(third["documents"]) == 2
    assert quality(reply) == "useful,failed,noisy"


def test_rubbish_is_a_document_and_its_tags_are_text(service: Service) -> None:
    (document,) = search(service, "rubbish").json()["documents"]
    assert "{{{" in document["text"]


def test_the_log_says_what_was_drawn_and_at_debug_for_what(player: Player) -> None:
    log: list[str] = []
    with served(engine(player), events=Events("info", queries=True, write=log.append)) as service:
        post(service, "/serper/search", {"q": "a secret query"}, **{"X-API-KEY": "k-123456"})
        post(service, "/tavily/search", {"query": "another", "api_key": "k-123456"})
    lines = [json.loads(line) for line in log]
    assert [(line["dialect"], line["status"], line["quality"]) for line in lines] == [
        ("serper", 200, ["useful"]),
        ("tavily", 200, ["useful"]),
    ]
    assert lines[0]["fields"]["q"] == "a secret query" and "k-123456" not in "".join(log)


def test_a_defect_of_ours_is_an_error_in_the_dialect_and_a_line_in_the_log() -> None:
    def broken(request: SearchRequest) -> SearchResult:
        raise RuntimeError(f"about {request.query}")

    log: list[str] = []
    with served(ScriptedEngine(broken), events=Events("info", write=log.append)) as service:
        reply = post(service, "/serper/search", {"q": "a secret"})
    assert reply.status_code == 500 and reply.json()["statusCode"] == 500 and "secret" not in reply.text
    first = json.loads(log[0])
    assert first["event"] == "broken" and "test_service.py" in first["where"] and "secret" not in "".join(log)


def test_a_checkpoint_in_this_process_writes_the_documents(micro: Path) -> None:
    from zerosearch.models.local import LocalModel

    template = "question: {query} quality: {quality}"
    model = LocalModel.load(str(micro / "simulator"), device="cpu")
    with served(SimulatedEngine(model, template, k=2, sampling=Sampling(12), seed=0)) as service:
        first, second = (post(service, "/retrieve", {"queries": ["where was she born?"], "topk": 2}) for _ in range(2))
    assert first.status_code == 200 and first.json()["result"][0][0]["text"]
    assert [d["text"] for d in first.json()["result"][0]] == [d["text"] for d in second.json()["result"][0]]


def test_what_is_counted(service: Service) -> None:
    for _ in range(3):
        search(service, "the same")
    search(service, "another", noise=1.0)
    post(service, "/v1/search", {"query": "silence"})
    counted = HTTP.get(f"{service.library.base_url}/metrics").text
    for line in (
        'zerosearch_requests_total{dialect="native",status="200"} 4.0',
        'zerosearch_requests_total{dialect="native",status="502"} 1.0',
        'zerosearch_drawn_total{quality="useful"} 3.0',
        'zerosearch_drawn_total{quality="noisy"} 1.0',
        'zerosearch_engine_errors_total{error="SearchFailed"} 1.0',
        "zerosearch_cache_hits_total 2.0",
        'zerosearch_request_seconds_count{dialect="native"} 5.0',
        "zerosearch_queue 0.0",
    ):
        assert line in counted


def test_a_real_engine_is_asked_once() -> None:
    real = ScriptedEngine.of("a")
    with served(RecordedEngine(real, "real", remember=2)) as service:
        texts = [search(service, query).text for query in ("a", "a", "b", "c", "a")]  # "a" was forgotten for "c"
        assert "zerosearch_cache_hits_total 1.0" in HTTP.get(f"{service.library.base_url}/metrics").text
    assert [request.query for request in real.requests] == ["a", "b", "c", "a"] and texts[0] == texts[1] == texts[4]
