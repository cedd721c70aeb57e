"""Two sites with their stewards over the in-memory store, images and wire: production code under virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gemel.compute.kinds import Assignment, GuestReport, GuestState, ImageSpec, VirtualMachineSpec
from gemel.continuity.kinds import ApplicationSpec, ProtectionPolicySpec, Ticket, TicketPhase
from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.election import Election
from gemel.core.identity import Epoch, GuestName, HostName, Incarnation, SiteName, VolumeName
from gemel.core.resource import Model
from gemel.core.store import Put
from gemel.core.view import View
from gemel.storage.kinds import Cut, QuarantineRecord, ReplicaRecord, VolumeRecord
from gemel.storage.ports import Fence
from gemel.storage.scene import PREFIXES
from gemel.storage.steward import Steward, Tools
from gemel.store.memory import MemoryStore, Region
from tests.fakes.images import FakeImages
from tests.fakes.transport import FakeTransport, Wire
from tests.simulation.virtual import VirtualClock

A, B = SiteName("par1"), SiteName("gra1")
APP = "bank"
POLICY: dict[str, Any] = {"recoveryPoint": "20s"}


@dataclass(frozen=True)
class Equipment:
    """What a site's steward works with. ``images`` is typed as the fake for the tests that look inside."""

    images: FakeImages
    fence: Fence
    transport: FakeTransport


