"""A whole region under virtual time: production leader, agents and leases; store and engines in memory."""

import asyncio
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from gemel.agent.host import Engines, HostAgent
from gemel.agent.journal import Journal
from gemel.agent.world import HostWorld, Records
from gemel.compute.kinds import GuestState, HostSpec, VirtualMachineSpec
from gemel.continuity.authority import LeaseTerms
from gemel.continuity.kinds import ApplicationSpec, ProtectionPolicySpec, Ticket
from gemel.continuity.lease import Identity, LeaseFile
from gemel.control.leader import Leader
from gemel.core import layout
from gemel.core.election import Election, Leadership, Terms
from gemel.core.events import Recorder
from gemel.core.identity import HostName, SiteName
from gemel.core.outcome import Present, Unknown
from gemel.core.resource import Metadata, Model, Resource
from gemel.core.store import Put
from gemel.core.view import View
from gemel.network.local import RouteKeeper
from gemel.network.ports import Announcement, HostRoute
from gemel.store.memory import MemoryStore, Region
from tests.fakes.hypervisor import Fabric, FakeHypervisor
from tests.simulation.virtual import VirtualClock

PREFIX = "198.19.1."


class FakeRoutes:
    """``network.ports.Routes`` in memory."""

    def __init__(self) -> None:
        self.routes: set[HostRoute] = set()

    async def observe(self) -> Present[frozenset[HostRoute]] | Unknown:
        return Present(frozenset(self.routes))

    async def ensure_host(self, prefixes: Iterable[IPv4Network]) -> None:
        pass

    async def ensure_gateway(self, tap: str) -> None:
        pass

    async def ensure_announced(self, announcement: Announcement) -> None:
        self.routes.add(announcement.route)

    async def ensure_withdrawn(self, address: IPv4Address) -> None:
        self.routes = {route for route in self.routes if route.address != address}

    def withdraw_all(self) -> tuple[IPv4Address, ...]:
        gone = tuple(route.address for route in self.routes)
        self.routes.clear()
        return gone


