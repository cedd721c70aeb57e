"""The main job under virtual time: place, lose a host, lose a site, come back; nothing ever runs twice."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gemel.compute.requests import MigrateRequest
from gemel.core import layout
from gemel.core.identity import GuestName
from gemel.core.store import Put
from tests.simulation.region import SimulatedRegion
from tests.simulation.virtual import run

Scenario = Callable[[SimulatedRegion], Awaitable[None]]


def simulate(folder: Path, scenario: Scenario) -> SimulatedRegion:
    async def main() -> SimulatedRegion:
        region = SimulatedRegion(folder)
        await region.start()
        await region.application("bank", "par1", 3, 10)
        await region.application("shop", "gra1", 2, 20)
        await region.eventually(lambda: len(region.running()) == 5, 30)
        await scenario(region)
        region.check()
        return region

    return run(main())


def sites(region: SimulatedRegion, application: str) -> set[str]:
    return {host[:4] for guest, hosts in region.running().items() for host in hosts if guest.startswith(application)}


def test_guests_are_spread_at_the_preferred_sites(tmp_path: Path) -> None:
    async def scenario(region: SimulatedRegion) -> None:
        assert sites(region, "bank") == {"par1"}
        assert sites(region, "shop") == {"gra1"}
        assert len({hosts[0] for guest, hosts in region.running().items() if guest.startswith("bank")}) == 3

    simulate(tmp_path, scenario)


def test_a_lost_host_s_guests_restart_beside_it(tmp_path: Path) -> None:
    async def scenario(region: SimulatedRegion) -> None:
        lost = region.running()["bank-0"][0]
        region.hosts[lost].power_off()
        await region.eventually(lambda: len(region.running()) == 5 and lost not in _hosts(region), 25)
        assert sites(region, "bank") == {"par1"}
        ticket = await region.ticket("bank")
        assert ticket is not None
        assert ticket.epoch == 1
        region.hosts[lost].power_on()
        await region.clock.sleep(15)
        assert len(region.running()) == 5

    simulate(tmp_path, scenario)


def test_a_lost_site_s_applications_restart_at_the_other(tmp_path: Path) -> None:
    async def scenario(region: SimulatedRegion) -> None:
        region.cut("par1-1", "par1-2", "par1-3", "par1")
        await region.eventually(lambda: sites(region, "bank") == {"gra1"} and len(region.running()) == 5, 40)
        ticket = await region.ticket("bank")
        assert ticket is not None
        assert (ticket.site, ticket.epoch) == ("gra1", 2)
        region.heal()
        await region.clock.sleep(30)
        assert sites(region, "bank") == {"gra1"}
        held = (await region.admin.list(layout.QUARANTINE)).items
        assert {layout.leaf(item.key) for item in held} == {"guest.bank-0", "guest.bank-1", "guest.bank-2"}

    simulate(tmp_path, scenario)


@pytest.mark.parametrize("seconds", [1, 3, 5])
def test_a_short_cut_changes_nothing(tmp_path: Path, seconds: int) -> None:
    async def scenario(region: SimulatedRegion) -> None:
        before = region.running()
        region.cut("par1-1", "par1-2", "par1-3", "par1")
        await region.clock.sleep(seconds)
        region.heal()
        await region.clock.sleep(30)
        assert region.running() == before

    simulate(tmp_path, scenario)


def test_a_hung_agent_s_guests_are_killed_by_the_watchdog_before_they_start_elsewhere(tmp_path: Path) -> None:
    async def scenario(region: SimulatedRegion) -> None:
        hung = region.running()["bank-0"][0]
        region.hosts[hung].kill_agent()
        await region.eventually(lambda: len(region.running()) == 5 and hung not in _hosts(region), 25)

    simulate(tmp_path, scenario)


def test_an_agent_that_restarts_in_time_keeps_its_guests(tmp_path: Path) -> None:
    async def scenario(region: SimulatedRegion) -> None:
        before = region.running()
        host = region.hosts[before["bank-0"][0]]
        host.kill_agent()
        await region.clock.sleep(3)
        host.start()
        await region.clock.sleep(30)
        assert region.running() == before

    simulate(tmp_path, scenario)


def test_a_guest_is_migrated_on_request(tmp_path: Path) -> None:
    async def scenario(region: SimulatedRegion) -> None:
        source = region.running()["bank-0"][0]
        wish = MigrateRequest(guest=GuestName("bank-0"), requested_by="test")
        await region.admin.commit([], [Put(layout.request("migrate", "bank-0"), wish.to_json())])
        await region.eventually(lambda: region.running().get("bank-0", [source]) != [source], 10)
        await region.clock.sleep(5)
        assert len(region.running()["bank-0"]) == 1
        assert not (await region.admin.list(layout.REQUESTS)).items

    simulate(tmp_path, scenario)


def _hosts(region: SimulatedRegion) -> set[str]:
    return {host for hosts in region.running().values() for host in hosts}
