"""A real server on loopback in a thread of its own, around any engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from zerosearch.core.interfaces import SearchEngine
from zerosearch.core.types import Document
from zerosearch.net.listener import bind
from zerosearch.server.app import make_app
from zerosearch.server.service import Service

# one for all tests: to make one takes longer than most of them; no connection is kept, so none is left open
HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=30)

DOCUMENTS = (
    Document("Paris is the capital of France & lies on the <Seine>.", "Paris", "http://a.test/paris?x=1"),
    Document("Lyon is a city on the Rhône, founded in 43 BC.", "Lyon", "lyon"),
    Document("Nothing here has a title, but it has quite a few words all the same."),
)


@contextmanager
def served(engine: SearchEngine, **parts: Any) -> Iterator[Service]:
    """A service that answers at `service.library.base_url`; `parts` are Service's."""
    service = Service(engine, **parts)
    listener = bind("127.0.0.1", 0, search=False)
    service.library.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(make_app(service), log_config=None, lifespan="on", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        threading.Event().wait(0.005)
    try:
        yield service
    finally:
        server.should_exit = True
        thread.join(10)
