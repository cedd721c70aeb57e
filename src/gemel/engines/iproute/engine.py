"""``network.ports.Routes`` on the Linux kernel's routing table.

Calls are system calls of microseconds, so they run in the event loop itself: a hand-over waits for no
thread. The kernel's socket has a timeout all the same.
"""

import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from gemel.core.outcome import OutcomeUnknown, Permanent, Present, Retryable, Unknown
from gemel.engines.iproute.netlink import (
    Message,
    Netlink,
    NetlinkError,
    render_blackhole,
    render_guest_route,
    render_hardware_address,
    render_host_address,
    render_no_guest_route,
)
from gemel.engines.iproute.withdraw import is_guest_route, withdraw_all
from gemel.network.ports import GATEWAY, GATEWAY_MAC, Announcement, HostRoute

_SETTINGS = Path("/proc/sys/net/ipv4")
_HOST_SETTINGS = {
    "ip_forward": "1",
    # Strict reverse-path checks drop the first packets of a guest that has just arrived by live migration.
    "conf/all/rp_filter": "0",
}
_TAP_SETTINGS = {
    "rp_filter": "0",
    "send_redirects": "0",
    "accept_redirects": "0",
    # Through its tap a guest learns of the gateway's address and no other address of the host.
    "arp_ignore": "1",
    "arp_announce": "2",
}
_NO_SUCH = frozenset({errno.ESRCH, errno.ENOENT})
_GONE_DEVICE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.EINVAL})


class KernelRoutes:
    """Guest routes of the network namespace that this process lives in."""

    def __init__(self, settings: Path = _SETTINGS) -> None:
        self._settings = settings
        self._netlink = Netlink()

    def close(self) -> None:
        self._netlink.close()

    async def observe(self) -> Present[frozenset[HostRoute]] | Unknown:
        try:
            routes = self._netlink.routes()
        except OSError as error:
            return Unknown(f"the kernel did not tell its routes: {error}")
        return Present(
            frozenset(
                HostRoute(route.network.network_address, _name(route.interface))
                for route in routes
                if is_guest_route(route)
            )
        )

    async def ensure_host(self, prefixes: Iterable[IPv4Network]) -> None:
        for name, value in _HOST_SETTINGS.items():
            self._set(name, value)
        for prefix in prefixes:
            self._request(render_blackhole(prefix), f"blackhole for {prefix}")

    async def ensure_gateway(self, tap: str) -> None:
        interface = _index(tap)
        self._request(render_hardware_address(interface, GATEWAY_MAC), f"gateway's MAC on {tap}")
        self._request(render_host_address(interface, GATEWAY), f"gateway's address on {tap}")
        for name, value in _TAP_SETTINGS.items():
            self._set(f"conf/{tap}/{name}", value)

    async def ensure_announced(self, announcement: Announcement) -> None:
        what = f"route to {announcement.address} of {announcement.guest} through {announcement.tap}"
        self._request(render_guest_route(announcement.address, _index(announcement.tap)), what)

    async def ensure_withdrawn(self, address: IPv4Address) -> None:
        self._request(render_no_guest_route(address), f"withdrawal of {address}", fine=_NO_SUCH)

    def withdraw_all(self) -> tuple[IPv4Address, ...]:
        return withdraw_all()

    def _request(self, message: Message, what: str, fine: frozenset[int] = frozenset()) -> None:
        try:
            self._netlink.request(message)
        except TimeoutError as error:
            raise OutcomeUnknown(f"{what}: the kernel did not answer; look at `ip route`") from error
        except NetlinkError as error:
            if error.errno in fine:
                return
            if error.errno in _GONE_DEVICE:
                raise Retryable(f"{what}: {error.strerror}; its tap is gone or down", after=0.2) from error
            raise Permanent(f"{what}: the kernel refused: {error.strerror}") from error
        except OSError as error:
            raise Retryable(f"{what}: {error}") from error

    def _set(self, name: str, value: str) -> None:
        path = self._settings / name
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except FileNotFoundError as error:
            raise Retryable(f"{path} is not there: its device has gone", after=0.2) from error
        except OSError as error:
            raise Permanent(f"cannot set {path} to {value}: {error}; the agent must run as root") from error


def _index(tap: str) -> int:
    try:
        return socket.if_nametoindex(tap)
    except OSError as error:
        raise Retryable(f"there is no device {tap} on this host (yet): its guest does not run", 0.2) from error


def _name(interface: int) -> str:
    try:
        return socket.if_indextoname(interface)
    except OSError:  # it vanished between the dump and now, and its routes with it
        return f"#{interface}"
