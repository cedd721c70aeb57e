"""The region store's three members in the lab, and their users and roles."""

from pathlib import Path

from gemel.lab.state import LabFolder
from gemel.lab.topology import Node, Topology
from gemel.store.etcd import EtcdStore
from gemel.store.etcd.roles import ensure_roles
from gemel.store.etcd.server import Place, Server, render_argv

ENVIRONMENT = "etc/gemel/etcd.env"
_TLS = Path("/etc/gemel/tls")


def places(topology: Topology) -> tuple[Place, ...]:
    return tuple(Place(node.name, str(node.address)) for node in topology.store_members)


def endpoints(topology: Topology, nearest: str | None = None) -> list[str]:
    """Clients' addresses of all members, the one on ``nearest``'s own site first."""
    sites = {node.name: node.site for node in topology.nodes}
    wanted = sites.get(nearest or "")
    found = sorted(places(topology), key=lambda place: wanted is None or sites[place.name] != wanted)
    return [place.endpoint for place in found]


def render_environment(topology: Topology, node: Node) -> str:
    """The member's settings as etcd reads them from its environment: unlike its configuration file, that
    knows them all (in 3.4 the file cannot say which common name a peer must have)."""
    place = next(place for place in places(topology) if place.name == node.name)
    server = Server(
        place=place,
        members=places(topology),
        data=Path("/var/lib/gemel/etcd"),
        ca=_TLS / "ca.crt",
        cert=_TLS / "etcd.crt",
        key=_TLS / "etcd.key",
    )
    lines = []
    for option in render_argv(server)[1:]:
        name, _, value = option.removeprefix("--").partition("=")
        lines.append(f"ETCD_{name.replace('-', '_').upper()}={value}")
    return "\n".join(lines) + "\n"


def parse_environment(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def write_members(topology: Topology, folder: LabFolder) -> None:
    for node in topology.store_members:
        root = folder.host(node.name)
        (root / "var/lib/gemel/etcd").mkdir(parents=True, exist_ok=True, mode=0o700)
        (root / ENVIRONMENT).write_text(render_environment(topology, node))


async def ensure_store(topology: Topology, folder: LabFolder) -> None:
    """Wait for a quorum, then make users and roles. This machine reaches the sites' members only."""
    reachable = [f"{node.address}:2379" for node in topology.store_members if node.site]
    pki = folder.pki
    store = await EtcdStore.connect(
        reachable, pki / "ca.crt", pki / "root.crt", pki / "root.key", call_timeout=2.0, budget=30.0
    )
    try:
        await ensure_roles(store)
    finally:
        await store.close()
