"""The region's certificates, as an installer hands them out: an authority, and files on the nodes.

Agents are not among them: hosts get theirs by joining.
"""

from pathlib import Path

from gemel.engines.pki import (
    Authority,
    Purpose,
    Subject,
    create_authority,
    issue,
    load_authority,
    write_identity,
    write_private,
    write_public,
)
from gemel.lab.state import LabFolder
from gemel.lab.topology import Node, Topology
from gemel.store.etcd.roles import ROOT_USER, Role
from gemel.store.etcd.server import MEMBER_CN

TLS = "etc/gemel/tls"
AUTHORITY = "etc/gemel/ca"
"""On the API's hosts, which sign joining hosts' certificates."""


def ensure_authority(folder: LabFolder) -> Authority:
    if (folder.pki / "ca.key").exists():
        return load_authority(folder.pki)
    return create_authority(folder.pki, f"gemel region {folder.region}")


def ensure_identities(topology: Topology, folder: LabFolder) -> None:
    """Certificates for store members, APIs, controllers and the lab's own root; those that exist stay."""
    authority = ensure_authority(folder)
    _ensure(authority, folder.pki, "root", Subject(ROOT_USER))
    for node in topology.store_members:
        _ensure(authority, _tls(folder, node), "etcd", _server(node, MEMBER_CN))
    for node in (*topology.control, topology.witness):
        _ensure(authority, _tls(folder, node), "controller", Subject(Role.CONTROLLER, unit=node.name))
    for node in topology.control:
        _ensure(authority, _tls(folder, node), "api", _server(node, Role.API))
        write_public(folder.host(node.name) / AUTHORITY / "ca.crt", authority.pem)
        _copy_secret(folder.pki / "ca.key", folder.host(node.name) / AUTHORITY / "ca.key")
    for node in (*topology.hosts(), topology.witness):
        write_public(_tls(folder, node) / "ca.crt", authority.pem)


def _tls(folder: LabFolder, node: Node) -> Path:
    return folder.host(node.name) / TLS


def _server(node: Node, cn: str) -> Subject:
    """For a node that answers and calls: etcd members call each other, APIs call the store and agents."""
    addresses = (str(node.address), "127.0.0.1")
    return Subject(cn, node.name, dns=(node.name, "localhost"), ips=addresses, purpose=Purpose.PEER)


def _ensure(authority: Authority, folder: Path, stem: str, subject: Subject) -> None:
    if not (folder / f"{stem}.key").exists():
        write_identity(folder, stem, issue(authority, subject))


def _copy_secret(source: Path, target: Path) -> None:
    write_private(target, source.read_bytes())
