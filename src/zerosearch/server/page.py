"""The pages for people: self-contained, and unable to load anything from elsewhere or to run what a document contains."""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined)

Page = tuple[str, dict[str, str]]


def search_page(engine: str, noise: float, *, needs_key: bool) -> Page:
    """The page to search from, and its headers."""
    return _page("search.html.jinja", engine=engine, noise=f"{noise:.2g}", needs_key=needs_key)


def api_page(api: Mapping[str, Any]) -> Page:
    """An OpenAPI description as a page."""
    return _page("api.html.jinja", api=api, fields=lambda operation: list(_fields(api, operation)))


def _page(template: str, **values: Any) -> Page:
    nonce = secrets.token_urlsafe(16)
    html = _TEMPLATES.get_template(template).render(nonce=nonce, **values)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, {"content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def _fields(api: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "header":
            yield _field(parameter["name"], parameter["schema"], parameter.get("required", False), parameter.get("description", ""))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        schema = next((option for option in schema.get("anyOf", ()) if "$ref" in option), schema)
        model = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for name, field in model["properties"].items():
            yield _field(name, field, name in model.get("required", ()), "")


def _field(name: str, schema: Mapping[str, Any], required: bool, what: str) -> dict[str, Any]:
    options = schema.get("anyOf", (schema,))
    kinds = [str(option.get("type") or option.get("$ref", "").rpartition("/")[2]) for option in options]
    return {"name": name, "type": " or ".join(kinds), "required": required, "what": what or schema.get("description", "")}
