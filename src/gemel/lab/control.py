"""The region's control plane in the lab: files that an installer writes for APIs, controllers and the witness."""

from pathlib import Path
from typing import Any

from gemel.api.tokens import digest_of, new_token
from gemel.cli.yamltext import render_yaml
from gemel.engines.pki import write_private
from gemel.lab import regionstore
from gemel.lab.identities import AUTHORITY
from gemel.lab.state import LabFolder
from gemel.lab.topology import Node, Topology

API_PORT = 7443
ROLES = ("admin", "operator", "viewer")
_TLS = "/etc/gemel/tls"


def endpoint(node: Node) -> str:
    return f"https://{node.address}:{API_PORT}"


def endpoints(topology: Topology, nearest: str | None = None) -> list[str]:
    """All APIs, the one of the ``nearest`` site first."""
    nodes = sorted(topology.control, key=lambda node: node.site != nearest if nearest else False)
    return [endpoint(node) for node in nodes]


def token_file(folder: LabFolder, role: str = "admin") -> Path:
    return folder.path / "tokens" / f"{role}.token"


def ensure_tokens(folder: LabFolder) -> dict[str, str]:
    """A token for each role, by role; kept in files that only root reads."""
    for role in ROLES:
        if not token_file(folder, role).exists():
            write_private(token_file(folder, role), (new_token() + "\n").encode())
    return {role: token_file(folder, role).read_text().strip() for role in ROLES}


def render_store_access(topology: Topology, node: Node, stem: str) -> dict[str, Any]:
    return {
        "endpoints": regionstore.endpoints(topology, node.name),
        "ca": f"{_TLS}/ca.crt",
        "certificate": f"{_TLS}/{stem}.crt",
        "key": f"{_TLS}/{stem}.key",
    }


def render_api(topology: Topology, node: Node, region: str) -> dict[str, Any]:
    """``/etc/gemel/api.yaml``. Its own site's API and store member come first, for the hosts that join by it."""
    tls = {"ca": f"{_TLS}/ca.crt", "certificate": f"{_TLS}/api.crt", "key": f"{_TLS}/api.key"}
    return {
        "region": region,
        "listen": {"address": str(node.address), "port": API_PORT},
        "tls": tls,
        "store": render_store_access(topology, node, "api"),
        "tokens": "/etc/gemel/tokens.yaml",
        "authority": f"/{AUTHORITY}",
        "endpoints": endpoints(topology, node.site),
    }


def render_controller(topology: Topology, node: Node) -> dict[str, Any]:
    """``/etc/gemel/controller.yaml``, and the witness's the same under its own name."""
    return {"identity": node.name, "store": render_store_access(topology, node, "controller")}


def write_control_files(topology: Topology, folder: LabFolder) -> None:
    tokens = ensure_tokens(folder)
    entries = [{"user": role, "role": role, "sha256": digest_of(token)} for role, token in tokens.items()]
    for node in topology.control:
        _write(folder, node, "tokens.yaml", {"tokens": entries})
        _write(folder, node, "api.yaml", render_api(topology, node, folder.region))
        _write(folder, node, "controller.yaml", render_controller(topology, node))
    witness = topology.witness
    _write(folder, witness, "witness.yaml", render_controller(topology, witness))


def _write(folder: LabFolder, node: Node, name: str, document: dict[str, Any]) -> None:
    write_private(folder.host(node.name) / "etc/gemel" / name, render_yaml(document).encode())
