"""A real server on loopback that speaks the APIs of search engines, each in full shape, over documents it is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import web

KEY = "k-1+2/3=="  # of the kind that is spelled differently in an address
ENVIRONMENT = {f"{name}_API_KEY": KEY for name in ("SERPER", "SERPAPI", "TAVILY", "BRAVE")}

Hit = tuple[str, str, str]
"""title, snippet, address"""

HITS: list[Hit] = [
    ("Paris", "Paris is the capital of France.", "http://a.test/paris"),
    ("Lyon", "Lyon is a city on the Rhône.", "http://a.test/lyon"),
    ("Nice", "Nice lies on the sea.", "http://a.test/nice"),
]


def serper(hits: Sequence[Hit], query: str) -> dict[str, Any]:
    organic = [{"title": t, "link": u, "snippet": s, "position": i} for i, (t, s, u) in enumerate(hits, start=1)]
    parameters = {"q": query, "gl": "us", "hl": "en", "type": "search", "num": 10}
    return {"searchParameters": parameters, "organic": organic, "peopleAlsoAsk": [], "relatedSearches": [], "credits": 1}


def serpapi(hits: Sequence[Hit], query: str) -> dict[str, Any]:
    base = {
        "search_metadata": {"id": "1", "status": "Success", "total_time_taken": 1.1},
        "search_parameters": {"engine": "google", "q": query},
    }
    if not hits:
        state = {"query_displayed": query, "organic_results_state": "Fully empty"}
        return {**base, "search_information": state, "error": "Google hasn't returned any results for this query."}
    organic = [{"position": i, "title": t, "link": u, "displayed_link": u, "snippet": s} for i, (t, s, u) in enumerate(hits, start=1)]
    state = {"query_displayed": query, "total_results": len(hits), "organic_results_state": "Results for exact spelling"}
    return {**base, "search_information": state, "organic_results": organic}


def searxng(hits: Sequence[Hit], query: str) -> dict[str, Any]:
    results = [
        {"url": u, "title": t, "content": s, "engine": "a", "engines": ["a"], "parsed_url": [], "positions": [i], "score": 1 / i}
        for i, (t, s, u) in enumerate(hits, start=1)
    ]
    rest: dict[str, list[Any]] = {"answers": [], "corrections": [], "infoboxes": [], "suggestions": [], "unresponsive_engines": []}
    return {"query": query, "number_of_results": 0, "results": results, **rest}


def tavily(hits: Sequence[Hit], query: str) -> dict[str, Any]:
    results = [{"title": t, "url": u, "content": s, "score": 0.9, "raw_content": None} for t, s, u in hits]
    return {"query": query, "answer": None, "images": [], "results": results, "response_time": 0.5, "request_id": "r"}


def brave(hits: Sequence[Hit], query: str) -> dict[str, Any]:
    reply: dict[str, Any] = {"type": "search", "query": {"original": query, "more_results_available": False}}
    results = [{"title": t, "url": u, "description": s.replace("'", "&#x27;"), "age": "1 day ago"} for t, s, u in hits]
    return {**reply, "web": {"type": "search", "results": results}} if hits else reply


def search_r1(hits: Sequence[Hit], query: str, scores: bool = True) -> dict[str, Any]:
    documents = [{"id": u, "contents": f'"{t}"\n{s}'} for t, s, u in hits]
    return {"result": [[{"document": d, "score": 1.5} for d in documents] if scores else documents]}


Answer = Callable[[str], Any]
"""What a search for the query is answered with: JSON, or a whole response."""


class SearchServer:
    """`requests` are all that came in: path, headers, parameters or body. `answers[path]` replaces the answer at a path."""

    def __init__(self, hits: Sequence[Hit] = HITS) -> None:
        self.hits = list(hits)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers: dict[str, Answer] = {}
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked: dict[str, Any] = dict(request.query) if request.method == "GET" else await request.json()
        self.requests.append((request.path, dict(request.headers), asked))
        query = asked.get("q") or asked.get("query") or (asked.get("queries") or [""])[0]
        if request.path in self.answers:
            answer = self.answers[request.path](query)
            return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)
        name = request.path.split("/")[1]
        key = {
            "serper": request.headers.get("X-API-KEY"),
            "serpapi": asked.get("api_key"),
            "tavily": request.headers.get("Authorization", "").removeprefix("Bearer "),
            "brave": request.headers.get("X-Subscription-Token"),
        }.get(name, KEY)
        if key != KEY:
            return web.json_response({"error": f"Invalid API key: {key}"}, status=401)
        k = int(asked.get("num") or asked.get("max_results") or asked.get("count") or asked.get("topk") or 10)
        shapes = {"serper": serper, "serpapi": serpapi, "searxng": searxng, "tavily": tavily, "brave": brave, "search-r1": search_r1}
        return web.json_response(shapes[name](self.hits[:k] if name != "searxng" else self.hits, query))


@contextmanager
def serving(server: SearchServer) -> Iterator[SearchServer]:
    """The server in a thread of its own; the API of `serper` is at `{server.url}/serper`, and so on."""
    loop = asyncio.new_event_loop()
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner.addresses[0][1]

    server.url = f"http://127.0.0.1:{loop.run_until_complete(start())}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
