"""``gemel agent``: wires this host's engines to the wings."""

import asyncio
import uuid
from pathlib import Path

import structlog

from gemel.agent import config as configuration
from gemel.agent import console
from gemel.agent.config import AgentConfig, CephConfig
from gemel.agent.host import Engines, HostAgent
from gemel.agent.journal import Journal
from gemel.agent.watchdog import LEASE_FILE, boot_identity
from gemel.agent.world import HostWorld, Records
from gemel.compute.ports import CephAccess
from gemel.continuity.lease import HostLeaseKeeper, Identity, LeaseFile
from gemel.core import layout, logs, process
from gemel.core.clock import SystemClock
from gemel.core.election import Election, Leadership, Terms
from gemel.core.events import Recorder
from gemel.core.identity import HostName, SiteName
from gemel.core.outcome import GemelError
from gemel.core.view import View
from gemel.engines.ceph.engine import RbdFence, RbdImages
from gemel.engines.ceph.keyring import parse_key
from gemel.engines.ceph.render import Access
from gemel.engines.courier.engine import Certificates, Courier
from gemel.engines.iproute.engine import KernelRoutes
from gemel.engines.libvirt.engine import LibvirtHypervisor
from gemel.engines.libvirt.executioner import PidExecutioner
from gemel.engines.libvirt.render import CONSOLE_DIR, Accelerator, HostDevices
from gemel.network.local import RouteKeeper
from gemel.storage import scene
from gemel.storage.local import Freezer
from gemel.storage.steward import Steward, Tools
from gemel.store.etcd import EtcdStore

log = structlog.get_logger("gemel.agent")

STEWARD_TERMS = Terms(ttl=6.0, margin=1.5, renew_every=1.0, look_every=3.0)
_SECRETS = uuid.UUID("0b7a5b0e-3f64-5d1c-8d57-67656d656c02")
SECRET_EVERY = 20.0


def main(path: Path) -> int:
    config = configuration.load(path)
    logs.configure("agent", host=config.host, site=config.site)
    return process.run(serve(config))


def ceph_access(config: AgentConfig) -> CephAccess | None:
    if config.ceph is None:
        return None
    secret = str(uuid.uuid5(_SECRETS, f"{config.site}/{config.ceph.host_user}"))
    return CephAccess(conf=config.ceph.conf, user=config.ceph.host_user, secret_uuid=secret)


def make_hypervisor(config: AgentConfig) -> LibvirtHypervisor:
    devices = HostDevices(accelerator=Accelerator(config.libvirt.domain_type))
    return LibvirtHypervisor(config.libvirt.uri, devices)


async def serve(config: AgentConfig) -> None:
    clock = SystemClock()
    access = config.store
    store = await EtcdStore.connect(access.endpoints, access.ca, access.certificate, access.key)
    hypervisor = make_hypervisor(config)
    routes = RouteKeeper(KernelRoutes())
    ceph = ceph_access(config)
    try:
        async with View(store, scene.PREFIXES, clock) as view:
            agent = make_agent(config, store, view, clock, hypervisor, routes, ceph)
            await process.together(
                [
                    agent.keeper.run(),
                    agent.run(),
                    console.serve(config, agent, CONSOLE_DIR),
                    *([keep_secret(hypervisor, config.ceph, ceph)] if config.ceph and ceph else []),
                    *([serve_storage(config, config.ceph, store, view, hypervisor, agent)] if config.ceph else []),
                ]
            )
    finally:
        await hypervisor.close()
        await store.close()


def make_agent(
    config: AgentConfig,
    store: EtcdStore,
    view: View,
    clock: SystemClock,
    hypervisor: LibvirtHypervisor,
    routes: RouteKeeper,
    ceph: CephAccess | None,
) -> HostAgent:
    host, site = HostName(config.host), SiteName(config.site)
    fence = RbdFence(Access(config.ceph.conf, config.ceph.host_user)) if config.ceph else None

    def world(keeper: HostLeaseKeeper, records: Records) -> HostWorld:
        return HostWorld(
            host=host,
            site=site,
            records=records,
            keeper=keeper,
            clock=clock,
            images=config.image_dir,
            ceph=ceph,
            fence=fence,
            routes=routes,
        )

    return HostAgent(
        store=store,
        view=view,
        clock=clock,
        recorder=Recorder(store, f"agent {config.host}", clock),
        terms=config.lease.terms(),
        identity=Identity(host, site, config.address, boot_identity()),
        file=LeaseFile(LEASE_FILE),
        journal=Journal(config.state_dir, config.host, clock),
        engines=Engines(hypervisor, PidExecutioner(), routes),
        world=world,
    )


async def keep_secret(hypervisor: LibvirtHypervisor, config: CephConfig, ceph: CephAccess) -> None:
    """libvirt keeps Ceph's key in memory only, so it is given again: also after libvirt has restarted."""
    while True:
        pause = SECRET_EVERY
        try:
            key = parse_key(config.host_keyring.read_text(), config.host_user)
            await hypervisor.ensure_secret(ceph.secret_uuid, ceph.user, key)
        except (GemelError, OSError) as error:
            log.warning("libvirt has no key for Ceph yet", error=str(error))
            pause = 1.0
        await asyncio.sleep(pause)


async def serve_storage(
    config: AgentConfig,
    ceph: CephConfig,
    store: EtcdStore,
    view: View,
    hypervisor: LibvirtHypervisor,
    agent: HostAgent,
) -> None:
    """Every host freezes its own guests; one of the site's hosts, elected, is its steward."""
    clock = SystemClock()
    freezer = Freezer(HostName(config.host), hypervisor, view, store, clock)
    if ceph.steward_keyring is None:
        await freezer.run()
        return
    access = Access(ceph.conf, ceph.steward_user, ("nice", "-n", "5"))
    election = Election(store, layout.steward(config.site), config.host, clock, STEWARD_TERMS)
    certificates = Certificates(config.store.ca, config.store.certificate, config.store.key)
    spool = config.state_dir / "spool"
    async with Courier(str(config.address), certificates, spool, config.transfer_port) as courier:
        tools = Tools(store, view, RbdImages(access), RbdFence(access), courier, clock, config.image_dir)
        steward = Steward(SiteName(config.site), HostName(config.host), tools)

        def authority() -> bool:
            """Both the lease and the election: a host that must run nothing must not write volumes either."""
            return election.leading and agent.keeper.holder is not None

        async def work(term: Leadership) -> None:
            await steward.run(term, authority)

        await process.together([freezer.run(), election.lead(work)])
