"""From the store's keys to the scenes that are planned from: decoding, and nothing decided."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from gemel.compute import plan as compute
from gemel.compute.kinds import Assignment, GuestReport, HostLease, HostSpec, SiteSpec, VirtualMachineSpec
from gemel.compute.placement import GuestFacts, HostFacts
from gemel.compute.requests import MigrateRequest
from gemel.continuity import plan as continuity
from gemel.continuity.kinds import (
    ApplicationSpec,
    Failover,
    MoveRequest,
    ProtectionPolicySpec,
    Ticket,
    TicketPhase,
)
from gemel.core import layout
from gemel.core.identity import AppName, GuestName, HostName, SiteName, VolumeName, lone_application
from gemel.core.resource import Model, Resource
from gemel.core.store import KeyValue
from gemel.storage.kinds import Cut, ReplicaRecord, VolumeRecord

M = TypeVar("M", bound=Model)
Items = Mapping[str, KeyValue]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A key whose value is not what its place says. It is left alone, and said."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Observed:
    scene: continuity.Scene
    unreadable: tuple[Unreadable, ...]


class Reader:
    """Decodes keys; collects those that it cannot."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self.unreadable: list[Unreadable] = []

    def records(self, prefix: str, model: type[M]) -> Iterable[tuple[str, M, KeyValue]]:
        for key, item in self._items.items():
            if not key.startswith(prefix):
                continue
            try:
                yield key.removeprefix(prefix), model.model_validate_json(item.value), item
            except ValidationError as error:
                self.unreadable.append(Unreadable(key, str(error.errors()[0]["msg"])))

    def resources(self, kind: str, spec: type[M]) -> dict[str, Resource[M]]:
        # The model is made at run time from the spec's type, which mypy cannot follow.
        shape: type[Resource[M]] = Resource[spec]  # type: ignore[valid-type]
        return {name: found for name, found, _ in self.records(layout.resource(kind, ""), shape)}


def observe(items: Items, settled: frozenset[HostName]) -> Observed:
    """The scene as of the one revision that ``items`` are of."""
    read = Reader(items)
    machines = read.resources("VirtualMachine", VirtualMachineSpec)
    declared = read.resources("Application", ApplicationSpec)
    policies = read.resources("ProtectionPolicy", ProtectionPolicySpec)
    sites = read.resources("Site", SiteSpec)
    hosts = _hosts(read)
    home = _home(machines, declared)
    tickets = {
        name: continuity.Held(ticket, item.mod_revision) for name, ticket, item in read.records(layout.TICKETS, Ticket)
    }
    scene = continuity.Scene(
        applications=_applications(machines, declared, policies, home, sorted(sites)),
        tickets=tickets,
        compute=compute.Scene(
            guests=_guests(machines, declared, home),
            hosts=hosts,
            rights={name: _right(held) for name, held in tickets.items()},
            granted={
                GuestName(name): compute.Granted(assignment, item.mod_revision)
                for name, assignment, item in read.records(layout.ASSIGNMENTS, Assignment)
            },
            reports={
                (report.host, report.guest): compute.Reported(report, item.mod_revision)
                for _, report, item in read.records(layout.REPORTS, GuestReport)
            },
            wishes={
                GuestName(name): HostName(wish.to) if wish.to else None
                for name, wish, _ in read.records(layout.request("migrate", ""), MigrateRequest)
            },
            settled=settled,
        ),
        volumes={VolumeName(name): record for name, record, _ in read.records(layout.VOLUMES, VolumeRecord)},
        replicas={VolumeName(name): record for name, record, _ in read.records(layout.REPLICAS, ReplicaRecord)},
        cuts={name: cut for name, cut, _ in read.records(layout.CUTS, Cut)},
        wishes={name: wish.to for name, wish, _ in read.records(layout.request("move", ""), MoveRequest)},
    )
    return Observed(scene, tuple(read.unreadable))


def _right(held: continuity.Held) -> compute.Right:
    ticket = held.ticket
    return compute.Right(ticket.site, ticket.epoch, ticket.phase is TicketPhase.ACTIVE, held.revision)


