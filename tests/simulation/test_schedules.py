"""Random schedules of faults, each from its seed. After each event: nothing runs twice. After the last fault
heals: every application runs, whole, at one site, without a person.

Replay one: GEMEL_SEEDS=17:18 pytest tests/simulation/test_schedules.py
"""

import os
import random
from pathlib import Path

import pytest

from gemel.compute.requests import MigrateRequest
from gemel.core import layout
from gemel.core.identity import GuestName
from gemel.core.store import Put
from tests.fakes.hypervisor import MigrationFault
from tests.simulation.region import SimulatedHost, SimulatedRegion
from tests.simulation.virtual import run

FIRST, LAST = (int(part) for part in os.environ.get("GEMEL_SEEDS", "0:60").split(":"))


class Schedule:
    """Draws faults and carries them out; ``heal`` undoes them all."""

    def __init__(self, region: SimulatedRegion, seed: int) -> None:
        self.region = region
        self.draw = random.Random(seed)
        self.off: set[str] = set()
        self.dead: set[str] = set()
        self.log: list[str] = []

    def host(self) -> SimulatedHost:
        return self.region.hosts[self.draw.choice(sorted(self.region.hosts))]

    async def step(self) -> None:
        verb = self.draw.choice(
            ["cut site", "cut host", "cut controller", "heal", "power", "agent", "lost answer", "hung", "migrate", "slow"]
        )
        host = self.host()
        self.log.append(f"{self.region.clock.monotonic():.1f} {verb} {host.name}")
        match verb:
            case "cut site":
                self.region.cut(*(name for name in self.region.hosts if name[:4] == host.site), str(host.site))
            case "cut host":
                self.region.cut(host.name)
            case "cut controller":
                self.region.cut(self.draw.choice(["par1", "gra1", "wit"]))
            case "heal":
                self.region.heal()
            case "power":
                self._power(host)
            case "agent":
                self._agent(host)
            case "lost answer":
                host.store.link.lose_answers = self.draw.randint(1, 3)
                self.region.controllers[self.draw.choice(["par1", "gra1", "wit"])].link.lose_answers = 1
            case "hung":
                host.hypervisor.faults.hung = not host.hypervisor.faults.hung
            case "slow":
                host.hypervisor.faults.start_delay = self.draw.choice([0.3, 3.0, 8.0])
                host.hypervisor.faults.migration = self.draw.choice(list(MigrationFault))
            case "migrate":
                guest = self.draw.choice(["bank-0", "bank-1", "shop-0"])
                wish = MigrateRequest(guest=GuestName(guest), requested_by="schedule")
                await self.region.admin.commit([], [Put(layout.request("migrate", guest), wish.to_json())])
        await self.region.clock.sleep(self.draw.choice([0.1, 0.7, 2.0, 6.0, 15.0]))

    def _power(self, host: SimulatedHost) -> None:
        if host.name in self.off:
            host.power_on()
            self.off.discard(host.name)
        else:
            host.power_off()
            self.off.add(host.name)
            self.dead.discard(host.name)

    def _agent(self, host: SimulatedHost) -> None:
        if host.name in self.off:
            return
        if host.name in self.dead:
            host.start()
            self.dead.discard(host.name)
        else:
            host.kill_agent()
            self.dead.add(host.name)

    def heal(self) -> None:
        self.region.heal()
        for name, host in self.region.hosts.items():
            host.store.link.lose_answers = 0
            if name in self.off:
                host.power_on()
            elif name in self.dead:
                host.start()
            host.hypervisor.power_on()
        self.off.clear()
        self.dead.clear()


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_schedule(tmp_path: Path, seed: int) -> None:
    async def main() -> None:
        region = SimulatedRegion(tmp_path)
        schedule = Schedule(region, seed)
        await region.start()
        await region.application("bank", "par1", 3, 10)
        await region.application("shop", "gra1", 2, 20)
        await region.clock.sleep(schedule.draw.choice([1.0, 20.0]))
        for _ in range(schedule.draw.randint(4, 14)):
            await schedule.step()
            region.check()
        schedule.heal()
        try:
            await region.eventually(lambda: whole(region), 90)
            await region.clock.sleep(20)
            assert whole(region), region.running()
            region.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n" + "\n".join(schedule.log)) from error

    run(main())


def whole(region: SimulatedRegion) -> bool:
    """Every guest executes once, and each application's at one site."""
    running = region.running()
    if len(running) != 5 or any(len(hosts) != 1 for hosts in running.values()):
        return False
    return all(len({hosts[0][:4] for guest, hosts in running.items() if guest[:4] == app}) == 1 for app in ("bank", "shop"))
