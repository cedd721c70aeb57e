"""From the topology to `ip -batch` scripts, settings, BIRD's configurations and private folders. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from gemel.engines.bird.render import Peer, Speaker
from gemel.lab.topology import (
    OUT_ASN,
    WITNESS_ADDRESS,
    End,
    Link,
    Node,
    Role,
    Site,
    Topology,
)

_SETTINGS = {
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    "net.ipv4.ping_group_range": "0 2147483647",
}
_FORWARDERS = (Role.ROUTER, Role.OUTSIDE, Role.HOST)
PRIVATE_FOLDERS = (
    "run",
    "etc/gemel",
    "etc/ceph",
    "etc/bird",
    "etc/libvirt",
    "etc/pki",
    "var/lib/gemel",
    "var/lib/libvirt",
    "var/cache/libvirt",
    "var/log",
)
"""Bound over the machine's own in a node's mount namespace, so that production paths are used unchanged."""

OVERLAY = ".overlay"


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """``links`` is one batch for this machine's namespace; ``nodes`` one batch for each node."""

    namespaces: tuple[str, ...]
    links: tuple[str, ...]
    nodes: dict[str, tuple[str, ...]]
    operator: tuple[str, ...]
    settings: dict[str, dict[str, str]]


def plan_network(topology: Topology) -> NetworkPlan:
    nodes = {node.name: ["link set lo up"] for node in topology.nodes}
    operator: list[str] = []
    nodes["wit"].append(f"address add {WITNESS_ADDRESS}/32 dev lo")
    for bridge in topology.bridges:
        nodes[bridge.node] += [
            f"link add {bridge.device} type bridge stp_state 0 forward_delay 0",
            f"address add {bridge.interface} dev {bridge.device}",
            f"link set {bridge.device} up",
        ]
    for end in (end for link in topology.links for end in (link.a, link.b)):
        (operator if end.node is None else nodes[end.node]).extend(_end_lines(end))
    for route in topology.routes:
        source = f" src {route.source}" if route.source else ""
        line = f"route replace {route.network} via {route.via}{source}"
        (operator if route.node is None else nodes[route.node]).append(line)
    return NetworkPlan(
        namespaces=tuple(node.namespace for node in topology.nodes),
        links=tuple(_link_line(topology, link) for link in topology.links),
        nodes={name: tuple(lines) for name, lines in nodes.items()},
        operator=tuple(operator),
        settings={node.name: _settings(node) for node in topology.nodes},
    )


def _link_line(topology: Topology, link: Link) -> str:
    a, b = (
        end.device + (f" netns {topology.node(end.node).namespace}" if end.node else "") for end in (link.a, link.b)
    )
    return f"link add {a} type veth peer name {b}"


def _end_lines(end: End) -> list[str]:
    lines = [f"address add {end.interface} dev {end.device}"] if end.interface else []
    if end.bridge:
        lines.append(f"link set {end.device} master {end.bridge}")
    return [*lines, f"link set {end.device} up"]


def _settings(node: Node) -> dict[str, str]:
    # The witness must never carry the sites' traffic to each other.
    return {**_SETTINGS, "net.ipv4.ip_forward": "1" if node.role in _FORWARDERS else "0"}


def plan_speakers(topology: Topology) -> dict[str, Speaker]:
    """The BGP speaker of each node that has one, by node name."""
    prefixes = tuple(site.guests for site in topology.sites)
    speakers: dict[str, Speaker] = {}
    for site in topology.sites:
        for host in topology.hosts(site.name):
            address = topology.address(host.name)
            peer = Peer("site_router", site.router_address, site.asn, address)
            speakers[host.name] = Speaker(address, site.asn, prefixes, (peer,), learns=True)
        peers = (*_clients(topology, site), *_neighbours(topology, site.router))
        speakers[site.router] = Speaker(site.router_address, site.asn, prefixes, peers)
    outside = _neighbours(topology, "out")
    speakers["out"] = Speaker(IPv4Address("198.18.20.1"), OUT_ASN, prefixes, outside)
    return speakers


def _clients(topology: Topology, site: Site) -> tuple[Peer, ...]:
    return tuple(
        Peer(host.name, topology.address(host.name), site.asn, site.router_address, client=True)
        for host in topology.hosts(site.name)
    )


def _neighbours(topology: Topology, node: str) -> tuple[Peer, ...]:
    asn = {site.router: site.asn for site in topology.sites} | {"out": OUT_ASN}
    peers = []
    for link in topology.links:
        ends = link.ends_of(node)
        if ends is None or ends[1].node not in asn or not ends[0].interface or not ends[1].interface:
            continue
        peers.append(Peer(ends[1].node, ends[1].interface.ip, asn[ends[1].node], ends[0].interface.ip))
    return tuple(peers)


def render_hosts_file(topology: Topology) -> str:
    lines = ["127.0.0.1 localhost"]
    lines += [f"{node.address} {node.name}" for node in topology.nodes if node.address]
    return "\n".join(lines) + "\n"


def render_mounts(folder: Path) -> str:
    """An fstab for `mount -a -T`, to be run inside the node's namespaces. /etc is the machine's own with the
    node's changes over it; folders that the lab itself writes to are plain binds on top."""
    over = folder / OVERLAY
    etc = f"overlay /etc overlay lowerdir=/etc,upperdir={over / 'etc'},workdir={over / 'work'} 0 0"
    binds = [f"{folder / name} /{name} none bind 0 0" for name in PRIVATE_FOLDERS]
    return "\n".join([etc, *binds]) + "\n"
