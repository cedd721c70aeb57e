"""The lab's region as data: nodes, links, addresses, routes. Pure.

        client                  operator (this machine)
           \\                    /
            +------- out -------+
              /             \\
        par1-rtr ---------- gra1-rtr        198.18.10.0/24: links between routers
         |  |  |  \\        /  |  |  |
        par1-1..3   witness    gra1-1..3    198.18.1.0/24, 198.18.3.0/24, 198.18.2.0/24

Infrastructure has static routes over the direct links only: a cut between two sites is a cut, and no packet
finds a way around it through ``out`` or the witness. Guests' addresses go by BGP, wherever a way is left.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

PREFIX = "gemel-"
"""Of every network namespace that the lab makes; ``down`` removes by it when all else is lost."""
OPERATOR_DEVICE = "gemel-lab"
INFRASTRUCTURE = IPv4Network("198.18.0.0/16")
GUESTS = IPv4Network("198.19.0.0/16")
OPERATOR = IPv4Interface("198.18.30.2/24")
CLIENT = IPv4Interface("198.18.20.10/24")
OUT_ASN = 65100
HOSTS_PER_SITE = 3


class Role(StrEnum):
    HOST = "host"
    WITNESS = "witness"
    ROUTER = "router"
    OUTSIDE = "outside"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the lab. ``address`` is the one that others know it by, where it has one."""

    name: str
    role: Role
    address: IPv4Address | None = None
    site: str | None = None

    @property
    def namespace(self) -> str:
        return PREFIX + self.name

    @property
    def has_system(self) -> bool:
        """It runs daemons with files of their own, and so needs private folders."""
        return self.role is not Role.CLIENT


@dataclass(frozen=True, slots=True)
class End:
    """One end of a cable. ``node`` None is this machine itself; ``bridge`` joins it to the node's LAN."""

    node: str | None
    device: str
    interface: IPv4Interface | None = None
    bridge: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    a: End
    b: End

    def ends_of(self, node: str) -> tuple[End, End] | None:
        """(the node's end, the other end), or None when the link does not touch it."""
        if self.a.node == node:
            return self.a, self.b
        return (self.b, self.a) if self.b.node == node else None


@dataclass(frozen=True, slots=True)
class Bridge:
    node: str
    device: str
    interface: IPv4Interface


@dataclass(frozen=True, slots=True)
class StaticRoute:
    node: str | None
    network: IPv4Network
    via: IPv4Address
    source: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    number: int
    asn: int
    network: IPv4Network
    guests: IPv4Network

    @property
    def router(self) -> str:
        return f"{self.name}-rtr"

    @property
    def router_address(self) -> IPv4Address:
        return self.network[1]

    def host(self, number: int) -> str:
        return f"{self.name}-{number}"


@dataclass(frozen=True, slots=True)
class Topology:
    sites: tuple[Site, ...]
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    bridges: tuple[Bridge, ...]
    routes: tuple[StaticRoute, ...]

    def node(self, name: str) -> Node:
        """Raises KeyError that names the nodes there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(f"no node {name!r} in the lab: there are {', '.join(n.name for n in self.nodes)}")

    def site(self, name: str) -> Site:
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(f"no site {name!r} in the lab: there are {', '.join(s.name for s in self.sites)}")

    def hosts(self, site: str | None = None) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.role is Role.HOST and site in (None, n.site))

    @property
    def witness(self) -> Node:
        return next(node for node in self.nodes if node.role is Role.WITNESS)

    @property
    def store_members(self) -> tuple[Node, ...]:
        """One in each failure domain: the first host of each site, and the witness."""
        return (*(self.hosts(site.name)[0] for site in self.sites), self.witness)

    @property
    def control(self) -> tuple[Node, ...]:
        """Where the API and the controllers run: the first host of each site."""
        return tuple(self.hosts(site.name)[0] for site in self.sites)

    def address(self, name: str) -> IPv4Address:
        address = self.node(name).address
        if address is None:
            raise KeyError(f"node {name} has no address of its own")
        return address


def site_plan(name: str, number: int) -> Site:
    return Site(
        name=name,
        number=number,
        asn=65100 + number,
        network=IPv4Network(f"198.18.{number}.0/24"),
        guests=IPv4Network(f"198.19.{number}.0/24"),
    )


WITNESS_NETWORK = IPv4Network("198.18.3.0/24")
WITNESS_ADDRESS = IPv4Address("198.18.3.11")


def _domain_router(domain: str) -> str:
    """The node that a failure domain's cables end at."""
    return domain if domain in ("wit", "out") else f"{domain}-rtr"


