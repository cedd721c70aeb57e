"""``gemel api``: the process. Wires the store, the tokens, the authority and the agents' consoles."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from gemel.api.app import create_app
from gemel.api.audit import prune_every
from gemel.api.config import ApiConfig, load_config
from gemel.api.console import AgentConsoles
from gemel.api.joining import FolderSigner, JoinTerms
from gemel.api.tokens import TokenFile
from gemel.catalog.region import MemberFacts
from gemel.core import logs
from gemel.core.clock import SystemClock
from gemel.core.outcome import GemelError, Present
from gemel.store.etcd import EtcdStore

GRACE = 3
"""Seconds that open answers (watches) get when the process is told to stop."""


def main(config: Path) -> int:
    """Serves until told to stop. Exit code 2: the configuration is no good."""
    try:
        found = load_config(config)
        logs.configure("api", found.log_level, region=found.region, listen=found.listen.address)
        asyncio.run(serve(found))
    except GemelError as error:
        print(f"gemel api: {error}", file=sys.stderr)
        return 2
    return 0


async def serve(config: ApiConfig) -> None:
    access = config.store
    store = await EtcdStore.connect(access.endpoints, access.ca, access.certificate, access.key)
    consoles = AgentConsoles(config.tls.ca, config.tls.certificate, config.tls.key, config.agent_port)
    terms = JoinTerms(config.region, config.endpoints, access.endpoints, config.lease.ttl, config.lease.margin)
    app = create_app(
        store,
        TokenFile(config.tokens),
        terms=terms,
        signer=FolderSigner(config.authority) if config.authority else None,
        consoles=consoles,
        members=lambda: members_of(store),
    )
    server = Server(
        uvicorn.Config(
            app,
            host=config.listen.address,
            port=config.listen.port,
            ssl_certfile=config.tls.certificate,
            ssl_keyfile=config.tls.key,
            log_config=None,  # logs go where gemel's go
            access_log=False,  # counted by /metrics; changes are in the audit trail
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
    )
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, server.stop)
    pruning = asyncio.create_task(prune_every(store, SystemClock()), name="prune the audit trail")
    try:
        await server.serve()
    finally:
        pruning.cancel()
        await asyncio.gather(pruning, return_exceptions=True)
        await consoles.close()
        await store.close()


class Server(uvicorn.Server):
    """Stops when it is told to, and returns. uvicorn's own handling would raise the signal once more at the
    end, and the process would die of it before it has closed its store."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.force_exit = self.should_exit  # told twice: at once
        self.should_exit = True


async def members_of(store: EtcdStore) -> tuple[MemberFacts, ...]:
    answers = await store.observe_members()
    found = []
    for endpoint, answer in answers.items():
        if isinstance(answer, Present):
            status = answer.value
            message = "" if status.follows else "it knows of no leader"
            found.append(
                MemberFacts(
                    name=endpoint, endpoint=endpoint, healthy=status.follows, leader=status.leads, message=message
                )
            )
        else:
            found.append(MemberFacts(name=endpoint, endpoint=endpoint, healthy=False, message=answer.why))
    return tuple(found)
