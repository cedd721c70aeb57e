"""A whole region under virtual time: production leader, agents and leases; store and engines in memory."""

import asyncio
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from gemel.agent.host import Engines, HostAgent
from gemel.agent.journal import Journal
from gemel.agent.world import HostWorld, Records
from gemel.compute.guest import tap_name
from gemel.compute.kinds import GuestState, HostSpec, VirtualMachineSpec
from gemel.continuity.authority import LeaseTerms
from gemel.continuity.kinds import ApplicationSpec, ProtectionPolicySpec, Ticket
from gemel.continuity.lease import Identity, LeaseFile, Life
from gemel.control.leader import Leader
from gemel.control.main import ControllerConfig
from gemel.core import layout
from gemel.core.election import Election, Leadership, Terms
from gemel.core.events import Recorder
from gemel.core.identity import HostName, SiteName
from gemel.core.outcome import Present, Unknown
from gemel.core.resource import Metadata, Model, Resource
from gemel.core.store import Delete, Put
from gemel.core.view import View
from gemel.network.local import RouteKeeper
from gemel.network.ports import Announcement, HostRoute
from gemel.store.memory import MemoryStore, Region
from tests.fakes.hypervisor import Fabric
from tests.simulation.invariants import Invariants
from tests.simulation.outside import Daemon, DistantStore
from tests.simulation.pausing import Gate, spawn
from tests.simulation.virtual import VirtualClock

PREFIX = "198.19.1."
SETTLE: float = ControllerConfig.model_fields["settle"].default


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

    def lose_taps(self, taps: set[str]) -> None:
        """The kernel removes the routes of an interface with it."""
        self.routes = {route for route in self.routes if route.tap not in taps}


class QuickLeaseFile(LeaseFile):
    """The lease file without a disk: it is written twice a second for each host, and read ten times."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self._life: Life | None = None

    def write(self, life: Life) -> None:
        self._life = life

    def read(self) -> Life | None:
        return self._life

    def remove(self) -> None:
        self._life = None


class SimulatedHost:
    """One host: its agent's tasks can be killed or hung, its power cut, its link to the store taken away."""

    def __init__(self, region: "SimulatedRegion", site: str, name: str, folder: Path, rate: float) -> None:
        self.region, self.site, self.name = region, SiteName(site), HostName(name)
        self.clock = VirtualClock(rate=rate)
        self.store = DistantStore(name, region.state)
        self.hypervisor = Daemon(name, region.clock, region.fabric)
        self.gate = Gate()
        self.routes = FakeRoutes()
        self.folder = folder / name
        self.folder.mkdir()
        self.boot = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.watchdog: asyncio.Task[None] | None = None
        self.file = QuickLeaseFile()

    def start(self) -> None:
        """Boot, or start the agent again."""
        clock = self.clock
        self.gate = Gate()
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
        self.tasks = [spawn(self.gate, work) for work in (view.run(), agent.keeper.run(), agent.run())]
        self.start_watchdog()

    def start_watchdog(self) -> None:
        if self.watchdog is None:
            self.watchdog = asyncio.create_task(self._watch())

    def stop_watchdog(self) -> None:
        if self.watchdog is not None:
            self.watchdog.cancel()
            self.watchdog = None

    async def _watch(self) -> None:
        """The watchdog's rule on virtual time."""
        while True:
            life = self.file.read()
            if life is None or life.boot != f"boot-{self.boot}" or self.clock.monotonic() >= life.watchdog_deadline:
                self.hypervisor.kill_all()
                self.routes.withdraw_all()
            await self.clock.sleep(0.1)

    def announced(self) -> list[IPv4Address]:
        taps, self.hypervisor.taps = self.hypervisor.taps, set()
        here = {tap_name(name) for name in self.hypervisor.domains}
        self.routes.lose_taps(taps - here)
        return [route.address for route in self.routes.routes]

    def kill_agent(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.tasks = []

    def power_off(self) -> None:
        self.kill_agent()
        self.stop_watchdog()
        self.hypervisor.power_off()
        self.routes.routes.clear()

    def power_on(self) -> None:
        self.boot += 1
        self.hypervisor.power_on()
        self.file.remove()
        self.start()


class SimulatedRegion:
    def __init__(self, folder: Path, hosts: int = 3, settle: float = SETTLE) -> None:
        self.clock = VirtualClock()
        self.state = Region(self.clock)
        self.terms = LeaseTerms()
        self.settle = settle
        self.fabric = Fabric()
        self.admin = MemoryStore(self.clock, self.state)
        self.invariants = Invariants(self.state.state, self.fabric, self.clock.monotonic)
        slow = self.terms.drift * 0.9  # a host's clock that loses: it believes that it has more time
        self.hosts = {
            f"{site}-{number}": SimulatedHost(self, site, f"{site}-{number}", folder, 1 - slow * (number % 2))
            for site in ("par1", "gra1")
            for number in range(1, hosts + 1)
        }
        self.controllers: dict[str, DistantStore] = {}
        self.gates: dict[str, Gate] = {}
        self.specs: dict[str, HostSpec] = {}
        self.machines: dict[str, tuple[VirtualMachineSpec, str]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def declare(self, kind: str, name: str, spec: Model, **labels: str) -> None:
        resource = Resource(api_version="gemel/v1", kind=kind, metadata=Metadata(name=name, labels=labels), spec=spec)
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
            self.specs[name] = spec
            await self.declare("Host", name, spec)
            host.start()
        for identity in ("par1", "gra1", "wit"):
            self.controllers[identity] = DistantStore(identity, self.state)
            self.gates[identity] = Gate()
            self.tasks.append(spawn(self.gates[identity], self._controller(identity)))

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
            self.machines[f"{name}-{number}"] = (machine, name)
            await self.set_running(f"{name}-{number}", True)
        app = ApplicationSpec.model_validate(
            {
                "selector": {"matchLabels": {"app": name}},
                "preferredSite": site,
                "protection": "gold",
                "tiers": [{"name": "all", "selector": {"matchLabels": {"app": name}}}],
            }
        )
        await self.declare("Application", name, app)

    async def set_running(self, guest: str, running: bool) -> None:
        machine, app = self.machines[guest]
        await self.declare("VirtualMachine", guest, machine.model_copy(update={"running": running}), app=app)

    async def set_schedulable(self, host: str, schedulable: bool) -> None:
        await self.declare("Host", host, self.specs[host].model_copy(update={"schedulable": schedulable}))

    async def undeclare(self, host: str) -> None:
        """Someone's hand removes the record of a host that lives."""
        await self.admin.commit([], [Delete(layout.resource("Host", host))])

    async def wish(self, verb: str, name: str, wish: Model) -> None:
        await self.admin.commit([], [Put(layout.request(verb, name), wish.to_json())])

    def cut(self, *names: str) -> None:
        """No store member is reachable from these hosts (and from the controllers so named)."""
        for name in names:
            store = self.hosts[name].store if name in self.hosts else self.controllers[name]
            store.link.up = False

    def heal(self) -> None:
        for store in (*(host.store for host in self.hosts.values()), *self.controllers.values()):
            store.link.up, store.deaf, store.late, store.link.lose_answers = True, False, 0.0, 0

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
        self.invariants.check({host.name: host.announced() for host in self.hosts.values()})


__all__ = ["GuestState", "SimulatedRegion"]