def _core_links(sites: tuple[Site, Site]) -> tuple[Link, ...]:
    """Point to point between routers, witness and outside: 198.18.10.(4k+1) and .(4k+2)."""
    first, second = (site.name for site in sites)
    pairs = (
        (first, second),
        (first, "wit"),
        (second, "wit"),
        (first, "out"),
        (second, "out"),
    )
    links = []
    for number, (a, b) in enumerate(pairs):
        base = int(IPv4Address("198.18.10.0")) + 4 * number
        links.append(
            Link(
                End(_domain_router(a), f"to-{b}", IPv4Interface((base + 1, 30))),
                End(_domain_router(b), f"to-{a}", IPv4Interface((base + 2, 30))),
            )
        )
    return tuple(links)


def _site_parts(site: Site) -> tuple[list[Node], list[Link], Bridge]:
    nodes = [Node(site.router, Role.ROUTER, site.router_address, site.name)]
    links = []
    for number in range(1, HOSTS_PER_SITE + 1):
        address = site.network[10 + number]
        nodes.append(Node(site.host(number), Role.HOST, address, site.name))
        links.append(
            Link(
                End(site.host(number), "eth0", IPv4Interface(f"{address}/24")),
                End(site.router, f"host-{number}", bridge="lan"),
            )
        )
    return nodes, links, Bridge(site.router, "lan", IPv4Interface(f"{site.router_address}/24"))


def _edge_links() -> tuple[Link, Link]:
    return (
        Link(End("client", "eth0", CLIENT), End("out", "to-client", IPv4Interface("198.18.20.1/24"))),
        Link(End(None, OPERATOR_DEVICE, OPERATOR), End("out", "to-operator", IPv4Interface("198.18.30.1/24"))),
    )


def _far(links: tuple[Link, ...], node: str, towards: str) -> IPv4Address:
    """The address at the other end of the direct link between two nodes."""
    for link in links:
        ends = link.ends_of(node)
        if ends and ends[1].node == towards and ends[1].interface:
            return ends[1].interface.ip
    raise KeyError(f"no link {node} - {towards}")


def _routes(sites: tuple[Site, Site], core: tuple[Link, ...]) -> tuple[StaticRoute, ...]:
    outside = (CLIENT.network, OPERATOR.network)
    routes = [StaticRoute("client", IPv4Network("0.0.0.0/0"), IPv4Address("198.18.20.1"))]
    routes.append(StaticRoute(None, INFRASTRUCTURE, IPv4Address("198.18.30.1")))
    for site, other in (sites, sites[::-1]):
        router = site.router
        routes += [
            StaticRoute(site.host(number), INFRASTRUCTURE, site.router_address)
            for number in range(1, HOSTS_PER_SITE + 1)
        ]
        routes.append(StaticRoute(router, other.network, _far(core, router, other.router)))
        routes.append(StaticRoute(router, WITNESS_NETWORK, _far(core, router, "wit")))
        routes += [StaticRoute(router, network, _far(core, router, "out")) for network in outside]
        routes.append(StaticRoute("wit", site.network, _far(core, "wit", router), WITNESS_ADDRESS))
        routes.append(StaticRoute("out", site.network, _far(core, "out", router)))
    return tuple(routes)


def plan_topology(first: str = "par1", second: str = "gra1") -> Topology:
    """Two sites of three hosts, a witness, an outside with a client."""
    sites = (site_plan(first, 1), site_plan(second, 2))
    nodes: list[Node] = []
    links: list[Link] = []
    bridges: list[Bridge] = []
    for site in sites:
        site_nodes, site_links, bridge = _site_parts(site)
        nodes += site_nodes
        links += site_links
        bridges.append(bridge)
    nodes += [
        Node("wit", Role.WITNESS, WITNESS_ADDRESS),
        Node("out", Role.OUTSIDE),
        Node("client", Role.CLIENT, CLIENT.ip),
    ]
    core = _core_links(sites)
    return Topology(sites, tuple(nodes), (*links, *core, *_edge_links()), tuple(bridges), _routes(sites, core))
