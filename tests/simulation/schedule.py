"""A random schedule of faults and wishes, drawn from a seed; ``heal`` undoes every fault.

At most one line of defence of a host is taken at a time: while its watchdog is dead its agent is left alone,
because a host that has lost both is what a hardware watchdog is for, and there is none here.
"""

import random
from collections.abc import Awaitable, Callable, Sequence

from gemel.compute.requests import MigrateRequest
from gemel.continuity.guards import MOVE
from gemel.continuity.kinds import MoveRequest
from gemel.core import layout
from gemel.core.identity import GuestName, SiteName
from gemel.core.store import Write
from tests.fakes.hypervisor import MigrationFault
from tests.simulation.region import SimulatedHost, SimulatedRegion

CONTROLLERS = ("par1", "gra1", "wit")
PAUSES = (0.1, 0.7, 2.0, 6.0, 6.9, 8.5, 15.0)
"""Seconds between two events. Around 7: between an agent's deadline and its watchdog's."""


class Schedule:
    def __init__(
        self,
        region: SimulatedRegion,
        seed: int,
        only: Sequence[str] = (),
        hosts: Sequence[str] = (),
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """``only`` these verbs (one that is named twice is drawn twice as often), on these ``hosts``."""
        self.region = region
        self.draw = random.Random(seed)
        self.log: list[str] = []
        self._pauses = pauses
        self._off: set[str] = set()
        self._dead: set[str] = set()
        self._undeclared: set[str] = set()
        every = [name.removeprefix("do_") for name in sorted(dir(self)) if name.startswith("do_")]
        self._verbs = tuple(only or every)
        self._hosts = tuple(hosts or sorted(region.hosts))

    async def play(self, steps: int) -> None:
        for _ in range(steps):
            name = self.draw.choice(self._verbs)
            host = self.region.hosts[self.draw.choice(self._hosts)]
            self.log.append(f"{self.region.clock.monotonic():.1f} {name} {host.name}")
            verb: Callable[[SimulatedHost], Awaitable[None]] = getattr(self, f"do_{name}")
            await verb(host)
            await self.region.clock.sleep(self.draw.choice(self._pauses))
            self.region.check()

    async def heal(self) -> None:
        self.region.invariants.on_commit = lambda who, writes: None
        for gate in self.region.gates.values():
            gate.open()
        self.region.heal()
        for name, host in self.region.hosts.items():
            host.gate.open()
            host.start_watchdog()
            if name in self._off:
                host.power_on()
            elif name in self._dead:
                host.start()
            host.hypervisor.power_on()
            host.hypervisor.start_lag = host.hypervisor.kill_takes = 0.0
            await self.region.set_schedulable(name, True)
        for guest in self.region.machines:
            await self.region.set_running(guest, True)
        self._off.clear()
        self._dead.clear()
        self._undeclared.clear()

    # -- links ---------------------------------------------------------------------------------------------

    async def do_cut_site(self, host: SimulatedHost) -> None:
        self.region.cut(*(name for name in self.region.hosts if name[:4] == host.site), str(host.site))

    async def do_cut_host(self, host: SimulatedHost) -> None:
        self.region.cut(host.name)

    async def do_cut_controller(self, _: SimulatedHost) -> None:
        self.region.cut(self.draw.choice(CONTROLLERS))

    async def do_leaderless(self, _: SimulatedHost) -> None:
        """No controller reaches the store, or all do again; hosts are not touched."""
        up = any(store.link.up for store in self.region.controllers.values())
        for store in self.region.controllers.values():
            store.link.up = not up

    async def do_heal_links(self, _: SimulatedHost) -> None:
        self.region.heal()

    async def do_lose_answers(self, host: SimulatedHost) -> None:
        host.store.link.lose_answers = self.draw.randint(1, 3)
        self.region.controllers[self.draw.choice(CONTROLLERS)].link.lose_answers = 1

    async def do_deafen_host(self, host: SimulatedHost) -> None:
        host.store.deaf = True

    async def do_deafen_controller(self, _: SimulatedHost) -> None:
        self.region.controllers[self.draw.choice(CONTROLLERS)].deaf = True

    async def do_late_answers(self, host: SimulatedHost) -> None:
        host.store.late = self.draw.choice([0.3, 0.9, 1.9])

    async def do_late_leader(self, _: SimulatedHost) -> None:
        """A turn of the leader takes seconds, so that it can be stopped in the middle of one."""
        for store in self.region.controllers.values():
            store.late = self.draw.choice([0.3, 0.9])

    # -- hosts ---------------------------------------------------------------------------------------------

    async def do_power(self, host: SimulatedHost) -> None:
        if host.name in self._off:
            host.power_on()
            self._off.discard(host.name)
        else:
            host.power_off()
            self._off.add(host.name)
            self._dead.discard(host.name)

    async def do_agent(self, host: SimulatedHost) -> None:
        """Killed, or started again."""
        if host.name in self._off or host.watchdog is None:
            return
        if host.name in self._dead:
            host.start()
            self._dead.discard(host.name)
        else:
            host.kill_agent()
            self._dead.add(host.name)

    async def do_stop_agent(self, host: SimulatedHost) -> None:
        """SIGSTOP, or SIGCONT: guests and engines go on meanwhile."""
        if host.gate.closed:
            host.gate.open()
        elif host.watchdog is not None:
            host.gate.close()

    async def do_watchdog(self, host: SimulatedHost) -> None:
        """Killed, or started again."""
        if host.name in self._off or host.name in self._dead or host.gate.closed:
            return
        if host.watchdog is None:
            host.start_watchdog()
        else:
            host.stop_watchdog()

    async def do_hang_libvirt(self, host: SimulatedHost) -> None:
        if host.name not in self._off:
            host.hypervisor.faults.hung = not host.hypervisor.faults.hung

    async def do_slow_engine(self, host: SimulatedHost) -> None:
        host.hypervisor.start_lag = self.draw.choice([0.0, 3.0, 8.0])
        host.hypervisor.kill_takes = self.draw.choice([0.0, 0.5, 1.3])
        host.hypervisor.faults.start_delay = self.draw.choice([0.3, 3.0])
        host.hypervisor.faults.migration = self.draw.choice(list(MigrationFault))
        host.hypervisor.faults.migration_takes = self.draw.choice([0.4, 4.0])

    async def do_crash_guest(self, host: SimulatedHost) -> None:
        for guest in sorted(host.hypervisor.domains)[:1]:
            host.hypervisor.crash(guest)

    # -- the leader ----------------------------------------------------------------------------------------

    async def do_stop_controller(self, _: SimulatedHost) -> None:
        """SIGSTOP in the middle of whatever it does, and SIGCONT with its old plan in hand."""
        gate = self.region.gates[self.draw.choice(CONTROLLERS)]
        if gate.closed:
            gate.open()
        else:
            gate.close()

    async def do_stop_leader(self, _: SimulatedHost) -> None:
        """The same for whoever leads; whoever was stopped before goes on."""
        stopped = [gate for gate in self.region.gates.values() if gate.closed]
        for gate in stopped:
            gate.open()
        leads = await self.region.admin.get(layout.CONTROLLERS)
        if leads is not None and not stopped:
            self.region.gates[leads.value.decode()].close()

    async def do_stop_leader_midway(self, _: SimulatedHost) -> None:
        """Between two commits of one turn: what it plans to write next, it writes when it goes on."""

        def stop(who: str, writes: Sequence[Write]) -> None:
            if who in self.region.gates and any(write.key.startswith(layout.EVENTS) for write in writes):
                self.region.gates[who].close()
                self.region.invariants.on_commit = lambda who, writes: None

        for gate in self.region.gates.values():
            gate.open()
        self.region.invariants.on_commit = stop

    # -- wishes --------------------------------------------------------------------------------------------

    async def do_migrate(self, _: SimulatedHost) -> None:
        guest = GuestName(self.draw.choice(sorted(self.region.machines)))
        await self.region.wish("migrate", guest, MigrateRequest(guest=guest, requested_by="schedule"))

    async def do_move(self, _: SimulatedHost) -> None:
        app, to = self.draw.choice(["bank", "shop"]), SiteName(self.draw.choice(["par1", "gra1"]))
        await self.region.wish(MOVE, app, MoveRequest(application=app, to=to, requested_by="schedule"))

    async def do_stop_or_start(self, _: SimulatedHost) -> None:
        await self.region.set_running(self.draw.choice(sorted(self.region.machines)), self.draw.random() < 0.5)

    async def do_drain(self, host: SimulatedHost) -> None:
        if host.name not in self._undeclared:
            await self.region.set_schedulable(host.name, self.draw.random() < 0.5)

    async def do_undeclare(self, host: SimulatedHost) -> None:
        if host.name in self._undeclared:
            await self.region.set_schedulable(host.name, True)
            self._undeclared.discard(host.name)
        else:
            await self.region.undeclare(host.name)
            self._undeclared.add(host.name)
