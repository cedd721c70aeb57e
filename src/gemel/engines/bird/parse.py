"""What birdc prints, as data. Pure; golden-tested on BIRD 2.0.12's own output."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network


@dataclass(frozen=True, slots=True)
class Session:
    """A protocol as ``show protocols`` lists it. For BGP ``info`` is ``Established`` when routes flow."""

    name: str
    kind: str
    state: str
    since: str
    info: str

    @property
    def established(self) -> bool:
        return self.state == "up" and self.info.startswith("Established")


@dataclass(frozen=True, slots=True)
class BirdRoute:
    """A route of ``show route``: ``via`` is the next hop's address, or None for a device or a blackhole."""

    network: IPv4Network
    kind: str
    protocol: str
    best: bool
    via: IPv4Address | None
    interface: str | None


_SESSION = re.compile(r"^(\S+)\s+(\S+)\s+(?:\S+)\s+(up|down|start|stop|flush)\s+(\S+(?: \d\S*)?)\s*(.*)$")
_ROUTE = re.compile(r"^(\S+)?\s+(unicast|blackhole|unreachable|prohibit)\s+\[(\S+)[^\]]*\]( \*)?")
_VIA = re.compile(r"^\s+via (\S+) on (\S+)")
_DEVICE = re.compile(r"^\s+dev (\S+)")


def parse_protocols(text: str) -> tuple[Session, ...]:
    found = (_SESSION.match(line.rstrip()) for line in text.splitlines())
    return tuple(Session(m[1], m[2], m[3], m[4], m[5].strip()) for m in found if m)


def parse_routes(text: str) -> tuple[BirdRoute, ...]:
    """All routes of ``show route``; alternatives of a network follow its first line without naming it."""
    routes: list[BirdRoute] = []
    network: IPv4Network | None = None
    for line in text.splitlines():
        head = _ROUTE.match(line)
        if head:
            network = IPv4Network(head[1]) if head[1] else network
            if network is None:
                raise ValueError(f"a route without a network in birdc's output: {line!r}")
            routes.append(BirdRoute(network, head[2], head[3], bool(head[4]), None, None))
        elif routes and routes[-1].interface is None:
            routes[-1] = _with_next_hop(routes[-1], line)
    return tuple(routes)


def _with_next_hop(route: BirdRoute, line: str) -> BirdRoute:
    via, device = _VIA.match(line), _DEVICE.match(line)
    if via:
        return BirdRoute(route.network, route.kind, route.protocol, route.best, IPv4Address(via[1]), via[2])
    if device:
        return BirdRoute(route.network, route.kind, route.protocol, route.best, None, device[1])
    return route
