"""Random schedules of faults, each from its seed. At every moment the invariants hold. After the last fault
heals every application runs, whole, at one site, without a person.

Replay one: GEMEL_SEEDS=17:18 pytest tests/simulation/test_schedules.py
"""

import os
from pathlib import Path

import pytest

from tests.simulation.guards import TIGHT
from tests.simulation.region import SimulatedRegion
from tests.simulation.schedule import Schedule
from tests.simulation.virtual import run

FIRST, LAST = (int(part) for part in os.environ.get("GEMEL_SEEDS", "0:60").split(":"))


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_schedule(tmp_path: Path, seed: int) -> None:
    async def main() -> None:
        region = SimulatedRegion(tmp_path)
        region.terms = TIGHT if seed % 2 else region.terms
        schedule = Schedule(region, seed)
        await region.start()
        await region.application("bank", "par1", 3, 10)
        await region.application("shop", "gra1", 2, 20)
        await region.clock.sleep(schedule.draw.choice([1.0, 20.0]))
        try:
            await schedule.play(schedule.draw.randint(4, 16))
            await schedule.heal()
            await region.eventually(lambda: whole(region), 120)
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
    sites = {(guest[:4], hosts[0][:4]) for guest, hosts in running.items()}
    return len(sites) == 2
