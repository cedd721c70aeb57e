"""Every guard is needed: without it the simulation finds a violation within few seeds. Prints the table."""

import asyncio
from pathlib import Path

import pytest

from tests.simulation.guards import GUARDS, Guard, names
from tests.simulation.region import SimulatedRegion
from tests.simulation.schedule import Schedule
from tests.simulation.virtual import run

SEEDS = 30


async def _violation(folder: Path, guard: Guard, seed: int) -> str | None:
    region = SimulatedRegion(folder)
    region.terms = guard.terms
    schedule = Schedule(region, seed, guard.verbs, guard.hosts, guard.pauses)
    await region.start()
    await region.application("bank", "par1", 3, 10)
    await region.application("shop", "gra1", 2, 20)
    await region.clock.sleep(15.0)
    try:
        await schedule.play(guard.steps)
    except AssertionError as error:
        return str(error).splitlines()[0]
    return None


def _first(folder: Path, guard: Guard) -> tuple[int, str] | None:
    for seed in range(SEEDS):
        (place := folder / str(seed)).mkdir()
        if (found := run(_violation(place, guard, seed))) is not None:
            return seed, found
    return None


@pytest.mark.parametrize("guard", GUARDS, ids=names(GUARDS))
def test_without_it_something_breaks(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: object
) -> None:
    guard.remove(monkeypatch)
    found = _first(tmp_path, guard)
    assert found is not None, f"{SEEDS} schedules without {guard.name!r} broke nothing"
    print(f"without {guard.name}: seed {found[0]}: {found[1]}")


@pytest.mark.parametrize("guard", GUARDS, ids=names(GUARDS))
def test_with_it_the_same_schedules_break_nothing(guard: Guard, tmp_path: Path) -> None:
    for seed in range(2):
        (place := tmp_path / str(seed)).mkdir()
        assert run(_violation(place, guard, seed)) is None


def test_nothing_of_the_simulation_waits_in_real_time() -> None:
    async def hour() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(hour()) >= 4600
