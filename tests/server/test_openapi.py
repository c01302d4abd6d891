"""schemathesis reads our OpenAPI and tries what it says, and what it does not."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from scripted import ScriptedEngine
from serving import DOCUMENTS, HTTP, served
from zerosearch.core.types import SearchResult
from zerosearch.server.native import DIALECTS
from zerosearch.server.service import Service

EXAMPLES = 6


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with served(ScriptedEngine(lambda request: SearchResult(DOCUMENTS))) as service:
        yield service


def test_every_route_is_described(service: Service) -> None:
    described = HTTP.get(f"{service.library.base_url}/openapi.json").json()
    assert described["openapi"].startswith("3.")
    for name, dialect in DIALECTS.items():
        own = [path for path in described["paths"] if f"/{name}/" in path or name in ("native", "native-batch", "access")]
        assert own, name
        assert all(any(path.endswith(route) for path in described["paths"]) for _, route in dialect.routes)
    assert "NativeSearch" in described["components"]["schemas"]


def test_what_schemathesis_tries(service: Service) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = schemathesis.openapi.from_url(f"{service.library.base_url}/openapi.json")
        tried = 0
        for result in schema.get_all_operations():
            operation: Any = result.ok()

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
                phases=[Phase.generate],
            )
            @given(case=operation.as_strategy())
            def try_it(case: Any) -> None:
                nonlocal tried
                tried += 1
                # limits (words, results, the server's own) are not in the schemas, and the real APIs are as lenient as we are
                ours = [positive_data_acceptance, negative_data_rejection]
                case.call_and_validate(headers={"Connection": "close"}, excluded_checks=ours)

            try_it()
    assert tried > 60
    counted = HTTP.get(f"{service.library.base_url}/metrics").text
    assert 'status="500"' not in counted
