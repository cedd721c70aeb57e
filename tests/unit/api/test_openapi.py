"""The API against its own OpenAPI document: no answer that it does not declare, and no failure of its own.

It is served over loopback, in a thread with its own event loop, over a region in memory that has records.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi import checks as openapi
from tests.unit.api.world import Region, shared_app

HEADERS = {"Authorization": "Bearer token-ada"}
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.negative_data_rejection,
    openapi.unsupported_method,
    openapi.ignored_auth,
]


class Served:
    """The region's API on a port of loopback. Watches end soon, for the client reads them to their end."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._server: uvicorn.Server | None = None

    async def _serve(self) -> None:
        async with Region(watch_limit=0.02) as region:
            await region.running()
            await region.http.get("/openapi.json")
            config = uvicorn.Config(region.app, log_config=None, lifespan="off")
            self._server = uvicorn.Server(config)
            self._started.set()
            await self._server.serve(sockets=[self.socket])

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._started.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served() as found:
        yield found


schema = schemathesis.openapi.from_dict(shared_app().openapi())


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_answer_that_is_not_declared(case: schemathesis.Case, served: Served) -> None:
    case.call_and_validate(served.url, headers=HEADERS, checks=CHECKS, timeout=60)
