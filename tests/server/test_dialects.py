"""Every dialect against the clients that speak it (ours, and others as recorded) and against real replies; and its own errors."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripted import ScriptedEngine
from serving import DOCUMENTS, HTTP, served
from zerosearch.core.errors import SearchFailed
from zerosearch.core.types import Document, Question, SearchRequest, SearchResult
from zerosearch.engines.web import WEB_APIS, WebEngine
from zerosearch.server.examples import address
from zerosearch.server.limits import Keys
from zerosearch.server.native import DIALECTS
from zerosearch.server.service import Bounds, Service

KEY = "k-1+2/3=="
ENVIRONMENT = {f"{name}_API_KEY": KEY for name in ("SERPER", "SERPAPI", "TAVILY", "BRAVE")}
SEARCHES = [name for name, dialect in DIALECTS.items() if dialect.is_search]


def answer(request: SearchRequest) -> SearchResult:
    if request.query == "fail":
        raise SearchFailed(f"the prompt was: {request.question.golden_answers}, the key {KEY}")
    return SearchResult(() if request.query == "nothing" else DOCUMENTS)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with served(ScriptedEngine(answer), keys=Keys([KEY]), bounds=Bounds(max_k=50)) as service:
        yield service


@pytest.fixture(scope="module")
def url(service: Service) -> str:
    return service.library.base_url


def send(url: str, name: str, query: str, k: int = 3, key: str = KEY, headers: dict[str, str] | None = None) -> httpx.Response:
    """A search as a client of the dialect sends it; a dialect without keys of its own takes a bearer token."""
    call = DIALECTS[name].example(query, k, key)
    told = {"Authorization": f"Bearer {key}", **call.headers} if key else {}
    params = {**call.params} if call.params else None
    base = address(url, DIALECTS[name])
    return HTTP.request(call.method, f"{base}/{call.path}", params=params, json=call.body, headers=told | (headers or {}))


@pytest.mark.parametrize("name", WEB_APIS)
@pytest.mark.parametrize("prefixed", [True, False])
def test_our_own_client_finds_what_the_engine_found(url: str, name: str, prefixed: bool) -> None:
    if name in ("searxng", "search-r1"):
        with served(ScriptedEngine(answer)) as open_service:  # these clients send no key
            found = search(name, open_service.library.base_url, prefixed)
    else:
        found = search(name, url, prefixed)
    assert [d.text for d in found] == [d.text for d in DOCUMENTS]
    assert [d.title for d in found] == ["Paris", "Lyon", "Nothing here has a title, but it has …"]
    if name != "search-r1":
        assert found[0].id == DOCUMENTS[0].id


def search(name: str, url: str, prefixed: bool, query: str = "capital of France") -> tuple[Document, ...]:
    engine = WebEngine(WEB_APIS[name], f"{url}/{name}" if prefixed else url, ENVIRONMENT, max_attempts=1)

    async def once() -> tuple[Document, ...]:
        try:
            return (await engine.search(SearchRequest(query, Question("q", "", ()), k=3))).documents
        finally:
            await engine.aclose()

    return asyncio.run(once())


@pytest.mark.parametrize("name", ["serper", "serpapi", "tavily", "brave"])
def test_no_results_is_an_answer_to_our_own_client(url: str, name: str) -> None:
    assert search(name, url, True, "nothing") == ()


# ---- requests as others' clients send them, at the bare address: (method, path, headers, parameters, body) → what they read of the reply

BODY = dict[str, Any]
RECORDED: dict[str, tuple[str, str, dict[str, str], Any, Any, Callable[[Any], str]]] = {
    "Search-R1": (
        "POST", "/retrieve", {}, None, {"queries": ["a", "b"], "topk": 3, "return_scores": True},
        lambda reply: reply["result"][1][0]["document"]["contents"].split("\n")[0],
    ),
    "verl's search tool": (
        "POST", "/retrieve", {"Accept": "application/json"}, None, {"queries": ["a"], "topk": 3, "return_scores": True},
        lambda reply: reply["result"][0][0]["document"]["contents"].split("\n")[0],
    ),
    "SkyRL": (
        "POST", "/retrieve", {}, None, {"query": "a", "topk": 3, "return_scores": True},
        lambda reply: reply["result"][0][0]["document"]["contents"].split("\n")[0],
    ),
    "ZeroSearch's wiki client": (
        "POST", "/retrieve", {}, None, {"query": "a", "top_k": 3}, lambda reply: f'"{reply[0]["text"].split()[0]}"',
    ),
    "ASearcher": (
        "POST", "/retrieve", {}, None, {"queries": ["a"], "topk": 3, "return_scores": False},
        lambda reply: reply["result"][0][0]["contents"].split("\n")[0] if reply["result"][0][0]["url"] else "",
    ),
    "Serper as LangChain asks it": (
        "POST", "/search", {"X-API-KEY": KEY, "Content-Type": "application/json"}, {"q": "a", "gl": "us", "hl": "en", "num": 3}, None,
        lambda reply: f'"{reply["organic"][0]["title"]}"',
    ),
    "Serper as Haystack asks it": (
        "POST", "/search", {"X-API-KEY": KEY, "Content-Type": "application/json"}, None, {"q": "a"},
        lambda reply: f'"{reply["organic"][0]["title"]}"',
    ),
    "google-search-results": (
        "GET", "/search", {}, {"q": "a", "engine": "google", "source": "python", "output": "json", "api_key": KEY}, None,
        lambda reply: f'"{reply["organic_results"][0]["title"]}"',
    ),
    "SearXNG, a form": (
        "POST", "/search", {"Content-Type": "application/x-www-form-urlencoded"}, None, b"q=a&format=json",
        lambda reply: f'"{reply["results"][0]["title"]}"',
    ),
    "Tavily's older clients": (
        "POST", "/search", {}, None, {"api_key": KEY, "query": "a", "search_depth": "basic", "topic": "general", "max_results": 3},
        lambda reply: f'"{reply["results"][0]["title"]}"',
    ),
    "Brave": (
        "GET", "/res/v1/web/search", {"X-Subscription-Token": KEY}, {"q": "a", "count": 3}, None,
        lambda reply: f'"{reply["web"]["results"][0]["title"]}"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("client", RECORDED)
def test_clients_as_recorded(url: str, client: str) -> None:
    method, path, headers, params, body, title = RECORDED[client]
    content: Any = {"content": body} if isinstance(body, bytes) else {"json": body} if body else {}
    reply = HTTP.request(method, f"{url}{path}", headers={"Authorization": f"Bearer {KEY}", **headers}, params=params, **content)
    assert reply.status_code == 200, reply.text
    assert title(reply.json()) == '"Paris"'


def test_asearcher_opens_what_it_found(url: str) -> None:
    found = send(url, "asearcher", "a").json()["result"][0]
    body = {"urls": [found[1]["url"], "http://nowhere.test/"]}
    opened = HTTP.post(f"{url}/access", json=body, headers={"Authorization": f"Bearer {KEY}"}).json()
    assert opened == {"result": [{"contents": DOCUMENTS[1].text}, None]}
    page = HTTP.get(found[2]["url"], headers={"Authorization": f"Bearer {KEY}"})
    assert page.text == DOCUMENTS[2].text and page.headers["content-type"].startswith("text/plain")


def test_pages_go_on_where_the_last_one_ended(url: str) -> None:
    second = HTTP.get(f"{url}/serpapi/search", params={"engine": "google", "q": "a", "num": 1, "start": 1, "api_key": KEY}).json()
    assert [(hit["position"], hit["title"]) for hit in second["organic_results"]] == [(2, "Lyon")]


# ---- real replies

FIXTURES = {"serper": "serperdev_haystack.json", "serpapi": "serpapi_google_min.json"}
# what only the real engine can know
NOT_CLAIMED = {"answer_box", "relatedSearches/*/query", "organic/*/date", "organic/*/imageUrl"}


def kinds(value: Any, path: str = "") -> Iterator[tuple[str, type]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from kinds(inner, f"{path}/{name}" if path else name)
    elif isinstance(value, list):
        yield path, list
        for inner in value:
            yield from kinds(inner, f"{path}/*")
    else:
        yield path, float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


@pytest.mark.parametrize("name", FIXTURES)
def test_every_field_of_a_real_reply_is_there(url: str, shared: Path, name: str) -> None:
    real = dict(kinds(json.loads((shared / "data" / "fixtures" / FIXTURES[name]).read_text())))
    ours = dict(kinds(send(url, name, "capital of France").json()))
    claimed = {path: kind for path, kind in real.items() if path not in NOT_CLAIMED and not path.startswith("answer_box")}
    assert len(claimed) > 8
    assert {path: ours.get(path) for path in claimed} == claimed


# ---- errors


def shape(name: str, reply: httpx.Response) -> str:
    """The message, found where this dialect's clients look for it."""
    said = reply.json()
    match name:
        case "native" | "native-batch":
            assert said["error"]["code"]
            return said["error"]["message"]
        case "serper":
            assert said["statusCode"] == reply.status_code
            return said["message"]
        case "serpapi" | "searxng":
            return said["error"]
        case "tavily":
            return said["detail"]["error"]
        case "brave":
            assert said["type"] == "ErrorResponse" and said["error"]["status"] == reply.status_code and said["error"]["code"]
            return said["error"]["detail"]
        case _:
            return said["detail"]


