"""Which addresses this host must announce. Pure: from what runs and what stands in the kernel.

A guest's address follows its execution, not its existence: while a guest is migrated in, its QEMU, its tap
and its gateway are there, but the other host executes it and answers for its address.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from gemel.core.identity import GuestName
from gemel.network.ports import Announcement, HostRoute


@dataclass(frozen=True, slots=True)
class LocalGuest:
    """A guest whose QEMU exists on this host.

    ``executes`` is true when its virtual CPUs belong here: running, or paused by us or by an I/O error; false
    while it is prepared for a migration in, and after it was handed over. ``granted`` is false when the
    right to run has gone: nothing may be announced for it, even while its QEMU has still to be killed.
    """

    guest: GuestName
    addresses: tuple[IPv4Address, ...]
    tap: str
    executes: bool
    granted: bool = True


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """What to change, in the order: gateways, withdrawals, announcements. ``reasons`` one for each change."""

    gateways: tuple[str, ...]
    withdraw: tuple[HostRoute, ...]
    announce: tuple[Announcement, ...]
    reasons: tuple[str, ...]

    @property
    def changes_routes(self) -> bool:
        return bool(self.withdraw or self.announce)


def plan_announcements(guests: Iterable[LocalGuest]) -> frozenset[Announcement]:
    """Every address that this host must answer for."""
    return frozenset(
        Announcement(guest.guest, address, guest.tap)
        for guest in guests
        if guest.executes and guest.granted
        for address in guest.addresses
    )


def plan_routes(
    guests: Iterable[LocalGuest], announced: frozenset[HostRoute], gateways_done: frozenset[str] = frozenset()
) -> RoutePlan:
    """From the guests on this host and the routes in its kernel to the changes that make them agree."""
    local = tuple(guests)
    wanted = plan_announcements(local)
    if len({item.address for item in wanted}) != len(wanted):
        raise ValueError(f"two guests of this host claim one address: {_claims(wanted)}")
    kept = {item.address for item in wanted}
    withdraw = sorted((route for route in announced if route.address not in kept), key=lambda route: route.address)
    announce = sorted(
        (item for item in wanted if item.route not in announced), key=lambda item: (item.address, item.tap)
    )
    reasons = [f"withdraw {route.address}: {_why_not(route, local)}" for route in withdraw]
    reasons += [f"announce {item.address}: {item.guest} executes here on {item.tap}" for item in announce]
    return RoutePlan(
        gateways=tuple(sorted({guest.tap for guest in local} - gateways_done)),
        withdraw=tuple(withdraw),
        announce=tuple(announce),
        reasons=tuple(reasons),
    )


def _claims(wanted: frozenset[Announcement]) -> str:
    pairs = sorted((str(item.address), str(item.guest)) for item in wanted)
    return ", ".join(f"{address} by {guest}" for address, guest in pairs)


def _why_not(route: HostRoute, guests: tuple[LocalGuest, ...]) -> str:
    for guest in guests:
        if route.address in guest.addresses:
            return f"{guest.guest} has no grant" if not guest.granted else f"{guest.guest} executes elsewhere"
    return "no guest of this host has it"
