"""The rest of the HTTP: sessions, the step, health, metrics, documents, and the pages for people. FastAPI with its OpenAPI description."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from zerosearch.core.version import __version__
from zerosearch.server.dialects import bearer
from zerosearch.server.examples import examples
from zerosearch.server.gateway import Gateway
from zerosearch.server.http_request import HttpRequest, Reason, Refused
from zerosearch.server.mcp import mcp_over_http
from zerosearch.server.native import NativeError, native_error
from zerosearch.server.openapi import with_dialects
from zerosearch.server.page import api_page, search_page
from zerosearch.server.service import Service

_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": NativeError} for status in (400, 401, 404, 413, 429)}
# given in full for routes that are not JSON, because FastAPI would give their own media type
_JSON_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": "Refused", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NativeError"}}}}
    for status in _ERRORS
}
_REASON_OF = {reason.value: reason for reason in Reason}


class NewSession(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, max_length=100_000, description="The question being worked on.")
    golden_answers: list[str] = Field([], max_length=1000, description="Every answer that counts as right. Never sent back.")
    id: str = Field("", max_length=100, pattern=r"^[A-Za-z0-9_.-]*$", description="Its name; by default one is generated.")


class SessionName(BaseModel):
    session: str
    prefix: str = Field(description="Put this between the server's address and any dialect's path, or send X-Zerosearch-Session.")


class NewStep(BaseModel):
    model_config = ConfigDict(extra="forbid")

    step: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(None, description="The step; by default the current one plus 1.")


class StepNow(BaseModel):
    step: int
    noise_rate: float


class Health(BaseModel):
    status: str


def make_app(service: Service, *, loopback_only: bool = True) -> Gateway:
    """The ASGI application: searches go directly through `Gateway`, everything else through FastAPI."""
    mcp_app, mcp_lifespan = mcp_over_http(service, loopback_only)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(service.aclose)
            await stack.enter_async_context(mcp_lifespan())
            service.ready = True
            yield
            service.ready = False

    app = FastAPI(title="zerosearch", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)

    async def admit(request: Request) -> None:
        """Check the caller's key and rate, and record the caller in the request."""
        key = bearer(HttpRequest(request.method, request.url.path, request.headers, b""))
        request.state.owner = service.admit(key, request.client)

    keyed = [Depends(admit)]

    @app.post("/v1/sessions", tags=["sessions"], dependencies=keyed, status_code=201, responses=_ERRORS)
    async def open_session(new: NewSession, request: Request) -> SessionName:
        """A session is a question and its golden answers: simulated documents are written for them."""
        name = service.sessions.open(new.question, new.golden_answers, new.id, request.state.owner)
        return SessionName(session=name, prefix=f"/s/{name}")

    @app.delete("/v1/sessions/{name}", tags=["sessions"], dependencies=keyed, status_code=204, responses=_ERRORS)
    async def close_session(name: str, request: Request) -> Response:
        service.sessions.close(name, request.state.owner)
        return Response(status_code=204)

    @app.get("/v1/step", tags=["curriculum"], dependencies=keyed, responses=_ERRORS)
    async def step() -> StepNow:
        return StepNow(step=service.dial.step, noise_rate=service.dial.rate)

    @app.post("/v1/step", tags=["curriculum"], dependencies=keyed, responses=_ERRORS)
    async def next_step(new: NewStep | None = None) -> StepNow:
        """Set the noise rate to that of a step of the curriculum."""
        service.dial.go_to(service.dial.step + 1 if new is None or new.step is None else new.step)
        return StepNow(step=service.dial.step, noise_rate=service.dial.rate)

    @app.get("/v1/examples", tags=["pages"], dependencies=keyed, responses=_ERRORS)
    async def curl_lines(q: Annotated[str, Field(max_length=2048)] = "who wrote Faust?") -> list[dict[str, str]]:
        """A curl line for each dialect."""
        return examples(service.library.base_url, q, with_key=bool(service.keys))

    @app.get("/documents/{name}", tags=["pages"], dependencies=keyed, response_class=PlainTextResponse, responses=_JSON_ERRORS)
    async def document(name: str) -> PlainTextResponse:
        """A document found here, as text."""
        hit = service.library.open_here(name)
        if hit is None:
            raise Refused(Reason.NOT_FOUND, "there is no such document, or it was shown too long ago; search again.")
        return PlainTextResponse(hit.whole, headers={"x-content-type-options": "nosniff"})

    @app.get("/healthz", tags=["operations"])
    async def healthz() -> Health:
        return Health(status="alive")

    @app.get("/readyz", tags=["operations"], responses={503: {"model": Health}})
    async def readyz() -> JSONResponse:
        return JSONResponse({"status": "ready" if service.ready else "not ready"}, 200 if service.ready else 503)

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(service.meters.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", tags=["pages"], response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        """The page to search from."""
        html, headers = search_page(service.name, service.dial.rate, needs_key=bool(service.keys))
        return HTMLResponse(html, headers=headers)

    @app.get("/docs", tags=["pages"], response_class=HTMLResponse)
    async def docs() -> HTMLResponse:
        """The API, from /openapi.json."""
        html, headers = api_page(app.openapi())
        return HTMLResponse(html, headers=headers)

    if mcp_app is not None:
        app.mount("/mcp", _behind_keys(mcp_app, service))

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else {}
        return JSONResponse(native_error(error), error.reason.value, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first: Any = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse(native_error(Refused(Reason.BAD_REQUEST, f"{where}: {first['msg']}.".removeprefix(": "))), 400)

    @app.exception_handler(HTTPException)
    async def otherwise(request: Request, error: HTTPException) -> JSONResponse:
        reason = _REASON_OF.get(error.status_code, Reason.BAD_REQUEST)
        return JSONResponse(native_error(Refused(reason, f"{error.detail}; GET /docs lists the API.")), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        service.events.broken(error)
        return JSONResponse(native_error(Refused(Reason.BROKEN, "the server failed unexpectedly; its log says why.")), 500)

    plain: Callable[[], dict[str, Any]] = app.openapi
    app.openapi = lambda: with_dialects(plain())  # type: ignore[method-assign]
    return Gateway(service, app)


def _behind_keys(app: Any, service: Service) -> Any:
    """An ASGI application behind the server's keys and rates."""

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            service.admit(bearer(HttpRequest(scope["method"], scope["path"], headers, b"")), scope.get("client"))
        except Refused as refused:
            await JSONResponse(native_error(refused), refused.reason.value)(scope, receive, send)
            return
        await app(scope, receive, send)

    return guard
