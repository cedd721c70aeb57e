"""The agent's own small server: consoles for the API, metrics, health. Mutual TLS; only the region's own
certificates get in."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from gemel.agent.config import AgentConfig
from gemel.agent.host import HostAgent
from gemel.agent.metrics import render
from gemel.core.clock import SystemClock
from gemel.core.identity import NAME

TAIL = 65536
"""Bytes of a console that a reader gets from before it came."""
POLL = 0.2


def make_app(agent: HostAgent, consoles: Path) -> FastAPI:
    app = FastAPI(title="gemel agent", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> Response:
        holder = agent.keeper.holder
        body = {"lease": holder is not None, "incarnation": holder.incarnation if holder else None}
        return JSONResponse(body, status_code=200 if holder else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(render(agent, SystemClock()), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/console/{guest}")
    async def console(guest: str, follow: bool = False) -> Response:
        path = consoles / f"{guest}.log"
        if not NAME.match(guest) or not path.is_file():
            return PlainTextResponse(f"this host has no console of {guest}\n", status_code=404)
        return StreamingResponse(read(path, follow), media_type="text/plain; charset=utf-8")

    return app


async def read(path: Path, follow: bool) -> AsyncIterator[bytes]:
    """The console's last bytes, then what comes."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - TAIL))
        while True:
            part = file.read(TAIL)
            if part:
                yield part
            elif not follow:
                return
            else:
                await asyncio.sleep(POLL)


async def serve(config: AgentConfig, agent: HostAgent, consoles: Path) -> None:
    settings = uvicorn.Config(
        make_app(agent, consoles),
        host=str(config.address),
        port=config.console_port,
        ssl_certfile=str(config.store.certificate),
        ssl_keyfile=str(config.store.key),
        ssl_ca_certs=str(config.store.ca),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        log_config=None,
        access_log=False,
        lifespan="off",
    )
    await _Server(settings).serve()


class _Server(uvicorn.Server):
    """Leaves the process's signals alone: the agent handles them for all of its parts."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
