"""A curl line for each dialect, made from the request that our own client sends."""

import shlex
from urllib.parse import urlencode

import orjson

from zerosearch.net.http import Call
from zerosearch.server.dialects import Dialect
from zerosearch.server.native import DIALECTS

_KEY = "YOUR_KEY"
_K = 3


def examples(base_url: str, query: str, *, with_key: bool = False) -> list[dict[str, str]]:
    """`dialect`, `client` (what a client sets) and `curl` of each. Without `with_key`, key headers are left out where they are optional."""
    return [
        {
            "dialect": name,
            "client": dialect.client.replace("URL", address(base_url, dialect)),
            "curl": curl_line(base_url, query, dialect, with_key),
        }
        for name, dialect in DIALECTS.items()
    ]


def address(base_url: str, dialect: Dialect) -> str:
    """The address that identifies this dialect whatever the request looks like."""
    own = {"native": "", "native-batch": "", "access": "/asearcher"}.get(dialect.name, f"/{dialect.name}")
    return f"{base_url}{own}"


def curl_line(base_url: str, query: str, dialect: Dialect, with_key: bool) -> str:
    call = dialect.example(query, _K, _KEY if with_key else "")
    words = ["curl", "-s", _url(address(base_url, dialect), call)]
    for name, value in call.headers.items():
        if with_key and name != "Accept":
            words += ["-H", f"{name}: {value}"]
    if call.body is not None:
        words += ["-H", "content-type: application/json", "-d", orjson.dumps(call.body).decode()]
    return shlex.join(words)


def _url(base_url: str, call: Call) -> str:
    params = {name: value for name, value in call.params.items() if value != ""}
    return f"{base_url}/{call.path}" + (f"?{urlencode(params)}" if params else "")
