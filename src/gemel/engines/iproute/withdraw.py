"""Withdraw every guest route of this host, at once. Standard library only: the watchdog calls it."""

from ipaddress import IPv4Address

from gemel.engines.iproute.netlink import (
    PROTOCOL_GEMEL,
    Netlink,
    NetlinkError,
    Route,
    render_no_guest_route,
)

_ROUNDS = 3


def is_guest_route(route: Route) -> bool:
    return route.protocol == PROTOCOL_GEMEL and route.network.prefixlen == 32


def withdraw_all() -> tuple[IPv4Address, ...]:
    """Remove all guest routes; returns the addresses. Looks again afterwards: something may have been
    announced in between. Raises OSError when the kernel does not answer, or when routes stay."""
    withdrawn: set[IPv4Address] = set()
    netlink = Netlink()
    try:
        for _ in range(_ROUNDS):
            addresses = {route.network.network_address for route in netlink.routes() if is_guest_route(route)}
            if not addresses:
                return tuple(sorted(withdrawn))
            for address in sorted(addresses):
                _withdraw(netlink, address)
            withdrawn |= addresses
        if any(is_guest_route(route) for route in netlink.routes()):
            raise OSError("guest routes of this host stay although they were withdrawn three times")
        return tuple(sorted(withdrawn))
    finally:
        netlink.close()


def _withdraw(netlink: Netlink, address: IPv4Address) -> None:
    try:
        netlink.request(render_no_guest_route(address))
    except NetlinkError:
        pass  # already gone; if it is not, the next look shows it
