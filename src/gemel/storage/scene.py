"""The region as the storage wing sees it, read from the store's items at one revision. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from gemel.core import layout
from gemel.core.identity import GuestName, HostName, SiteName, VolumeName, lone_application, volume_name
from gemel.core.store import KeyValue
from gemel.storage.kinds import Cut, FreezeAnswer, QuarantineRecord, ReplicaRecord, VolumeRecord
from gemel.storage.neighbours import (
    ApplicationReading,
    AssignmentReading,
    ImageReading,
    ImageSpecReading,
    MachineReading,
    PolicyReading,
    PolicySpecReading,
    ReportReading,
    SiteReading,
    TicketReading,
)

PREFIXES = (layout.ROOT,)
"""What the steward's and the freezer's view must hold."""

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Kept(Generic[R]):
    """A record as it was read, with the revision that guards a change of it."""

    value: R
    revision: int


@dataclass(frozen=True, slots=True)
class Wish:
    """A volume that must exist for a declared disk. ``image`` names an Image, or None for an empty disk."""

    volume: VolumeName
    guest: GuestName
    application: str
    size: int
    image: str | None


@dataclass(frozen=True, slots=True)
class ApplicationScene:
    """One application as declared: its guests' volumes, and how they are protected (None: not at all)."""

    name: str
    wishes: tuple[Wish, ...]
    policy: PolicySpecReading | None
    agents: frozenset[GuestName]
    """Guests whose image runs a guest agent."""


