"""rtnetlink messages, and a socket to exchange them: the few that guest routes need.

A live migration's hand-over changes a route in well under a millisecond this way, where a fork of ``ip`` from
a process under load takes tens. Standard library only: the watchdog imports this, and must not depend
on anything that could be broken. Layouts are those of linux/netlink.h and linux/rtnetlink.h.
"""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

PROTOCOL_GEMEL = 103
"""Routes of this origin (rtm_protocol) are ours: nobody else's are announced by BIRD or withdrawn by us."""

RTM_NEWLINK, RTM_NEWADDR = 16, 20
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _REPLACE, _CREATE, _DUMP = 0x1, 0x4, 0x100, 0x400, 0x300
_TABLE_MAIN, _UNICAST, _BLACKHOLE = 254, 1, 6
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_ANY = 0, 253, 255
_RTA_DST, _RTA_OIF, _RTA_PRIORITY = 1, 4, 6
_IFLA_ADDRESS, _IFA_ADDRESS, _IFA_LOCAL = 1, 1, 2
_IFF_UP = 1
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_LAST_METRIC = 1 << 30
"""Any other route to the same prefix is better than the blackhole."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request without its header: what the kernel is asked to do."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast IPv4 route of the main table, as the kernel dumps it."""

    network: IPv4Network
    interface: int
    protocol: int


class NetlinkError(OSError):
    """The kernel refused; ``errno`` says why."""


def render_attribute(kind: int, value: bytes) -> bytes:
    raw = struct.pack("=HH", 4 + len(value), kind) + value
    return raw + bytes(-len(raw) % 4)


def render_guest_route(address: IPv4Address, interface: int) -> Message:
    """``ip route replace ADDRESS/32 dev INTERFACE proto 103 scope link``."""
    body = _ROUTE.pack(
        socket.AF_INET, 32, 0, 0, _TABLE_MAIN, PROTOCOL_GEMEL, _SCOPE_LINK, _UNICAST, 0
    ) + render_attribute(_RTA_DST, address.packed)
    body += render_attribute(_RTA_OIF, struct.pack("=I", interface))
    return Message(RTM_NEWROUTE, _REQUEST | _ACK | _CREATE | _REPLACE, body)


def render_no_guest_route(address: IPv4Address) -> Message:
    """``ip route del ADDRESS/32 proto 103``: ours through whatever device, never another's."""
    body = _ROUTE.pack(socket.AF_INET, 32, 0, 0, _TABLE_MAIN, PROTOCOL_GEMEL, _SCOPE_ANY, _UNICAST, 0)
    return Message(RTM_DELROUTE, _REQUEST | _ACK, body + render_attribute(_RTA_DST, address.packed))


def render_blackhole(prefix: IPv4Network) -> Message:
    """``ip route replace blackhole PREFIX proto 103 metric 1073741824``."""
    body = _ROUTE.pack(
        socket.AF_INET,
        prefix.prefixlen,
        0,
        0,
        _TABLE_MAIN,
        PROTOCOL_GEMEL,
        _SCOPE_UNIVERSE,
        _BLACKHOLE,
        0,
    )
    body += render_attribute(_RTA_DST, prefix.network_address.packed)
    body += render_attribute(_RTA_PRIORITY, struct.pack("=I", _LAST_METRIC))
    return Message(RTM_NEWROUTE, _REQUEST | _ACK | _CREATE | _REPLACE, body)


def render_hardware_address(interface: int, mac: str) -> Message:
    """``ip link set INTERFACE address MAC up``."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, interface, _IFF_UP, _IFF_UP)
    return Message(
        RTM_NEWLINK,
        _REQUEST | _ACK,
        body + render_attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))),
    )


def render_host_address(interface: int, address: IPv4Address) -> Message:
    """``ip address replace ADDRESS/32 dev INTERFACE scope link``."""
    body = _ADDRESS.pack(socket.AF_INET, 32, 0, _SCOPE_LINK, interface)
    body += render_attribute(_IFA_LOCAL, address.packed) + render_attribute(_IFA_ADDRESS, address.packed)
    return Message(RTM_NEWADDR, _REQUEST | _ACK | _CREATE | _REPLACE, body)


def render_dump() -> Message:
    body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    return Message(RTM_GETROUTE, _REQUEST | _DUMP, body)


def parse_messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(kind, sequence, body) of each message in a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            raise ValueError(f"netlink message of {length} bytes at {offset} in a datagram of {len(data)}")
        yield kind, sequence, data[offset + _HEADER.size : offset + length]
        offset += length + (-length % 4)


def parse_attributes(data: bytes) -> dict[int, bytes]:
    attributes: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4 or offset + length > len(data):
            raise ValueError(f"netlink attribute of {length} bytes at {offset} of {len(data)}")
        attributes[kind] = data[offset + 4 : offset + length]
        offset += length + (-length % 4)
    return attributes


def parse_route(body: bytes) -> Route | None:
    """A unicast route of the main table through a device; None for any other."""
    family, bits, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    if family != socket.AF_INET or table != _TABLE_MAIN or kind != _UNICAST:
        return None
    attributes = parse_attributes(body[_ROUTE.size :])
    if _RTA_OIF not in attributes:
        return None
    network = IPv4Network((attributes.get(_RTA_DST, bytes(4)), bits))
    return Route(network, int(struct.unpack("=I", attributes[_RTA_OIF])[0]), protocol)


def parse_error(body: bytes) -> int:
    """The errno of an acknowledgement; 0 when the kernel agreed."""
    return -int(struct.unpack_from("=i", body)[0])


class Netlink:
    """One rtnetlink socket. Calls block for microseconds, and at most ``timeout`` seconds."""

    def __init__(self, timeout: float = 1.0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.settimeout(timeout)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def request(self, message: Message) -> None:
        """Send and wait for the kernel's answer. Raises NetlinkError with its errno, or TimeoutError."""
        sequence = self._send(message)
        for kind, body in self._answers(sequence):
            if kind == _NLMSG_ERROR:
                number = parse_error(body)
                if number:
                    raise NetlinkError(number, os.strerror(number))
                return

    def routes(self) -> tuple[Route, ...]:
        """Unicast routes of the main table."""
        sequence = self._send(render_dump())
        found: list[Route] = []
        for kind, body in self._answers(sequence):
            if kind == _NLMSG_DONE:
                break
            if kind == _NLMSG_ERROR:
                number = parse_error(body)
                raise NetlinkError(number, os.strerror(number))
            route = parse_route(body) if kind == RTM_NEWROUTE else None
            if route is not None:
                found.append(route)
        return tuple(found)

    def _send(self, message: Message) -> int:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(message.body), message.kind, message.flags, self._sequence, 0)
        self._socket.send(header + message.body)
        return self._sequence

    def _answers(self, sequence: int) -> Iterator[tuple[int, bytes]]:
        while True:
            for kind, answered, body in parse_messages(self._socket.recv(1 << 17)):
                if answered == sequence:  # an answer to a request that timed out may still be in the queue
                    yield kind, body
