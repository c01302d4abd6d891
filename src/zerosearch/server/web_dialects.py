"""The dialects of search APIs: Serper, SerpAPI, SearXNG, Tavily, Brave. engines/web.py is the client side; this is the server side."""

from datetime import UTC, datetime
from html import escape
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from zerosearch.engines.web import WEB_APIS
from zerosearch.server.dialects import ClientSearch, Dialect, Served
from zerosearch.server.document_cache import Hit
from zerosearch.server.http_request import HttpRequest, Reason, Refused

Page = Annotated[int, Field(ge=0, le=100)]


class Lenient(BaseModel):
    """Unknown parameters change nothing, as with the real APIs; Serper and SerpAPI send them back."""

    model_config = ConfigDict(extra="allow")


def _display(url: str) -> str:
    parts = urlsplit(url)
    return " › ".join([f"{parts.scheme}://{parts.netloc}", *filter(None, parts.path.split("/"))])


# ---- Serper


class SerperSearch(Lenient):
    q: str
    num: int = 10
    page: Page = 1
    gl: str = "us"
    hl: str = "en"
    autocorrect: bool = True
    tbs: str | None = None


def _write_serper(said: SerperSearch, served: Served) -> Any:
    parameters = {"q": said.q, "gl": said.gl, "hl": said.hl, "num": said.num, "autocorrect": said.autocorrect, "page": said.page}
    organic = [{"title": h.title, "link": h.url, "snippet": h.text, "position": i} for i, h in enumerate(served.first, start=1)]
    optional = {"tbs": said.tbs} if said.tbs else {}
    return {
        "searchParameters": {**parameters, **optional, "type": "search", "engine": "google"},
        "organic": organic,
        "peopleAlsoAsk": [],
        "relatedSearches": [],
        "credits": 1 if said.num <= 10 else 2,
    }


# ---- SerpAPI


class SerpApiSearch(Lenient):
    q: str
    engine: str = "google"
    num: int = 10
    start: Annotated[int, Field(ge=0, le=1000)] = 0
    google_domain: str = "google.com"
    device: str = "desktop"
    hl: str | None = None
    gl: str | None = None
    location: str | None = None
    safe: str | None = None
    tbs: str | None = None


_SERPAPI_SECRET = ("api_key", "output", "source", "async", "no_cache", "zero_trace")


def _write_serpapi(said: SerpApiSearch, served: Served) -> Any:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    base, name = served.base_url, served.request_id
    # as there, every parameter is returned as given, a number as text
    given = {
        key: str(value) for key, value in said.model_dump(exclude_unset=True).items() if key not in _SERPAPI_SECRET and value is not None
    }
    result = {
        "search_metadata": {
            "id": name,
            "status": "Success",
            "json_endpoint": f"{base}/searches/{name}.json",
            "created_at": now,
            "processed_at": now,
            "google_url": f"{base}/",
            "raw_html_file": f"{base}/searches/{name}.html",
            "total_time_taken": round(served.seconds, 2),
        },
        "search_parameters": {"engine": said.engine, "google_domain": said.google_domain, "device": said.device, **given},
        "search_information": {
            "query_displayed": said.q,
            "total_results": len(served.first),
            "time_taken_displayed": round(served.seconds, 2),
            "organic_results_state": "Results for exact spelling" if served.first else "Fully empty",
        },
    }
    if not served.first:
        return {**result, "error": "Google hasn't returned any results for this query."}
    return {**result, "organic_results": [_organic(said.start + i, hit) for i, hit in enumerate(served.first, start=1)]}


def _organic(position: int, hit: Hit) -> dict[str, Any]:
    source = urlsplit(hit.url).hostname or ""
    row = {"position": position, "title": hit.title, "link": hit.url, "displayed_link": _display(hit.url)}
    return {**row, "snippet": hit.text, "source": source}


# ---- SearXNG


class SearxngSearch(Lenient):
    q: str
    format: str = "html"
    pageno: Annotated[int, Field(ge=1, le=100)] = 1
    categories: str | None = None
    engines: str | None = None
    language: str | None = None
    time_range: str | None = None


_SEARXNG_PAGE = 10


def _read_searxng(said: SearxngSearch) -> list[ClientSearch]:
    if said.format != "json":
        raise Refused(Reason.FORMAT, f"format={said.format[:20]} is not supported; use format=json.")
    return [ClientSearch(said.q, _SEARXNG_PAGE, (said.pageno - 1) * _SEARXNG_PAGE)]


def _write_searxng(said: SearxngSearch, served: Served) -> Any:
    rest: dict[str, list[Any]] = {"answers": [], "corrections": [], "infoboxes": [], "suggestions": [], "unresponsive_engines": []}
    results = [_searxng_result(i, hit) for i, hit in enumerate(served.first, start=1)]
    return {"query": said.q, "number_of_results": len(results), "results": results, **rest}


def _searxng_result(position: int, hit: Hit) -> dict[str, Any]:
    parts = urlsplit(hit.url)
    return {
        "url": hit.url,
        "title": hit.title,
        "content": hit.text,
        "engine": "zerosearch",
        "engines": ["zerosearch"],
        "parsed_url": [parts.scheme, parts.netloc, parts.path, "", parts.query, parts.fragment],
        "template": "default.html",
        "positions": [position],
        "score": 1 / position,
        "category": "general",
        "publishedDate": None,
        "thumbnail": "",
        "img_src": "",
        "priority": "",
    }


# ---- Tavily


class TavilySearch(Lenient):
    query: str
    max_results: int = 5
    include_answer: bool | str = False
    include_raw_content: bool | str = False
    include_favicon: bool = False
    include_usage: bool = False
    api_key: str | None = None  # where older clients put it


