"""The live page on loopback: static files, the data API, and nothing that writes."""

import json
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from zerosearch.core.errors import BadInput
from zerosearch.viewer.api import Api

PAGE = Path(__file__).parent / "page"
HOSTS = ("127.0.0.1", "localhost", "[::1]")
_REFRESH_S = 0.7
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_app(api: Api) -> FastAPI:
    """The page at /, its files under /page, the data under /api."""
    app = FastAPI(title="zerosearch view", docs_url=None, redoc_url=None, openapi_url=None)
    files = {f"/page/{file.name}": file for folder in (PAGE, PAGE.parent / "vendor") for file in folder.iterdir()}
    files["/"] = PAGE / "index.html"

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:  # pyright: ignore[reportUnusedFunction]
        host = request.headers.get("host", "").rsplit(":", 1)[0]
        if host not in HOSTS:  # a foreign page whose name resolves to this machine must not read the runs
            response: Response = JSONResponse({"error": f"this server answers only to {', '.join(HOSTS)}."}, 403)
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    def data(name: str, request: Request) -> Response:
        words = {key: request.query_params.getlist(key) for key in request.query_params}
        try:
            found = api.answer(name, words)
        except BadInput as error:
            return JSONResponse({"error": str(error)}, 400)
        # a lone surrogate from a model cannot be sent as UTF-8; as JSON's own escape it can
        return Response(json.dumps(found, allow_nan=False), media_type="application/json")

    def page(path: str) -> Response:
        file = files.get(f"/{path}")
        if file is None:
            return JSONResponse({"error": "there is nothing at this address; start at /."}, 404)
        return Response(file.read_bytes(), media_type=_TYPES.get(file.suffix, "text/plain"))

    app.get("/api/{name}")(data)
    app.get("/{path:path}")(page)
    return app


def serve(api: Api, listener: socket.socket) -> None:
    """Serve until Ctrl-C, which it raises again. A separate thread reads the runs while the page is already shown."""
    stopped = threading.Event()
    reader = threading.Thread(target=_keep_reading, args=(api, stopped), daemon=True)
    reader.start()
    server = uvicorn.Server(uvicorn.Config(make_app(api), log_level="warning", access_log=False, timeout_graceful_shutdown=1))
    try:
        server.run(sockets=[listener])
    finally:
        stopped.set()
        listener.close()


def _keep_reading(api: Api, stopped: threading.Event) -> None:
    while not stopped.is_set():
        api.refresh()
        stopped.wait(_REFRESH_S)
