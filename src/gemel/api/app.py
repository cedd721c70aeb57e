"""The API as an ASGI application: routes, errors, metrics. It decides nothing and starts nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import gemel
from gemel.api.console import Consoles
from gemel.api.errors import install_handlers
from gemel.api.joining import Joining, JoinTerms, Signer
from gemel.api.ledger import Ledger
from gemel.api.metrics import Measured, Metrics
from gemel.api.routes import hosts, region, resources, streams, verbs
from gemel.api.services import Here, Identifier, Members, Services, known_parameters
from gemel.api.wire import ErrorBody, HealthBody
from gemel.core import layout
from gemel.core.clock import Clock, SystemClock
from gemel.core.store import Store

MAX_BODY = 4 * 2**20
"""Bytes of a request; the store takes less in one transaction."""

NO_JOINING = JoinTerms(region="gemel", api=(), store=(), ttl=10.0, margin=3.5)


def create_app(
    store: Store,
    tokens: Identifier,
    *,
    clock: Clock | None = None,
    terms: JoinTerms = NO_JOINING,
    signer: Signer | None = None,
    consoles: Consoles | None = None,
    members: Members | None = None,
    watch_limit: float | None = None,
) -> FastAPI:
    """``signer``: the region's authority, for hosts that join; ``consoles``: how to reach agents;
    ``members``: health of the store's members, for the status. What is missing is said when it is asked for."""
    clock = clock or SystemClock()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await store.close()

    app = FastAPI(
        title="gemel",
        version=_version(),
        summary="A private cloud on two sites that share one witness",
        lifespan=lifespan,
        redoc_url=None,
        docs_url=None,  # its page would load scripts from elsewhere
    )
    app.state.services = Services(
        store=store,
        clock=clock,
        tokens=tokens,
        ledger=Ledger(store, clock),
        joining=Joining(store, clock, signer, terms),
        consoles=consoles,
        members=members,
        metrics=Metrics(),
        region=terms.region,
        watch_limit=watch_limit,
    )
    install_handlers(app)
    _add_probes(app)
    for part in (region, streams, hosts, verbs, resources):  # general addresses last
        app.include_router(part.router, dependencies=[Depends(known_parameters)])
    app.add_middleware(BoundedBody, limit=MAX_BODY)
    app.add_middleware(Measured)
    return app


def _version() -> str:
    return getattr(gemel, "__version__", "0.1.0")


def _add_probes(app: FastAPI) -> None:
    @app.get("/healthz", tags=["probes"])
    async def healthz() -> HealthBody:
        """The process answers."""
        return HealthBody(status="ok", version=_version())

    @app.get("/readyz", tags=["probes"], responses={503: {"model": ErrorBody, "description": "No quorum."}})
    async def readyz(here: Here) -> HealthBody:
        """The region store answers, too."""
        await here.store.get(layout.CONTROLLERS)
        return HealthBody(status="ok", version=_version())

    @app.get(
        "/metrics",
        tags=["probes"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus."}},
    )
    async def metrics(here: Here) -> Response:
        return Response(here.metrics.render(), media_type="text/plain; version=0.0.4")


class BoundedBody:
    """Refuses bodies that are too large before they are held in memory."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                raise HTTPException(413)  # the only kind of error that passes through the body's parser
            return message

        await self._app(scope, bounded, send)