def _hosts(read: Reader) -> dict[HostName, HostFacts]:
    leases = {name: (lease, item) for name, lease, item in read.records(layout.LEASES, HostLease)}
    found: dict[HostName, HostFacts] = {}
    for name, host in read.resources("Host", HostSpec).items():
        lease, item = leases.get(name, (None, None))
        found[HostName(name)] = HostFacts(
            name=HostName(name),
            site=SiteName(host.spec.site),
            cpu=host.spec.cpu,
            memory=host.spec.memory,
            schedulable=host.spec.schedulable,
            incarnation=lease.incarnation if lease else None,
            lease_revision=item.mod_revision if item else 0,
        )
    return found


def _home(
    machines: Mapping[str, Resource[VirtualMachineSpec]], declared: Mapping[str, Resource[ApplicationSpec]]
) -> dict[str, str]:
    """Each guest's application; admission has refused guests that two applications select."""
    return {
        guest: next(
            (name for name, app in sorted(declared.items()) if app.spec.selector.matches(machine.metadata.labels)),
            lone_application(guest),
        )
        for guest, machine in machines.items()
    }


def _guests(
    machines: Mapping[str, Resource[VirtualMachineSpec]],
    declared: Mapping[str, Resource[ApplicationSpec]],
    home: Mapping[str, str],
) -> dict[GuestName, GuestFacts]:
    found: dict[GuestName, GuestFacts] = {}
    for name, machine in machines.items():
        group = None
        app = declared.get(home[name])
        for tier in app.spec.tiers if app else ():
            if tier.spread and tier.selector.matches(machine.metadata.labels):
                group = f"{home[name]}/{tier.name}"
        found[GuestName(name)] = GuestFacts(
            name=GuestName(name),
            cpu=machine.spec.cpu,
            memory=machine.spec.memory,
            running=machine.spec.running,
            application=home[name],
            group=group,
            hosts=tuple(HostName(host) for host in machine.spec.placement.hosts),
            after=_after(GuestName(name), machine, app, machines, home) if app else (),
        )
    return found


def _after(
    name: GuestName,
    machine: Resource[VirtualMachineSpec],
    app: Resource[ApplicationSpec],
    machines: Mapping[str, Resource[VirtualMachineSpec]],
    home: Mapping[str, str],
) -> tuple[GuestName, ...]:
    """The guests of the tiers that this guest's tiers come after, those that are to run."""
    ours = [tier for tier in app.spec.tiers if tier.selector.matches(machine.metadata.labels)]
    first = {before for tier in ours for before in tier.after}
    selectors = [tier.selector for tier in app.spec.tiers if tier.name in first]
    return tuple(
        sorted(
            GuestName(other)
            for other, each in machines.items()
            if other != name
            and home[other] == app.metadata.name
            and each.spec.running
            and any(selector.matches(each.metadata.labels) for selector in selectors)
        )
    )


def _applications(
    machines: Mapping[str, Resource[VirtualMachineSpec]],
    declared: Mapping[str, Resource[ApplicationSpec]],
    policies: Mapping[str, Resource[ProtectionPolicySpec]],
    home: Mapping[str, str],
    sites: list[str],
) -> dict[str, continuity.ApplicationFacts]:
    found: dict[str, continuity.ApplicationFacts] = {}
    for name, app in declared.items():
        policy = policies.get(app.spec.protection) if app.spec.protection else None
        found[name] = continuity.ApplicationFacts(
            name=name,
            guests=tuple(sorted(GuestName(guest) for guest, application in home.items() if application == name)),
            preferred=SiteName(app.spec.preferred_site),
            protected=policy is not None,
            automatic=policy is not None and policy.spec.failover is Failover.AUTOMATIC,
        )
    for guest, machine in machines.items():
        alone: AppName = lone_application(guest)
        if home[guest] == alone and (machine.spec.placement.site or sites):
            site = SiteName(machine.spec.placement.site or sites[0])
            found[alone] = continuity.ApplicationFacts(alone, (GuestName(guest),), site, False, False)
    return found
