"""A request as received, and why one is refused. It uses no framework, because every search takes this path."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ValidationError

Receive = Callable[[], Awaitable[Any]]


class Reason(Enum):
    """Why a request gets no documents; the value is the status in most dialects."""

    BAD_REQUEST = 400
    UNAUTHORISED = 401
    FORMAT = 403  # a format that is not supported
    NOT_FOUND = 404
    WRONG_METHOD = 405
    TOO_LARGE = 413
    TOO_MANY = 429
    BROKEN = 500
    ENGINE_FAILED = 502
    BUSY = 503
    TIMED_OUT = 504


@dataclass(eq=False)
class Refused(Exception):
    """A request that gets no documents. The message is for the client: it contains no key, no gold answer and nothing from a back end."""

    reason: Reason
    message: str
    retry_after_s: int = 0
    allow: str = ""


class ClientGone(Exception):
    """The client no longer waits for the answer."""


@dataclass(slots=True)
class HttpRequest:
    """`path` is without the prefixes that name a session or a dialect; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: bytes
    body: bytes = b""
    session: str = ""
    _fields: dict[str, Any] | None = None

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.query.decode("latin-1"), keep_blank_values=True))

    @property
    def is_form(self) -> bool:
        return "form" in self.headers.get("content-type", "")

    @property
    def fields(self) -> dict[str, Any]:
        """All named values: parameters, overridden by the members of a JSON object or a form. Raises Refused."""
        if self._fields is None:
            self._fields = self.params if self.query else {}
            if self.method == "POST" and self.body:
                self._fields |= self._form() if self.is_form else self._object()
        return self._fields

    @property
    def readable_fields(self) -> dict[str, Any]:
        """`fields`, or nothing if they cannot be read."""
        try:
            return self.fields
        except Refused:
            return {}

    def _form(self) -> dict[str, Any]:
        try:
            return dict(parse_qsl(self.body.decode(), keep_blank_values=True, max_num_fields=100))
        except ValueError:
            raise Refused(Reason.BAD_REQUEST, "the body is not a form in UTF-8; send one.") from None

    def _object(self) -> dict[str, Any]:
        try:
            value: Any = orjson.loads(self.body)
        except ValueError:
            raise Refused(Reason.BAD_REQUEST, "the body is not JSON; send a JSON object.") from None
        if not isinstance(value, dict):
            raise Refused(Reason.BAD_REQUEST, f"the body is JSON, but a {type(value).__name__}; send an object.")
        return value


def validated(model: type[BaseModel], fields: Mapping[str, Any], *, strict: bool = False) -> Any:
    """The fields as a model. Raises Refused with a line that names the first field that is wrong."""
    try:
        return model.model_validate(fields, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(Reason.BAD_REQUEST, f"{where}: {first['msg']}." if where else f"{first['msg']}.") from None


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The whole body. Raises Refused beyond `limit` bytes, ClientGone if the rest never comes."""
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    pieces = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces += message.get("body", b"")
        if len(pieces) > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return bytes(pieces)
        message = await receive()


def _too_large(limit: int) -> Refused:
    return Refused(Reason.TOO_LARGE, f"the body is larger than {limit:,} bytes; send less.")
