"""``gemel agent``: wires this host's engines to the wings."""

import uuid
from pathlib import Path

from gemel.agent import config as configuration
from gemel.agent.config import AgentConfig
from gemel.agent.host import Engines, HostAgent
from gemel.agent.journal import Journal
from gemel.agent.watchdog import LEASE_FILE, boot_identity
from gemel.agent.world import HostWorld, Records
from gemel.compute.ports import CephAccess
from gemel.continuity.lease import HostLeaseKeeper, Identity, LeaseFile
from gemel.core import layout, logs, process
from gemel.core.clock import SystemClock
from gemel.core.events import Recorder
from gemel.core.identity import HostName, SiteName
from gemel.core.view import View
from gemel.engines.ceph.engine import RbdFence
from gemel.engines.ceph.render import Access
from gemel.engines.iproute.engine import KernelRoutes
from gemel.engines.libvirt.engine import LibvirtHypervisor
from gemel.engines.libvirt.executioner import PidExecutioner
from gemel.network.local import RouteKeeper
from gemel.store.etcd import EtcdStore

WATCHED = (
    layout.RESOURCES,
    layout.LEASES,
    layout.TICKETS,
    layout.ASSIGNMENTS,
    layout.REPORTS,
    layout.VOLUMES,
    layout.CUTS,
    layout.FROZEN,
    layout.REPLICAS,
    layout.QUARANTINE,
)
_SECRETS = uuid.UUID("0b7a5b0e-3f64-5d1c-8d57-67656d656c02")


def main(path: Path) -> int:
    config = configuration.load(path)
    logs.configure("agent", host=config.host, site=config.site)
    return process.run(serve(config))


def ceph_access(config: AgentConfig) -> CephAccess | None:
    if config.ceph is None:
        return None
    secret = str(uuid.uuid5(_SECRETS, f"{config.site}/{config.ceph.host_user}"))
    return CephAccess(conf=config.ceph.conf, user=config.ceph.host_user, secret_uuid=secret)
