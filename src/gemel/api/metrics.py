"""Requests counted and timed, for Prometheus. Routes, not addresses, are labels: their number is bounded."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


class Metrics:
    """One registry for each app: tests make many of them in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gemel_api_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "gemel_api_request_seconds",
            "Seconds until the answer began",
            ("method", "route"),
            registry=self.registry,
            buckets=SECONDS,
        )
        self.under_way = Gauge(
            "gemel_api_requests_under_way", "Requests being answered, watches included", registry=self.registry
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware that fills the metrics of the application's services."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, metrics = time.monotonic(), scope["app"].state.services.metrics

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                _count(metrics, scope, int(message["status"]), time.monotonic() - began)
            await send(message)

        with metrics.under_way.track_inprogress():
            await self._app(scope, receive, count)


def _count(metrics: Metrics, scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if scope["method"] in METHODS else "other"
    metrics.requests.labels(method, route, str(status)).inc()
    metrics.seconds.labels(method, route).observe(seconds)