class SiteOfStewards:
    """One site: its images, its candidate for steward, and switches."""

    def __init__(self, world: "World", site: SiteName, folder: Path) -> None:
        self.world = world
        self.site = site
        self.host = HostName(f"{site}-1")
        self.store = MemoryStore(region=world.region)
        equipment = world.equip(site)
        self.images = equipment.images
        self.fence = equipment.fence
        self.transport = equipment.transport
        self.view = View(self.store, PREFIXES, world.clock)
        self.folder = folder
        self.allowed = True
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        tools = Tools(
            self.store, self.view, self.images, self.fence, self.transport, self.world.clock, self.folder, self._digest
        )
        steward = Steward(self.site, self.host, tools)
        election = Election(self.store, layout.steward(self.site), self.host, self.world.clock)
        self.task = asyncio.create_task(election.lead(lambda term: steward.run(term, lambda: self.allowed)))

    async def _digest(self, path: Path) -> str:
        """Without threads, which virtual time would not wait for."""
        return f"sha256:{path.name.encode().hex():0>64}"

    async def crash(self) -> None:
        """The process ends; what engines were told stays."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None


class World:
    def __init__(
        self, folder: Path, clock: Clock | None = None, equip: Callable[[SiteName], Equipment] | None = None
    ) -> None:
        self.clock = clock or VirtualClock()
        self.equip = equip or self._fakes
        self.region = Region(self.clock)
        self.wire = Wire(self.clock)
        self.store = MemoryStore(region=self.region)
        self.sites = {site: SiteOfStewards(self, site, folder) for site in (A, B)}

    def _fakes(self, site: SiteName) -> Equipment:
        images = FakeImages(self.clock)
        return Equipment(images, images, FakeTransport(self.wire, f"https://{site}:7445"))

    # -- what others write -------------------------------------------------------------------------------

    async def put(self, key: str, value: Model) -> int:
        return (await self.store.commit([], [Put(key, value.to_json())])).revision

    async def declare(self, kind: str, name: str, spec: Model, labels: dict[str, str] | None = None) -> None:
        metadata = {"name": name, "labels": labels or {}}
        declared = {"apiVersion": "gemel/v1", "kind": kind, "metadata": metadata, "spec": json.loads(spec.to_json())}
        document = json.dumps(declared)
        await self.store.commit([], [Put(layout.resource(kind, name), document.encode())])

    async def declare_bank(
        self, disks: int = 1, guests: int = 1, protected: bool = True, agent: bool = False, **policy: Any
    ) -> None:
        for site in (A, B):
            await self.store.commit(
                [], [Put(layout.resource("Site", site), f'{{"metadata":{{"name":"{site}"}},"spec":{{}}}}'.encode())]
            )
        image = {"os": "debian", "disk": "deb.raw", "diskSize": "64Mi", "guestAgent": agent}
        await self.declare("Image", "deb", ImageSpec.model_validate(image))
        await self.declare("ProtectionPolicy", "short", ProtectionPolicySpec.model_validate({**POLICY, **policy}))
        await self.declare(
            "Application",
            APP,
            ApplicationSpec.model_validate(
                {
                    "selector": {"matchLabels": {"app": APP}},
                    "preferredSite": A,
                    "protection": "short" if protected else None,
                }
            ),
        )
        for number in range(guests):
            spec = {
                "memory": "64Mi",
                "boot": {"image": "deb"},
                "disks": [{"name": f"d{n}", "size": "128Mi", "image": "deb" if n == 0 else None} for n in range(disks)],
            }
            await self.declare("VirtualMachine", f"db{number}", VirtualMachineSpec.model_validate(spec), {"app": APP})

    async def grant(
        self, site: SiteName, epoch: int, phase: TicketPhase = TicketPhase.ACTIVE, to: SiteName | None = None
    ) -> int:
        ticket = Ticket(
            application=APP, site=site, epoch=Epoch(epoch), phase=phase, to=to, since=datetime(2026, 1, 1, tzinfo=UTC)
        )
        return await self.put(layout.ticket(APP), ticket)

    async def run_guest(self, guest: str, host: str, running: bool = True, generation: int = 1) -> None:
        """Assignment and a matching report, as leader and agent would write them."""
        mark = Incarnation("life")
        name, where = GuestName(guest), HostName(host)
        assignment = Assignment(
            guest=name,
            application=APP,
            epoch=Epoch(1),
            host=where,
            incarnation=mark,
            running=running,
            generation=generation,
        )
        report = GuestReport(
            guest=name,
            host=where,
            incarnation=mark,
            generation=generation,
            state=GuestState.RUNNING if running else GuestState.STOPPED,
            epoch=Epoch(1),
            since=datetime(2026, 1, 1, tzinfo=UTC),
        )
        await self.put(layout.assignment(guest), assignment)
        await self.put(layout.report(host, guest), report)

    # -- what stands in the store ------------------------------------------------------------------------

    async def volume(self, name: str = "db0.d0") -> VolumeRecord | None:
        found = await self.store.get(layout.volume(name))
        return VolumeRecord.model_validate_json(found.value) if found else None

    async def replica(self, name: str = "db0.d0") -> ReplicaRecord | None:
        found = await self.store.get(layout.replica(VolumeName(name)))
        return ReplicaRecord.model_validate_json(found.value) if found else None

    async def cut(self) -> Cut | None:
        found = await self.store.get(layout.cut(APP))
        return Cut.model_validate_json(found.value) if found else None

    async def quarantine(self, site: SiteName) -> list[QuarantineRecord]:
        found = await self.store.list(f"{layout.QUARANTINE}{site}/")
        return [QuarantineRecord.model_validate_json(item.value) for item in found.items]

    # -- waiting -----------------------------------------------------------------------------------------

    async def until(self, seen: Callable[[], Any], within: float = 60.0, what: str = "") -> Any:
        """As ``eventually``, in virtual seconds. ``seen`` is awaited."""
        deadline = self.clock.monotonic() + within
        while True:
            value = await seen()
            if value:
                return value
            if self.clock.monotonic() > deadline:
                raise AssertionError(f"not seen within {within:g} virtual seconds: {what or seen}")
            await self.clock.sleep(0.1)

    async def protected(self, *names: str, sequence: int = 1) -> None:
        async def seen() -> bool:
            for name in names or ("db0.d0",):
                volume, replica = await self.volume(name), await self.replica(name)
                if volume is None or replica is None or replica.image != volume.image or not replica.complete:
                    return False
                if replica.complete[-1].sequence < sequence:
                    return False
            return True

        await self.until(seen, what=f"{names} complete up to {sequence}")


@asynccontextmanager
async def two_sites(
    folder: Path, clock: Clock | None = None, equip: Callable[[SiteName], Equipment] | None = None
) -> AsyncIterator[World]:
    world = World(folder, clock, equip)
    views = [site.view for site in world.sites.values()]
    for view in views:
        await view.__aenter__()
    for site in world.sites.values():
        site.start()
    try:
        yield world
    finally:
        for site in world.sites.values():
            await site.crash()
        for view in views:
            await view.__aexit__(None, None, None)
        world.region.stop()
