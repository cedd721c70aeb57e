"""An API over a region in memory, and three people who may do more or less with it."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx
from fastapi import FastAPI
from tests.unit.catalog.samples import example_documents

from gemel.api.app import create_app
from gemel.api.joining import JoinTerms
from gemel.api.tokens import Entry, Identity, Role, Tokens, digest_of
from gemel.catalog.manifest import Document
from gemel.catalog.region import MemberFacts
from gemel.compute.kinds import Assignment, GuestReport, GuestState, HostLease
from gemel.continuity.kinds import Ticket
from gemel.core import layout
from gemel.core.clock import SystemClock
from gemel.core.resource import Model
from gemel.core.store import Listing, Put
from gemel.storage.kinds import Cut, CutPhase, CutVolume, ReplicaRecord, ReplicaSnapshot, VolumeRecord
from gemel.store.memory import MemoryStore

NOW = datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)
TERMS = JoinTerms("test", ("https://198.18.1.11:7443",), ("198.18.1.11:2379",), 10.0, 3.5)
ROLES = {"vera": Role.VIEWER, "olga": Role.OPERATOR, "ada": Role.ADMIN}


class FixedClock:
    """Wall time stands still, so that ages are known; it decides nothing. Waiting is real."""

    def __init__(self) -> None:
        self._system = SystemClock()

    def monotonic(self) -> float:
        return self._system.monotonic()

    def wall(self) -> datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        await self._system.sleep(seconds)


class FakeSigner:
    def __init__(self) -> None:
        self.signed: list[tuple[str, str]] = []

    def ca(self) -> str:
        return "CA"

    def sign(self, csr: bytes, host: str, address: str) -> str:
        self.signed.append((host, address))
        return f"certificate of {host} for {csr.decode()}"


class FakeConsoles:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bool]] = []
        self.error: Exception | None = None

    async def open(self, address: str, guest: str, follow: bool) -> AsyncIterator[bytes]:
        self.asked.append((address, guest, follow))
        if self.error is not None:
            raise self.error
        return self._parts()

    async def _parts(self) -> AsyncIterator[bytes]:
        yield b"gemel: bank-db "
        yield b"is up\n"


async def healthy_members() -> tuple[MemberFacts, ...]:
    return (MemberFacts(name="a", endpoint="198.18.1.11:2379", healthy=True, leader=True),)


@cache
def shared_app() -> FastAPI:
    """FastAPI takes a third of a second to prepare its routes: once for all tests."""
    return create_app(MemoryStore(), Tokens([]))


class Region:
    """Use as an asynchronous context: ``app`` over ``store``, asked by ``ask``."""

    def __init__(self, watch_limit: float | None = 0.3) -> None:
        self.clock = FixedClock()
        self.store = MemoryStore(self.clock)
        self.signer = FakeSigner()
        self.consoles = FakeConsoles()
        entries = [Entry(digest_of(f"token-{user}"), Identity(user, role)) for user, role in ROLES.items()]
        fresh = create_app(
            self.store,
            Tokens(entries),
            clock=self.clock,
            terms=TERMS,
            signer=self.signer,
            consoles=self.consoles,
            members=healthy_members,
            watch_limit=watch_limit,
        )
        self.app = shared_app()
        self.app.state.services = fresh.state.services
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="https://api")

    async def ask(self, method: str, path: str, user: str | None = "ada", **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer token-{user}"} if user else {}
        return await self.http.request(method, "/v1" + path, headers={**headers, **rest.pop("headers", {})}, **rest)

    async def apply(self, documents: Sequence[Document], user: str = "ada", dry_run: bool = False) -> httpx.Response:
        found = [{"file": d.file, "index": d.index, "line": d.line, "object": d.object} for d in documents]
        return await self.ask("POST", "/apply", user, json={"dryRun": dry_run, "documents": found})

    async def declared(self) -> "Region":
        """With the examples applied."""
        answer = await self.apply(example_documents())
        assert answer.status_code == 200, answer.text
        return self

    async def put(self, key: str, value: Model | bytes, lease: int = 0) -> int:
        content = value if isinstance(value, bytes) else value.to_json()
        return (await self.store.commit([], [Put(key, content, lease)])).revision

    async def running(self) -> "Region":
        """The examples applied, and bank at work: what controllers, agents and stewards would have written."""
        await self.declared()
        for host in ("par1-1", "par1-2", "par1-3", "gra1-1", "gra1-2"):
            await self.put(layout.lease(host), lease_of(host))
        await self.put(layout.CONTROLLERS, b"gra1-1")
        await self.put(layout.steward("par1"), b"par1-2")
        await self.put(layout.ticket("bank"), Ticket(application="bank", site="par1", epoch=3, since=NOW))
        for guest, host in (("bank-db", "par1-1"), ("bank-web-1", "par1-2"), ("bank-web-2", "par1-3")):
            await self.put(layout.assignment(guest), granted(guest, host))
            await self.put(layout.report(host, guest), report(guest, host))
        for record in (VOLUME, REPLICA):
            prefix = layout.VOLUMES if isinstance(record, VolumeRecord) else layout.REPLICAS
            await self.put(prefix + record.volume, record)
        await self.put(layout.cut("bank"), CUT)
        return self

    async def contents(self, prefix: str = layout.RESOURCES) -> Listing:
        return await self.store.list(prefix)

    async def __aenter__(self) -> "Region":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()
        await self.store.close()


def lease_of(host: str) -> HostLease:
    site = host.split("-")[0]
    return HostLease(host=host, site=site, incarnation=f"life-{host}", address="198.18.1.11", ttl=10)


def granted(guest: str, host: str) -> Assignment:
    return Assignment(
        guest=guest, application="bank", epoch=3, host=host, incarnation=f"life-{host}", reasons=("least used",)
    )


def report(guest: str, host: str, state: GuestState = GuestState.RUNNING) -> GuestReport:
    return GuestReport(
        guest=guest, host=host, incarnation=f"life-{host}", generation=1, state=state, epoch=3, since=NOW
    )


VOLUME = VolumeRecord(
    volume="bank-db.data",
    guest="bank-db",
    application="bank",
    size=2**30,
    site="par1",
    epoch=3,
    image="bank-db.data.e3",
    origin_snapshot="e3-0",
)
SNAPSHOT = ReplicaSnapshot(
    snapshot="e3-7", sequence=7, taken_at=datetime(2026, 1, 2, 3, 4, 22, tzinfo=UTC), consistent="application"
)
REPLICA = ReplicaRecord(
    volume="bank-db.data",
    application="bank",
    site="gra1",
    epoch=3,
    image="bank-db.data.e3",
    complete=(SNAPSHOT,),
    receiving="e3-8",
    received_bytes=250,
    total_bytes=1000,
)
CUT = Cut(
    application="bank",
    epoch=3,
    sequence=8,
    phase=CutPhase.TAKEN,
    volumes=(
        CutVolume(
            volume="bank-db.data", image="bank-db.data.e3", snapshot="e3-8", since="e3-7", changed_bytes=4_000_000
        ),
    ),
)