def _write_tavily(said: TavilySearch, served: Served) -> Any:
    """The answer of `include_answer` is the first document, because no summary is written."""
    return {
        "query": said.query,
        "follow_up_questions": None,
        "answer": served.first[0].text if said.include_answer and served.first else None,
        "images": [],
        "results": [_tavily_result(said, i, hit) for i, hit in enumerate(served.first, start=1)],
        "response_time": round(served.seconds, 3),
        "request_id": served.request_id,
        **({"usage": {"credits": 1}} if said.include_usage else {}),
    }


def _tavily_result(said: TavilySearch, position: int, hit: Hit) -> dict[str, Any]:
    row = {"url": hit.url, "title": hit.title, "content": hit.text, "score": 1 / position}
    return {**row, "raw_content": hit.whole if said.include_raw_content else None, **({"favicon": ""} if said.include_favicon else {})}


def _tavily_key(wire: HttpRequest) -> str:
    _, _, token = wire.headers.get("authorization", "").partition(" ")
    in_body = wire.fields.get("api_key") if not token else None
    return token.strip() or (in_body if isinstance(in_body, str) else "")


# ---- Brave


class BraveSearch(Lenient):
    q: str
    count: int = 20
    offset: Annotated[int, Field(ge=0, le=9)] = 0
    country: str = "us"
    search_lang: str = "en"


def _write_brave(said: BraveSearch, served: Served) -> Any:
    """Their texts are HTML, so ours are escaped."""
    results = [_brave_result(said, hit) for hit in served.first]
    query = {"original": said.q, "show_strict_warning": False, "is_navigational": False, "country": said.country}
    web = {"web": {"type": "search", "results": results, "family_friendly": True}} if results else {}
    main = [{"type": "web", "index": i, "all": False} for i in range(len(results))]
    mixed = {"type": "mixed", "main": main, "top": [], "side": []}
    return {"type": "search", "query": {**query, "more_results_available": False}, "mixed": mixed, **web}


def _brave_result(said: BraveSearch, hit: Hit) -> dict[str, Any]:
    parts = urlsplit(hit.url)
    return {
        "title": escape(hit.title, quote=False),
        "url": hit.url,
        "is_source_local": False,
        "is_source_both": False,
        "description": escape(hit.text, quote=False),
        "language": said.search_lang,
        "family_friendly": True,
        "type": "search_result",
        "subtype": "generic",
        "meta_url": {"scheme": parts.scheme, "netloc": parts.netloc, "hostname": parts.hostname or "", "favicon": "", "path": parts.path},
    }


_BRAVE_CODES = {
    Reason.BAD_REQUEST: "VALIDATION",
    Reason.UNAUTHORISED: "SUBSCRIPTION_TOKEN_INVALID",
    Reason.NOT_FOUND: "NOT_FOUND",
    Reason.TOO_MANY: "RATE_LIMITED",
}


def _brave_error(refused: Refused, status: int) -> Any:
    code = _BRAVE_CODES.get(refused.reason, "INTERNAL")
    error = {"id": f"{status}-{code.lower()}", "status": status, "code": code, "detail": refused.message, "meta": {}}
    return {"type": "ErrorResponse", "error": error}


def _header(name: str) -> Any:
    return lambda wire: wire.headers.get(name, "")


def _dialect(name: str, client: str, routes: str, model: type[BaseModel], read: Any, write: Any, error: Any, **other: Any) -> Dialect:
    """`routes` are written "GET /search, POST /search". What the API accepts, and how it is called, comes from our own client."""
    api = WEB_APIS[name]
    methods_and_paths = tuple((method, path) for method, path in map(str.split, routes.split(", ")))
    bounds = {"max_k": api.max_k, "max_words": api.max_words, "max_characters": api.max_characters}
    return Dialect(name, client, methods_and_paths, model, read, write, api.ask, error, **bounds, **other)


def _said(refused: Refused, status: int) -> Any:
    return {"error": refused.message}


WEB_DIALECTS = {
    dialect.name: dialect
    for dialect in (
        _dialect(
            *("serper", "https://google.serper.dev → URL", "POST /search", SerperSearch),
            lambda said: [ClientSearch(said.q, said.num, max(said.page - 1, 0) * said.num)],
            _write_serper,
            lambda refused, status: {"message": refused.message, "statusCode": status},
            key=_header("x-api-key"),
        ),
        _dialect(
            *("serpapi", 'serpapi.Client.BASE_DOMAIN = "URL"', "GET /search, GET /search.json", SerpApiSearch),
            lambda said: [ClientSearch(said.q, said.num, said.start)],
            *(_write_serpapi, _said),
            key=lambda wire: str(wire.fields.get("api_key", "")),
        ),
        _dialect(
            *("searxng", 'SearxSearchWrapper(searx_host="URL")', "GET /search, POST /search, GET /, POST /", SearxngSearch),
            *(_read_searxng, _write_searxng, _said),
        ),
        _dialect(
            *("tavily", 'TavilyClient(api_base_url="URL")', "POST /search", TavilySearch),
            lambda said: [ClientSearch(said.query, said.max_results)],
            _write_tavily,
            lambda refused, status: {"detail": {"error": refused.message}},
            key=_tavily_key,
        ),
        _dialect(
            *("brave", 'BraveSearchWrapper(base_url="URL/res/v1/web/search")', "GET /res/v1/web/search", BraveSearch),
            lambda said: [ClientSearch(said.q, said.count, said.offset * said.count)],
            *(_write_brave, _brave_error),
            key=_header("x-subscription-token"),
            statuses={Reason.BAD_REQUEST: 422, Reason.UNAUTHORISED: 422},
        ),
    )
}
