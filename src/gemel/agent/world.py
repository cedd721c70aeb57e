"""What the guests' reconciler asks of this host: rights from the authority, plans from what is declared."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import ValidationError

from gemel.compute.duty import Self
from gemel.compute.guest import plan_guest, tap_name
from gemel.compute.kinds import Assignment, HostLease, ImageSpec, SiteSpec, VirtualMachineSpec
from gemel.compute.ports import CephAccess, Domain, DomainState, GuestPlan, RbdDisk
from gemel.continuity.authority import refuses_to_run
from gemel.continuity.kinds import ApplicationSpec, Ticket
from gemel.continuity.lease import HostLeaseKeeper
from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.identity import GuestName, HostName, SiteName, lone_application, volume_name
from gemel.core.resource import Model, Resource
from gemel.core.view import View
from gemel.network.local import RouteKeeper
from gemel.network.plan import LocalGuest
from gemel.storage.kinds import VolumeRecord
from gemel.storage.ports import Fence

log = structlog.get_logger("gemel.agent")
M = TypeVar("M", bound=Model)

INCOMING = frozenset({"migration", "starting up", "starting-up", "incoming"})
"""libvirt's reasons for a paused domain that another host still executes, or that has not begun."""


class Records:
    """Decodes what the view shows, each value once."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._decoded: dict[tuple[str, int, type[Model]], Model | None] = {}

    def get(self, key: str, model: type[M]) -> M | None:
        """None when it is absent or not readable, which is logged once."""
        item = self._view.get(key)
        if item is None:
            return None
        slot = (key, item.mod_revision, model)
        if slot not in self._decoded:
            if len(self._decoded) > 20_000:
                self._decoded.clear()
            try:
                self._decoded[slot] = model.model_validate_json(item.value)
            except ValidationError as error:
                log.error("record not readable", key=key, error=str(error.errors()[0]["msg"]))
                self._decoded[slot] = None
        found = self._decoded[slot]
        return found if isinstance(found, model) else None

    def all(self, prefix: str, model: type[M]) -> dict[str, M]:
        found = {key.removeprefix(prefix): self.get(key, model) for key in self._view.items(prefix)}
        return {name: record for name, record in found.items() if record is not None}


class HostWorld:
    """Implements ``compute.local.World`` for one host."""

    def __init__(
        self,
        *,
        host: HostName,
        site: SiteName,
        records: Records,
        keeper: HostLeaseKeeper,
        clock: Clock,
        images: Path,
        ceph: CephAccess | None,
        fence: Fence | None,
        routes: RouteKeeper,
    ) -> None:
        self._host = host
        self._site = site
        self._records = records
        self._keeper = keeper
        self._clock = clock
        self._images = images
        self._ceph = ceph
        self._fence = fence
        self._routes = routes
        self._prefixes: tuple[object, ...] = ()

    def me(self) -> Self | None:
        holder = self._keeper.holder
        return Self(holder.host, holder.incarnation) if holder else None

    def report_guard(self) -> int:
        return self._keeper.key_revision

    def assignments(self) -> Mapping[GuestName, Assignment]:
        """Those that name this host, in whatever life."""
        found = self._records.all(layout.ASSIGNMENTS, Assignment)
        return {GuestName(name): each for name, each in found.items() if self._host in (each.host, each.target)}

    def refusal(self, assignment: Assignment, starting: bool) -> str | None:
        ticket = self._records.get(layout.ticket(assignment.application), Ticket)
        volumes: list[VolumeRecord | None] = []
        if starting:
            machine = self._machine(assignment.guest)
            if machine is None:
                return "its declaration has not arrived here yet"
            for disk in machine.spec.disks:
                key = layout.volume(volume_name(assignment.guest, disk.name))
                volumes.append(self._records.get(key, VolumeRecord))
        return refuses_to_run(self._keeper.holder, self._clock.monotonic(), assignment, ticket, volumes)

    def _machine(self, guest: str) -> Resource[VirtualMachineSpec] | None:
        return self._records.get(layout.resource("VirtualMachine", guest), Resource[VirtualMachineSpec])

    def application(self, guest: GuestName) -> str | None:
        """The application whose ticket rules the guest; None when the guest is not declared (any more)."""
        machine = self._machine(guest)
        if machine is None:
            return None
        declared = self._records.all(layout.resource("Application", ""), Resource[ApplicationSpec])
        ours = (name for name, app in sorted(declared.items()) if app.spec.selector.matches(machine.metadata.labels))
        return next(ours, lone_application(guest))

    def plan(self, assignment: Assignment) -> GuestPlan | str:
        machine = self._machine(assignment.guest)
        if machine is None:
            return "it is not declared"
        name = machine.spec.boot.image
        image = self._records.get(layout.resource("Image", name), Resource[ImageSpec])
        if image is None:
            return f"image {name} is not declared"
        disks = []
        for disk in machine.spec.disks:
            record = self._records.get(layout.volume(volume_name(assignment.guest, disk.name)), VolumeRecord)
            if record is None:
                return f"volume {disk.name} has no record"
            disks.append(RbdDisk(record.volume, record.pool, record.image))
        if disks and self._ceph is None:
            return "this host has no access to the site's Ceph: see ceph in agent.yaml"
        return plan_guest(assignment, machine.spec, image.spec, self._images, disks, self._ceph)

    async def fence_volumes(self, plan: GuestPlan) -> None:
        if self._fence is None:
            return
        for disk, fenced in zip(
            plan.disks,
            await asyncio.gather(*(self._fence.ensure_exclusive(disk.pool, disk.image) for disk in plan.disks)),
            strict=True,
        ):
            if fenced:
                log.warning(
                    "fenced an earlier writer", guest=plan.name, epoch=plan.epoch, volume=disk.volume, of=fenced
                )

    def migration_uri(self, host: HostName) -> str | None:
        lease = self._records.get(layout.lease(host), HostLease)
        return f"qemu+tls://{lease.host}/system" if lease else None

    def local_guest(self, name: GuestName, domain: Domain | None, executes: bool | None = None) -> LocalGuest | None:
        """The guest as the network wing sees it; None when it is not declared (and has no address)."""
        machine = self._machine(name)
        if machine is None:
            return None
        assignment = self._records.get(layout.assignment(name), Assignment)
        if executes is None:
            executes = domain is not None and not (
                domain.state is DomainState.PAUSED and domain.reason.lower() in INCOMING
            )
        granted = assignment is not None and self.refusal(assignment, starting=False) is None
        tap = tap_name(name)
        return LocalGuest(name, machine.spec.addresses, tap, executes=executes, granted=granted)

    async def executing(self, domains: Mapping[GuestName, Domain]) -> None:
        await self._prepare()
        guests = [self.local_guest(name, domain) for name, domain in domains.items()]
        plan, failures = await self._routes.reconcile([guest for guest in guests if guest is not None])
        for failure in failures:
            log.warning("route", error=failure)
        if plan is not None and plan.changes_routes:
            log.info("routes changed", reasons=plan.reasons)

    async def _prepare(self) -> None:
        """Blackholes for the prefixes of every site: a packet for a guest that left must not loop."""
        sites = self._records.all(layout.resource("Site", ""), Resource[SiteSpec])
        prefixes = tuple(sorted({prefix for site in sites.values() for prefix in site.spec.prefixes}))
        if prefixes != self._prefixes:
            await self._routes.prepare(prefixes)
            self._prefixes = prefixes