class SimulatedHost:
    """One host: its agent's tasks can be killed or hung, its power cut, its link to the store taken away."""

    def __init__(self, region: "SimulatedRegion", site: str, name: str, folder: Path) -> None:
        self.region, self.site, self.name = region, SiteName(site), HostName(name)
        self.store = MemoryStore(region.clock, region.state)
        self.store.link.patience = 1.0
        self.hypervisor = FakeHypervisor(name, region.clock, region.fabric)
        self.routes = FakeRoutes()
        self.folder = folder / name
        self.folder.mkdir()
        self.boot = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.watchdog: asyncio.Task[None] | None = None
        self.file = LeaseFile(self.folder / "lease.json")

    def start(self) -> None:
        """Boot, or start the agent again."""
        clock = self.region.clock
        view = View(self.store, (layout.ROOT,), clock)
        keeper_routes = RouteKeeper(self.routes)

        def world(keeper: object, records: Records) -> HostWorld:
            return HostWorld(
                host=self.name,
                site=self.site,
                records=records,
                keeper=keeper,  # type: ignore[arg-type]
                clock=clock,
                images=Path("/images"),
                ceph=None,
                fence=None,
                routes=keeper_routes,
            )

        agent = HostAgent(
            store=self.store,
            view=view,
            clock=clock,
            recorder=Recorder(self.store, f"agent {self.name}", clock),
            terms=self.region.terms,
            identity=Identity(self.name, self.site, IPv4Address("198.18.1.1"), f"boot-{self.boot}"),
            file=self.file,
            journal=Journal(self.folder, self.name, clock),
            engines=Engines(self.hypervisor, self.hypervisor, keeper_routes),
            world=world,
        )
        self.tasks = [asyncio.create_task(work) for work in (view.run(), agent.keeper.run(), agent.run())]
        if self.watchdog is None:
            self.watchdog = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """The watchdog's rule on virtual time."""
        while True:
            life = self.file.read()
            if life is None or life.boot != f"boot-{self.boot}" or self.region.clock.monotonic() >= life.watchdog_deadline:
                self.hypervisor.kill_all()
                self.routes.withdraw_all()
            await self.region.clock.sleep(0.1)

    def kill_agent(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.tasks = []

    def power_off(self) -> None:
        self.kill_agent()
        if self.watchdog is not None:
            self.watchdog.cancel()
            self.watchdog = None
        self.hypervisor.power_off()
        self.routes.routes.clear()

    def power_on(self) -> None:
        self.boot += 1
        self.hypervisor.power_on()
        self.file.remove()
        self.start()


class SimulatedRegion:
    def __init__(self, folder: Path, hosts: int = 3, settle: float = 2.0) -> None:
        self.clock = VirtualClock()
        self.state = Region(self.clock)
        self.terms = LeaseTerms()
        self.settle = settle
        self.fabric = Fabric()
        self.admin = MemoryStore(self.clock, self.state)
        self.hosts = {
            f"{site}-{number}": SimulatedHost(self, site, f"{site}-{number}", folder)
            for site in ("par1", "gra1")
            for number in range(1, hosts + 1)
        }
        self.controllers: dict[str, MemoryStore] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def declare(self, kind: str, name: str, spec: Model, **labels: str) -> None:
        resource = Resource(
            api_version="gemel/v1", kind=kind, metadata=Metadata(name=name, labels=labels), spec=spec
        )
        await self.admin.commit([], [Put(layout.resource(kind, name), resource.to_json())])

    async def start(self) -> None:
        from gemel.compute.kinds import ImageSpec, SiteSpec

        for site in ("par1", "gra1"):
            await self.declare("Site", site, SiteSpec())
        await self.declare("Image", "tiny", ImageSpec(os="tiny", kernel="k", initrd="i"))
        await self.declare("ProtectionPolicy", "gold", ProtectionPolicySpec.model_validate({"recoveryPoint": "20s"}))
        for number, (name, host) in enumerate(self.hosts.items()):
            spec = HostSpec.model_validate(
                {"site": host.site, "cpu": 8, "memory": "8Gi", "address": f"198.18.1.{number + 1}"}
            )
            await self.declare("Host", name, spec)
            host.start()
        for identity in ("par1", "gra1", "wit"):
            self.controllers[identity] = MemoryStore(self.clock, self.state)
            self.controllers[identity].link.patience = 1.0
            self.tasks.append(asyncio.create_task(self._controller(identity)))

    async def _controller(self, identity: str) -> None:
        store = self.controllers[identity]
        terms = Terms(ttl=6.0, margin=1.5, renew_every=1.0, look_every=1.0)
        election = Election(store, layout.CONTROLLERS, identity, self.clock, terms)
        recorder = Recorder(store, f"controller {identity}", self.clock)
        async with View(store, (layout.ROOT,), self.clock) as view:

            async def work(_: Leadership) -> None:
                await Leader(store, view, self.clock, recorder, lambda: election.leadership, self.settle).run()

            await election.lead(work)

    async def application(self, name: str, site: str, guests: int, first: int) -> None:
        """A protected application of diskless guests."""
        for number in range(guests):
            machine = VirtualMachineSpec.model_validate(
                {"memory": "256Mi", "boot": {"image": "tiny"}, "addresses": [f"{PREFIX}{first + number}"]}
            )
            await self.declare("VirtualMachine", f"{name}-{number}", machine, app=name)
        app = ApplicationSpec.model_validate(
            {"selector": {"matchLabels": {"app": name}}, "preferredSite": site, "protection": "gold",
             "tiers": [{"name": "all", "selector": {"matchLabels": {"app": name}}}]}
        )
        await self.declare("Application", name, app)

    def cut(self, *names: str) -> None:
        """No store member is reachable from these hosts (and from the controllers so named)."""
        for name in names:
            store = self.hosts[name].store if name in self.hosts else self.controllers[name]
            store.link.up = False

    def heal(self) -> None:
        for store in (*(host.store for host in self.hosts.values()), *self.controllers.values()):
            store.link.up = True

    async def ticket(self, application: str) -> Ticket | None:
        found = await self.admin.get(layout.ticket(application))
        return Ticket.model_validate_json(found.value) if found else None

    def running(self) -> dict[str, list[str]]:
        """Guest to the hosts that execute it at this moment."""
        found: dict[str, list[str]] = {}
        for interval in self.fabric.history:
            if interval.end is None:
                found.setdefault(interval.guest, []).append(interval.host)
        return found

    async def eventually(self, predicate: object, within: float) -> None:
        deadline = self.clock.monotonic() + within
        while not predicate():  # type: ignore[operator]
            if self.clock.monotonic() > deadline:
                raise AssertionError(f"not within {within} s: running {self.running()}\n{await self.dump()}")
            await self.clock.sleep(0.1)

    async def dump(self) -> str:
        """What the store says, for the message of a failed test."""
        kept = (layout.TICKETS, layout.ASSIGNMENTS, layout.REPORTS, layout.LEASES, layout.ELECTIONS)
        items = (await self.admin.list(layout.ROOT)).items
        return "\n".join(f"{item.key} {item.value.decode()}" for item in items if item.key.startswith(kept))

    def check(self) -> None:
        """Invariants over the whole history."""
        assert not self.fabric.double_runs(), self.fabric.double_runs()
        claims: dict[IPv4Address, str] = {}
        for host in self.hosts.values():
            for route in host.routes.routes:
                assert route.address not in claims, f"{route.address} at {host.name} and {claims[route.address]}"
                claims[route.address] = host.name


__all__ = ["GuestState", "SimulatedRegion"]
