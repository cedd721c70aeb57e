"""Where a guest goes, and why. Pure; the same inputs give the same host.

A host fits when it is allowed, schedulable, holds a lease and has the memory. Memory is never
overcommitted; virtual CPUs are, up to ``CPU_OVERCOMMIT``. Among those that fit: fewest guests of the same
tier first (anti-affinity), then most free memory, then the name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gemel.core.identity import GuestName, HostName, Incarnation, SiteName
from gemel.core.units import human_size

CPU_OVERCOMMIT = 4.0


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A declared host. ``incarnation`` is None while no lease is known; ``lease_revision`` guards it."""

    name: HostName
    site: SiteName
    cpu: int
    memory: int
    schedulable: bool
    incarnation: Incarnation | None
    lease_revision: int = 0


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """A declared guest. ``group`` is its anti-affinity group (application and tier), None for none."""

    name: GuestName
    cpu: int
    memory: int
    running: bool
    application: str
    group: str | None = None
    hosts: tuple[HostName, ...] = ()
    after: tuple[GuestName, ...] = ()
    """Guests of the tiers that come first: it is placed when they run."""


@dataclass
class Load:
    """What is placed on a host so far; planning adds to it as it goes."""

    cpu: int = 0
    memory: int = 0
    groups: dict[str, int] = field(default_factory=dict)

    def add(self, guest: GuestFacts) -> None:
        self.cpu += guest.cpu
        self.memory += guest.memory
        if guest.group is not None:
            self.groups[guest.group] = self.groups.get(guest.group, 0) + 1


@dataclass(frozen=True, slots=True)
class Placed:
    host: HostFacts
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoPlace:
    """No host fits: why not, host by host."""

    reasons: tuple[str, ...]


def plan_placement(
    guest: GuestFacts,
    site: SiteName,
    hosts: Iterable[HostFacts],
    load: Mapping[HostName, Load],
    avoid: frozenset[HostName] = frozenset(),
) -> Placed | NoPlace:
    """The best host of ``site`` for ``guest``, with the reasons for it and against the others."""
    fits: list[tuple[tuple[int, int, str], HostFacts, str]] = []
    against: list[str] = []
    for host in sorted(hosts, key=lambda each: each.name):
        if host.site != site:
            continue
        here = load.get(host.name, Load())
        refusal = _refuses(guest, host, here, avoid)
        if refusal is not None:
            against.append(f"{host.name}: {refusal}")
            continue
        neighbours = here.groups.get(guest.group, 0) if guest.group else 0
        free = host.memory - here.memory
        note = f"{human_size(free)} of memory free"
        if guest.group:
            note += f", {neighbours} of {guest.group} there"
        fits.append(((neighbours, -free, host.name), host, note))
    if not fits:
        return NoPlace(tuple(against) or (f"site {site} has no host",))
    fits.sort(key=lambda each: each[0])
    _, best, note = fits[0]
    others = tuple(f"not {host.name}: {why}" for _, host, why in fits[1:])
    return Placed(best, (f"{best.name}: {note}", *others, *against))


def _refuses(guest: GuestFacts, host: HostFacts, here: Load, avoid: frozenset[HostName]) -> str | None:
    if host.name in avoid:
        return "to be left"
    if guest.hosts and host.name not in guest.hosts:
        return "not among placement.hosts"
    if host.incarnation is None:
        return "no lease"
    if not host.schedulable:
        return "drained"
    if here.memory + guest.memory > host.memory:
        return f"memory: {human_size(host.memory - here.memory)} free, {human_size(guest.memory)} needed"
    if here.cpu + guest.cpu > host.cpu * CPU_OVERCOMMIT:
        return f"cpu: {here.cpu} of {host.cpu * CPU_OVERCOMMIT:.0f} virtual CPUs taken"
    return None
