"""The dialects in the OpenAPI description: the fields of a request come from their models."""

from typing import Any

from pydantic import BaseModel

from zerosearch.server.dialects import Dialect
from zerosearch.server.examples import address
from zerosearch.server.http_request import Reason
from zerosearch.server.native import DIALECTS, NativeBatchFound, NativeError, NativeFound

_REFS = "#/components/schemas/{model}"
_REPLIES: dict[str, type[BaseModel]] = {"native": NativeFound, "native-batch": NativeBatchFound}
_HEADERS = {
    "X-Zerosearch-Noise": ({"type": "number", "minimum": 0, "maximum": 1}, "The noise rate of this request."),
    "X-Zerosearch-Seed": ({"type": "integer", "minimum": 0, "maximum": 2**62}, "The seed of the noise draw."),
    "X-Zerosearch-Session": ({"type": "string"}, "A session, or the id of a question in the server's question file."),
    "X-Zerosearch-Key": ({"type": "string"}, "Names the noise draw."),
    "X-Zerosearch-Faults": ({"type": "string"}, "Faults of this request: NAME=RATE, separated by commas."),
}


def with_dialects(schema: dict[str, Any]) -> dict[str, Any]:
    """The description with a path for each route of each dialect. Changes `schema`, once."""
    if "/v1/search" in schema["paths"]:
        return schema
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for dialect in DIALECTS.values():
        for model in (dialect.model, *([_REPLIES[dialect.name]] if dialect.name in _REPLIES else []), NativeError):
            described = model.model_json_schema(ref_template=_REFS)
            schemas |= described.pop("$defs", {})
            schemas[model.__name__] = described
        for method, path in dialect.routes:
            place = schema["paths"].setdefault(f"{address('', dialect)}{path}", {})
            place[method.lower()] = _operation(dialect, method)
    return schema


def _operation(dialect: Dialect, method: str) -> dict[str, Any]:
    ref = {"$ref": _REFS.format(model=dialect.model.__name__)}
    headers = [{"name": name, "in": "header", "schema": kind, "description": what} for name, (kind, what) in _HEADERS.items()]
    reply = {"$ref": _REFS.format(model=_REPLIES[dialect.name].__name__)} if dialect.name in _REPLIES else {}
    error = {"$ref": _REFS.format(model="NativeError")} if dialect.name in _REPLIES else {}
    statuses = {str(dialect.status(reason)) for reason in Reason}
    operation: dict[str, Any] = {
        "tags": ["dialects"],
        "summary": f"{dialect.name}: {dialect.client}",
        "parameters": headers,
        "responses": {
            "200": {"description": "Found", "content": {"application/json": {"schema": reply}}},
            **{status: {"description": "Refused", "content": {"application/json": {"schema": error}}} for status in sorted(statuses)},
        },
    }
    if method == "GET":
        described = dialect.model.model_json_schema(ref_template=_REFS)
        required = described.get("required", ())
        fields = described["properties"].items()
        operation["parameters"] = headers + [{"name": n, "in": "query", "schema": s, "required": n in required} for n, s in fields]
    else:
        kind = "application/x-www-form-urlencoded" if dialect.name == "searxng" else "application/json"
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": ref}}}
    return operation