BAD_REQUEST = {"brave": 422} | dict.fromkeys(("search-r1", "skyrl", "zerosearch", "asearcher"), 422)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize(
    ("query", "k", "part"),
    [
        ("", 3, "empty"),
        ("  \n", 3, "empty"),
        ("x" * 10_000, 3, "10,000 characters"),
        ("a", 0, "0"),
        ("a", -1, "-1"),
        ("a", 10**6, "1000000"),
    ],
)
def test_bad_searches(url: str, name: str, query: str, k: int, part: str) -> None:
    if name == "searxng" and k != 3:
        pytest.skip("SearXNG has no number of results")
    reply = send(url, name, query, k)
    assert reply.status_code == BAD_REQUEST.get(name, 400)
    message = shape(name, reply)
    assert part in message or (name.startswith("native") and ".k" in f".{message}")
    assert "\n" not in message


@pytest.mark.parametrize("name", [name for name in SEARCHES if DIALECTS[name].routes[0][0] == "POST"])
@pytest.mark.parametrize(
    "body",
    [b"{", b"not JSON", b"[1, 2]", b"", b'{"query": 5, "q": 5, "queries": 5, "searches": 5}', b"[" * 100_000, b'"\\ud800"', b"\xff\xfe"],
)
def test_bad_bodies(url: str, name: str, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "X-API-KEY": KEY, "Content-Type": "application/json"}
    reply = HTTP.post(f"{address(url, DIALECTS[name])}{DIALECTS[name].routes[0][1]}", content=body, headers=headers)
    assert reply.status_code == BAD_REQUEST.get(name, 400)
    assert len(shape(name, reply)) < 200


