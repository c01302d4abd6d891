"""The metrics that Prometheus reads at /metrics. Only counts: no query, no key."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Meters:
    """One registry per server, so that two in a process do not count together."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        at: Any = {"registry": self.registry}
        self._requests = Counter("zerosearch_requests", "Requests by dialect and status.", ["dialect", "status"], **at)
        self._seconds = Histogram("zerosearch_request_seconds", "Time from request to reply.", ["dialect"], buckets=_BUCKETS, **at)
        self._quality = Counter("zerosearch_drawn", "Searches by the quality that was drawn.", ["quality"], **at)
        self._errors = Counter("zerosearch_engine_errors", "Searches that failed in the engine.", ["error"], **at)
        self._faults = Counter("zerosearch_faults", "Faults injected on demand.", ["fault"], **at)
        self._of: dict[Any, Any] = {}

    def request(self, dialect: str, status: int, seconds: float) -> None:
        self._child(self._requests, dialect, str(status)).inc()
        self._child(self._seconds, dialect).observe(seconds)

    def drawn(self, quality: str) -> None:
        self._child(self._quality, quality).inc()

    def engine_error(self, error: str) -> None:
        self._child(self._errors, error).inc()

    def fault(self, name: str) -> None:
        self._child(self._faults, name).inc()

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A gauge that is read on request."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def watch_counts(self, counts: Callable[[], Mapping[str, float]]) -> None:
        """Counters kept elsewhere."""

        class _Counts:
            def collect(self) -> Iterator[CounterMetricFamily]:
                for name, value in counts().items():
                    yield CounterMetricFamily(f"zerosearch_{name}", f"Searches: {name.replace('_', ' ')}.", value=value)

        self.registry.register(_Counts())

    def _child(self, meter: Any, *labels: str) -> Any:
        """`labels()` checks and locks each time; a dictionary does not."""
        found = self._of.get((meter, *labels))
        if found is None:
            found = self._of[(meter, *labels)] = meter.labels(*labels)
        return found
