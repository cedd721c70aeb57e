"""What the network wing asks of a host: addresses on taps, routes, and the router beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from gemel.core.identity import GuestName
from gemel.core.outcome import Present, Unknown

GATEWAY = IPv4Address("169.254.1.1")
GATEWAY_MAC = "02:67:65:6d:00:01"
"""The same on every host, so that a guest that moved keeps its neighbour entry."""


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A guest's address as the kernel routes it: through a tap of this host."""

    address: IPv4Address
    tap: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """A guest's address, reachable through a tap of this host."""

    guest: GuestName
    address: IPv4Address
    tap: str

    @property
    def route(self) -> HostRoute:
        return HostRoute(self.address, self.tap)


class Routes(Protocol):
    """Host routes to guests. BIRD learns them from the kernel and tells its neighbours.

    ``ensure_`` calls are idempotent; ``Retryable`` when the kernel refused for now (a tap that does not exist
    yet). A synchronous twin exists for the fence: withdrawing must work when the event loop does not.
    """

    async def observe(self) -> Present[frozenset[HostRoute]] | Unknown:
        """The guest routes of this host, those that gemel put there and no others."""
        ...

    async def ensure_host(self, prefixes: Iterable[IPv4Network]) -> None:
        """Forwarding on, and a blackhole for each prefix: a packet for a guest that left must not loop."""
        ...

    async def ensure_gateway(self, tap: str) -> None:
        """Give the tap the gateway's address and MAC, so that the guest finds its way out."""
        ...

    async def ensure_announced(self, announcement: Announcement) -> None: ...

    async def ensure_withdrawn(self, address: IPv4Address) -> None: ...

    def withdraw_all(self) -> tuple[IPv4Address, ...]:
        """Every guest route of this host, at once, without the event loop. Returns what was withdrawn."""
        ...
