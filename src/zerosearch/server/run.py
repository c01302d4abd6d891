"""A server from start to end: uvicorn, a first search, and a clean end on SIGTERM or Ctrl-C."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from zerosearch.core.errors import BadInput
from zerosearch.server.app import make_app
from zerosearch.server.service import Service

_KEEP_ALIVE_S = 75  # longer than clients keep an idle connection, so that none sends into one that is being closed
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Only our own handler: uvicorn would raise the signal again at the end, and a clean end would look like a kill."""
        yield


async def _checked(service: Service) -> None:
    try:
        await service.check()
    except BadInput:
        await service.aclose()
        raise


def serve(
    service: Service, listener: socket.socket, *, drain_s: float, public_url: str = "", check: bool = False, on_start: Callable[[str], None]
) -> None:
    """Serve until a signal comes, then finish running requests within `drain_s`; a second signal ends it at once.

    With `check`, a first search must succeed before anything else. Raises BadInput if it does not.
    """
    host, port = listener.getsockname()[:2]
    service.library.base_url = public_url.rstrip("/") or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    app: Any = make_app(service, loopback_only=host in _LOOPBACK)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # its messages are in our log, or in the exit code
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(drain_s)),
    )
    server = _Server(config)

    def on_signal() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True
        service.ready = False

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, on_signal)
            except NotImplementedError:  # Windows' loops have none
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(on_signal))
        if check:
            await _checked(service)
        service.events.say("info", "started", url=service.library.base_url, engine=service.name)
        on_start(service.library.base_url)
        await server.serve([listener])
        service.events.say("info", "stopped", finished=not server.force_exit)

    factory = config.get_loop_factory()
    with listener, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