@pytest.mark.parametrize("name", SEARCHES)
def test_a_megabyte_is_too_much(url: str, name: str) -> None:
    if DIALECTS[name].routes[0][0] == "GET":
        pytest.skip("a GET has no body")
    reply = send(url, name, "x" * 2**20)
    assert reply.status_code == 413 and "larger" in shape(name, reply)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("key", ["", "k-1+2/3=", "k-1+2/3==x"])
def test_a_bad_key(url: str, name: str, key: str) -> None:
    reply = send(url, name, "a", key=key)
    assert reply.status_code == (422 if name == "brave" else 401)
    assert "key" in shape(name, reply) and (not key or key not in reply.text)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_failing_engine_is_an_error_and_tells_nothing(url: str, name: str) -> None:
    reply = send(url, name, "fail")
    if name == "native-batch":  # the others of a batch would stand
        assert reply.json()["results"][0]["error"]["code"] == "engine_failed"
    else:
        assert reply.status_code == 502 and shape(name, reply)
    assert "prompt" not in reply.text and KEY not in reply.text


@pytest.mark.parametrize("name", SEARCHES)
def test_headers_that_are_wrong(url: str, name: str) -> None:
    for header, value in {"X-Zerosearch-Noise": "2", "X-Zerosearch-Seed": "x", "X-Zerosearch-Faults": "empty"}.items():
        assert "X-Zerosearch" in shape(name, send(url, name, "a", headers={header: value}))
    unknown = send(url, name, "a", headers={"X-Zerosearch-Session": "nobody"})
    assert unknown.status_code == 404 and "session" in shape(name, unknown)


def test_wrong_methods_and_paths_are_said_in_the_dialect(url: str) -> None:
    reply = HTTP.get(f"{url}/retrieve")
    assert reply.status_code == 405 and reply.headers["allow"] == "POST"
    assert "POST" in shape("search-r1", reply)
    assert "has no /news" in shape("serper", HTTP.post(f"{url}/serper/news", json={"q": "a"}))
    assert HTTP.get(f"{url}/nowhere").json()["error"]["code"] == "not_found"


def test_searxng_without_json_is_403_as_there(url: str) -> None:
    reply = HTTP.get(f"{url}/searxng/search", params={"q": "a"}, headers={"Authorization": f"Bearer {KEY}"})
    assert reply.status_code == 403 and "format=json" in shape("searxng", reply)


def test_brave_and_tavily_have_limits_of_their_own(url: str) -> None:
    assert "words" in shape("brave", send(url, "brave", "a " * 60))
    assert "1 to 20" in shape("tavily", send(url, "tavily", "a", 21))
    assert send(url, "serper", "a", 21).status_code == 200
