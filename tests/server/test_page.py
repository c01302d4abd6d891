"""The page in a real browser, and without one: what it may load, and that a document is text whatever it says."""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from scripted import ScriptedEngine
from serving import HTTP, served
from zerosearch.core.types import Document, Quality, SearchRequest, SearchResult
from zerosearch.lab.demo import DemoEngine
from zerosearch.server.limits import Keys

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script></pre>{{ 7*7 }}'


def answer(request: SearchRequest) -> SearchResult:
    quality = Quality.NOISY if request.noise_rate > 0.5 else Quality.USEFUL
    return SearchResult((Document(f"{EVIL} about {request.query}", "A <b>title</b>", "javascript:window.hacked=1"),), quality)


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A page of Debian's Chromium, and what it complained about."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def test_search_turn_the_dial_and_copy_a_curl_line(page: Any) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    with served(ScriptedEngine(answer), name="scripted") as service:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(service.library.base_url)
        page.fill("#query", 'the <i>query</i>\'s "quotes"')
        page.click("button")
        page.wait_for_selector("article")
        assert page.inner_text("article p") == f'{EVIL} about the <i>query</i>\'s "quotes"'
        assert page.inner_text("article .badge") == "useful" and "A <b>title</b>" in page.inner_text("article h2")
        page.fill("#noise", "1")
        assert page.inner_text("#shown-noise") == "1"
        page.click("button")
        page.wait_for_selector(".badge.noisy")
        page.wait_for_function("document.querySelectorAll('#curl pre').length > 8")
        curl = page.inner_text("#curl")
        assert "/tavily/search" in curl and "/res/v1/web/search" in curl and "query" in curl
        assert page.evaluate("window.hacked") is None
        assert all(url.startswith(service.library.base_url) for url in requests)
    assert complaints == []


def test_the_page_asks_for_a_key_and_says_what_is_wrong(page: Any) -> None:
    with served(ScriptedEngine(answer), keys=Keys(["k-1"])) as service:
        page.goto(service.library.base_url)
        page.fill("#query", "a")
        page.click("button")
        page.wait_for_selector(".error")
        assert "key" in page.inner_text("#found")
        page.fill("#api-key", "k-1")
        page.click("button")
        page.wait_for_selector("article")


def test_the_pages_are_whole_in_themselves() -> None:
    with served(ScriptedEngine(answer), name="<b>") as service:
        for path in ("/", "/docs"):
            reply = HTTP.get(f"{service.library.base_url}{path}")
            assert reply.status_code == 200 and "default-src 'none'" in reply.headers["content-security-policy"]
            assert re.findall(r'(?:src|href)="[^/].*', reply.text) == []
            assert "<b>" not in reply.text.partition("<h1>")[2].partition("</h1>")[0]
        assert "/v1/search" in reply.text and "golden_answers" in reply.text and "/tavily/search" in reply.text


def test_a_demo_turns_noisy_without_a_model(tmp_path: Any) -> None:
    from zerosearch.engines.bm25 import BM25Engine
    from zerosearch.lab.demo import demo_corpus

    corpus, query = demo_corpus(tmp_path)
    with served(DemoEngine(BM25Engine(corpus))) as service:

        def ask(noise: float) -> tuple[str, list[str]]:
            reply = HTTP.post(f"{service.library.base_url}/v1/search", json={"query": query, "noise": noise})
            return reply.headers["x-zerosearch-quality"], [d["id"] for d in reply.json()["documents"]]

        useful, noisy = ask(0.0), ask(1.0)
        name = " ".join(query.rstrip("?").split()[-2:])
        assert useful[0] == "useful" and useful[1][0] == f"test-{name}"
        assert noisy[0] == "noisy" and f"test-{name}" not in noisy[1] and ask(1.0) == noisy
