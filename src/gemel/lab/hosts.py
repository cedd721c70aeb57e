"""Hosts of the lab become hosts of the region: what a person does on a real machine, six times.

Before joining, the machine has its own facts (local.yaml), Ceph's client files and libvirt's configuration;
`gemel host join` does the rest.
"""

import asyncio
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gemel.cli.client import Api
from gemel.cli.config import Context
from gemel.cli.exits import CommandFailed
from gemel.cli.yamltext import render_yaml
from gemel.core.outcome import Permanent, Retryable
from gemel.engines.ceph.cluster import render_client_conf
from gemel.engines.libvirt.config import PKI_DIR, LibvirtSettings, render_files, render_pki_links
from gemel.engines.pki import write_private
from gemel.lab.ceph import CephPlan, install_client
from gemel.lab.control import endpoint, endpoints, token_file
from gemel.lab.process import Spawner
from gemel.lab.state import LabFolder
from gemel.lab.topology import Node, Topology
from gemel.lab.unitfile import REPOSITORY

IMAGES = Path("/var/cache/gemel/images")
_CEPH = Path("/etc/gemel/ceph")
_TLS = Path("/etc/gemel/tls")
_DEFAULT_PKI = {
    "CA/cacert.pem": _TLS / "ca.crt",
    "libvirt/clientcert.pem": _TLS / "agent.crt",
    "libvirt/private/clientkey.pem": _TLS / "agent.key",
}
"""Where libvirt's client looks when a URI names no folder: `virsh -c qemu+tls://HOST/system` works as well."""
_UUIDS = uuid.UUID("5d0c7f0a-0f5d-5b7e-9a39-67656d656c01")
_HOST_CPU, _HOST_MEMORY = 8, "2Gi"
_JOIN_TRIES = 12


def render_documents(topology: Topology) -> list[dict[str, Any]]:
    """Site and Host resources, as a person would declare them."""
    sites = [
        _document("Site", site.name, {"location": f"lab {site.name}", "prefixes": [str(site.guests)]})
        for site in topology.sites
    ]
    hosts = [
        _document(
            "Host",
            host.name,
            {"site": host.site, "cpu": _HOST_CPU, "memory": _HOST_MEMORY, "address": str(host.address)},
        )
        for host in topology.hosts()
    ]
    return sites + hosts


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "gemel/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def image_documents(cache: Path = IMAGES) -> list[dict[str, Any]]:
    """Image resources of what is built on this machine; none when nothing is."""
    if not (cache / "manifest.json").exists():
        return []
    argv = [sys.executable, str(REPOSITORY / "scripts/image-manifest"), "--cache", str(cache)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise Permanent(f"scripts/image-manifest failed: {done.stderr.strip()[-300:]}; run scripts/build-images")
    return [dict(document) for document in YAML(typ="safe", pure=True).load_all(done.stdout)]


def admin(topology: Topology, folder: LabFolder, site: str | None = None) -> Api:
    """The API as the lab's administrator; only the site's own one when a site is given."""
    places = [endpoint(node) for node in topology.control if node.site == site] if site else endpoints(topology)
    return Api(Context(folder.region, tuple(places), folder.pki / "ca.crt", token_file(folder)))


async def until_api_answers(topology: Topology, folder: LabFolder, site: str, within: float = 60.0) -> None:
    deadline = asyncio.get_running_loop().time() + within
    while True:
        try:
            async with admin(topology, folder, site) as api:
                await api.get("/v1/sites")
                return
        except CommandFailed as error:
            if asyncio.get_running_loop().time() > deadline:
                raise Retryable(f"the API of {site} does not answer: {error}; see {folder.logs}") from error
        await asyncio.sleep(0.2)


async def declare(topology: Topology, folder: LabFolder) -> None:
    """Sites, hosts and the images that there are, in one apply."""
    objects = render_documents(topology) + await asyncio.to_thread(image_documents)
    documents = [{"file": "lab", "index": i, "object": document} for i, document in enumerate(objects)]
    try:
        async with admin(topology, folder) as api:
            await api.post("/v1/apply", {"dryRun": False, "documents": documents}, repeatable=True)
    except CommandFailed as error:
        raise Permanent(f"the region refused the lab's sites and hosts: {error}") from error


async def hosts_without_lease(topology: Topology, folder: LabFolder) -> tuple[str, ...]:
    """Hosts that the region does not count as alive. Raises CommandFailed when no API answers."""
    async with admin(topology, folder) as api:
        status = await api.get("/v1/status")
    leases = [lease for site in status["sites"] for lease in site["leases"]]
    alive = {lease["host"] for lease in leases if lease["alive"]}
    return tuple(host.name for host in topology.hosts() if host.name not in alive)


def write_local_facts(folder: LabFolder, host: Node) -> None:
    """/etc/gemel/local.yaml, and libvirt's files."""
    root = folder.host(host.name)
    facts = {
        "imageDir": str(IMAGES),
        "ceph": {
            "conf": str(_CEPH / "ceph.conf"),
            "hostKeyring": str(_CEPH / "client.gemel-host.keyring"),
            "stewardKeyring": str(_CEPH / "client.gemel-steward.keyring"),
        },
        "libvirt": {"domainType": "qemu"},
    }
    write_private(root / "etc/gemel/local.yaml", render_yaml(facts).encode())
    if host.address is None:
        raise ValueError(f"host {host.name} has no address")
    settings = LibvirtSettings(
        host_uuid=str(uuid.uuid5(_UUIDS, host.name)),
        address=host.address,
        allowed_names=("*CN=agent*",),
        confined=False,
    )
    for name, text in render_files(settings).items():
        (root / "etc/libvirt" / name).write_text(text)
    for name, target in render_pki_links().items():
        _link(root / str(PKI_DIR / name).lstrip("/"), target)
    for name, target in _DEFAULT_PKI.items():
        _link(root / "etc/pki" / name, target)


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def write_ceph_client(folder: LabFolder, host: Node, plan: CephPlan) -> None:
    """The site's ceph.conf and the host's two keys, under the path by which the host sees them."""
    target = folder.host(host.name) / str(_CEPH).lstrip("/")
    install_client(plan, target)
    (target / "ceph.conf").write_text(render_client_conf(plan, _CEPH))


async def join(topology: Topology, folder: LabFolder, spawner: Spawner, host: Node) -> None:
    """Invite by the site's own API, then `gemel host join` on the host. Nothing to do when it has joined."""
    root = folder.host(host.name)
    if (root / "etc/gemel/agent.yaml").exists():
        return
    program = str(Path(sys.executable).parent / "gemel")
    said = ""
    for _ in range(_JOIN_TRIES):
        try:
            async with admin(topology, folder, host.site) as api:
                invitation = await api.post(f"/v1/hosts/{host.name}/invite")
        except CommandFailed as error:  # hosts that join at once disturb each other's audit trail
            said = str(error)
            await asyncio.sleep(0.3)
            continue
        write_private(root / "run/gemel/join.json", json.dumps(invitation).encode())
        done = await spawner.execute(host.name, [program, "host", "join", "/run/gemel/join.json"], timeout=60)
        if done.returncode == 0:
            (root / "run/gemel/join.json").unlink()
            return
        said = done.stderr.strip()
        await asyncio.sleep(0.3)
    raise Permanent(f"{host.name} could not join: {said[-500:]}")
