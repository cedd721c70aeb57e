"""What was read from the region store, decoded on demand. No I/O, no decisions."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from gemel.catalog.membership import Membership
from gemel.compute.kinds import (
    Assignment,
    GuestReport,
    HostLease,
    HostSpec,
    ImageSpec,
    SiteSpec,
    VirtualMachineSpec,
)
from gemel.continuity.kinds import ApplicationSpec, ProtectionPolicySpec, Ticket
from gemel.core import layout
from gemel.core.identity import lone_application
from gemel.core.resource import Model, Resource
from gemel.core.store import KeyValue
from gemel.storage.kinds import Backlog, Cut, QuarantineRecord, ReplicaRecord, VolumeRecord

M = TypeVar("M", bound=Model)
Machine = Resource[VirtualMachineSpec]
App = Resource[ApplicationSpec]

SOURCES = (
    layout.RESOURCES,
    layout.LEASES,
    layout.ELECTIONS,
    layout.TICKETS,
    layout.ASSIGNMENTS,
    layout.REPORTS,
    layout.VOLUMES,
    layout.CUTS,
    layout.REPLICAS,
    layout.QUARANTINE,
    layout.STATUS,
)
"""All that the region is shown from. Events and the audit trail are read on their own."""


@lru_cache(maxsize=65536)
def _decode(model: type[Model], value: bytes) -> Model | None:
    try:
        return model.model_validate_json(value)
    except ValidationError:
        return None


def decode(model: type[M], value: bytes) -> M | None:
    """None for what is not of this shape: it is left out of lists, and named by ``Records.unreadable``.

    Cached by content: a region's records change rarely, compared with how often they are looked at.
    """
    return cast("M | None", _decode(model, value))


@dataclass(frozen=True)
class Records:
    """Items of several prefixes, each name's place in it decoded by the property that wants it."""

    items: Mapping[str, KeyValue]
    revision: int

    def under(self, prefix: str, model: type[M]) -> dict[str, M]:
        """Decoded values by what follows ``prefix`` in their keys."""
        found = {}
        for key, item in self.items.items():
            if key.startswith(prefix) and (value := decode(model, item.value)) is not None:
                found[key.removeprefix(prefix)] = value
        return found

    def one(self, key: str, model: type[M]) -> M | None:
        item = self.items.get(key)
        return decode(model, item.value) if item else None

    @cached_property
    def sites(self) -> dict[str, Resource[SiteSpec]]:
        return self.under(layout.resource("Site", ""), Resource[SiteSpec])

    @cached_property
    def hosts(self) -> dict[str, Resource[HostSpec]]:
        return self.under(layout.resource("Host", ""), Resource[HostSpec])

    @cached_property
    def images(self) -> dict[str, Resource[ImageSpec]]:
        return self.under(layout.resource("Image", ""), Resource[ImageSpec])

    @cached_property
    def machines(self) -> dict[str, Machine]:
        return self.under(layout.resource("VirtualMachine", ""), Machine)

    @cached_property
    def applications(self) -> dict[str, App]:
        return self.under(layout.resource("Application", ""), App)

    @cached_property
    def policies(self) -> dict[str, Resource[ProtectionPolicySpec]]:
        return self.under(layout.resource("ProtectionPolicy", ""), Resource[ProtectionPolicySpec])

    @cached_property
    def leases(self) -> dict[str, HostLease]:
        return self.under(layout.LEASES, HostLease)

    @cached_property
    def tickets(self) -> dict[str, Ticket]:
        return self.under(layout.TICKETS, Ticket)

    @cached_property
    def assignments(self) -> dict[str, Assignment]:
        return self.under(layout.ASSIGNMENTS, Assignment)

    @cached_property
    def reports(self) -> dict[str, GuestReport]:
        """By ``host/guest``."""
        return self.under(layout.REPORTS, GuestReport)

    @cached_property
    def volumes(self) -> dict[str, VolumeRecord]:
        return self.under(layout.VOLUMES, VolumeRecord)

    @cached_property
    def cuts(self) -> dict[str, Cut]:
        return self.under(layout.CUTS, Cut)

    @cached_property
    def replicas(self) -> dict[str, ReplicaRecord]:
        return self.under(layout.REPLICAS, ReplicaRecord)

    @cached_property
    def backlogs(self) -> dict[str, Backlog]:
        return self.under(layout.BACKLOG, Backlog)

    @cached_property
    def quarantine(self) -> dict[str, QuarantineRecord]:
        """By ``site/name``."""
        return self.under(layout.QUARANTINE, QuarantineRecord)

    @cached_property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The guests of each application, declared or implied (a guest of its own), by name."""
        found: dict[str, list[str]] = {name: [] for name in self.applications}
        for guest in sorted(self.machines):
            found.setdefault(self.home(guest), []).append(guest)
        return {name: tuple(guests) for name, guests in found.items()}

    def home(self, guest: str) -> str:
        """The application of a declared guest. Admission refuses that two select it."""
        claims = self._membership.claims(self.machines[guest].metadata.labels)
        return claims[0] if claims else lone_application(guest)

    @cached_property
    def _membership(self) -> Membership:
        return Membership.of((name, one.spec.selector) for name, one in self.applications.items())

    def leader(self, election: str) -> str | None:
        """Who holds an election's key."""
        item = self.items.get(election)
        return item.value.decode(errors="replace") if item else None

    def stored_status(self, kind: str, name: str) -> dict[str, Any]:
        """What controllers wrote of a resource, or nothing."""
        item = self.items.get(layout.status(kind, name))
        try:
            found = json.loads(item.value) if item else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def unreadable(self) -> tuple[str, ...]:
        """Keys whose value is not what their place says: for an alarm."""
        return tuple(sorted(self._unreadable()))

    def _unreadable(self) -> Iterator[str]:
        for prefix, model in _SHAPES.items():
            for key, item in self.items.items():
                if key.startswith(prefix) and decode(model, item.value) is None:
                    yield key


_SHAPES: dict[str, type[Model]] = {
    layout.resource("Site", ""): Resource[SiteSpec],
    layout.resource("Host", ""): Resource[HostSpec],
    layout.resource("Image", ""): Resource[ImageSpec],
    layout.resource("VirtualMachine", ""): Machine,
    layout.resource("Application", ""): App,
    layout.resource("ProtectionPolicy", ""): Resource[ProtectionPolicySpec],
    layout.LEASES: HostLease,
    layout.TICKETS: Ticket,
    layout.ASSIGNMENTS: Assignment,
    layout.REPORTS: GuestReport,
    layout.VOLUMES: VolumeRecord,
    layout.CUTS: Cut,
    layout.REPLICAS: ReplicaRecord,
    layout.QUARANTINE: QuarantineRecord,
}