@dataclass(frozen=True, slots=True)
class Scene:
    applications: Mapping[str, ApplicationScene] = field(default_factory=dict)
    tickets: Mapping[str, Kept[TicketReading]] = field(default_factory=dict)
    images: Mapping[str, ImageSpecReading] = field(default_factory=dict)
    assignments: Mapping[GuestName, AssignmentReading] = field(default_factory=dict)
    reports: Mapping[tuple[HostName, GuestName], ReportReading] = field(default_factory=dict)
    volumes: Mapping[VolumeName, Kept[VolumeRecord]] = field(default_factory=dict)
    replicas: Mapping[VolumeName, Kept[ReplicaRecord]] = field(default_factory=dict)
    cuts: Mapping[str, Kept[Cut]] = field(default_factory=dict)
    answers: Mapping[tuple[str, HostName], FreezeAnswer] = field(default_factory=dict)
    quarantine: Mapping[str, Kept[QuarantineRecord]] = field(default_factory=dict)
    """By store key."""
    sites: tuple[SiteName, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Keys whose contents are not understood, with the reason. Nothing is planned from them."""

    def volumes_of(self, application: str) -> tuple[Kept[VolumeRecord], ...]:
        found = (kept for _, kept in sorted(self.volumes.items()))
        return tuple(kept for kept in found if kept.value.application == application)

    def other_site(self, site: SiteName) -> SiteName | None:
        """Where the copies of what ``site`` writes belong."""
        return next((other for other in sorted(self.sites) if other != site), None)


class SceneReader:
    """Reads items into a scene; remembers what it parsed, so that a change costs what changed."""

    def __init__(self) -> None:
        self._parsed: dict[str, tuple[int, BaseModel | None, str]] = {}

    def read(self, items: Mapping[str, KeyValue]) -> Scene:
        self._parsed = {key: parsed for key, parsed in self._parsed.items() if key in items}
        machines = self._all(items, layout.resource("VirtualMachine", ""), MachineReading)
        images = self._all(items, layout.resource("Image", ""), ImageReading)
        applications = self._all(items, layout.resource("Application", ""), ApplicationReading)
        policies = self._all(items, layout.resource("ProtectionPolicy", ""), PolicyReading)
        sites = self._all(items, layout.resource("Site", ""), SiteReading)
        tickets = self._all(items, layout.TICKETS, TicketReading)
        volumes = self._all(items, layout.VOLUMES, VolumeRecord)
        replicas = self._all(items, layout.REPLICAS, ReplicaRecord)
        cuts = self._all(items, layout.CUTS, Cut)
        assignments = self._all(items, layout.ASSIGNMENTS, AssignmentReading)
        reports = self._all(items, layout.REPORTS, ReportReading)
        answers = self._all(items, layout.FROZEN, FreezeAnswer)
        quarantine = self._all(items, layout.QUARANTINE, QuarantineRecord)
        specs = {kept.value.metadata.name: kept.value.spec for kept in images.values()}
        return Scene(
            applications=read_applications(
                [kept.value for kept in machines.values()],
                [kept.value for kept in applications.values()],
                {kept.value.metadata.name: kept.value.spec for kept in policies.values()},
                specs,
            ),
            tickets={layout.leaf(key): kept for key, kept in tickets.items()},
            images=specs,
            assignments={kept.value.guest: kept.value for kept in assignments.values()},
            reports={(kept.value.host, kept.value.guest): kept.value for kept in reports.values()},
            volumes={kept.value.volume: kept for kept in volumes.values()},
            replicas={kept.value.volume: kept for kept in replicas.values()},
            cuts={layout.leaf(key): kept for key, kept in cuts.items()},
            answers={(kept.value.application, kept.value.host): kept.value for kept in answers.values()},
            quarantine=quarantine,
            sites=tuple(sorted(SiteName(kept.value.metadata.name) for kept in sites.values())),
            unreadable=tuple(f"{key}: {why}" for key, (_, value, why) in self._parsed.items() if value is None),
        )

    def _all(self, items: Mapping[str, KeyValue], prefix: str, model: type[R]) -> dict[str, Kept[R]]:
        found: dict[str, Kept[R]] = {}
        for key, item in items.items():
            if not key.startswith(prefix):
                continue
            revision, value, _ = self._parsed.get(key, (0, None, ""))
            if revision != item.mod_revision:
                value, why = _parse(item.value, model.model_validate_json)
                self._parsed[key] = (item.mod_revision, value, why)
            if isinstance(value, model):
                found[key] = Kept(value, item.mod_revision)
        return found


def _parse(text: bytes, validate: Callable[[bytes], R]) -> tuple[R | None, str]:
    try:
        return validate(text), ""
    except ValidationError as error:
        return None, str(error).replace("\n", " ")[:300]


def read_applications(
    machines: list[MachineReading],
    applications: list[ApplicationReading],
    policies: Mapping[str, PolicySpecReading],
    images: Mapping[str, ImageSpecReading],
) -> dict[str, ApplicationScene]:
    """Every guest belongs to the first application that selects it, else to its own implicit one."""
    ordered = sorted(applications, key=lambda each: each.metadata.name)
    members: dict[str, list[MachineReading]] = {each.metadata.name: [] for each in ordered}
    for machine in sorted(machines, key=lambda each: each.metadata.name):
        names = (each.metadata.name for each in ordered if each.spec.selector.matches(machine.metadata.labels))
        members.setdefault(next(names, lone_application(machine.metadata.name)), []).append(machine)
    protection = {each.metadata.name: each.spec.protection for each in ordered}
    found: dict[str, ApplicationScene] = {}
    for name, guests in members.items():
        found[name] = ApplicationScene(
            name=name,
            wishes=tuple(wish for guest in guests for wish in plan_wishes(name, guest)),
            policy=policies.get(protection.get(name) or ""),
            agents=frozenset(GuestName(guest.metadata.name) for guest in guests if _has_agent(guest, images)),
        )
    return found


def plan_wishes(application: str, machine: MachineReading) -> tuple[Wish, ...]:
    """The volumes of one guest, named ``<guest>.<disk>``."""
    guest = GuestName(machine.metadata.name)
    return tuple(
        Wish(volume_name(guest, disk.name), guest, application, disk.size, disk.image) for disk in machine.spec.disks
    )


def _has_agent(machine: MachineReading, images: Mapping[str, ImageSpecReading]) -> bool:
    """The agent runs in the operating system: on the first disk's image, or on the image that is booted."""
    disks = machine.spec.disks
    system = (disks[0].image if disks else None) or machine.spec.boot.image
    found = images.get(system)
    return found is not None and found.guest_agent
