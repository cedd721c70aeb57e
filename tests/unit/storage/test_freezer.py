"""Guests are held still for a cut, and go on whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.stewards import APP, A, World, two_sites
from tests.simulation.virtual import VirtualLoop

from gemel.core import layout
from gemel.core.identity import GuestName, HostName
from gemel.core.outcome import Retryable
from gemel.core.store import Put
from gemel.core.view import View
from gemel.storage.kinds import Cut, CutPhase
from gemel.storage.local import FREEZE_AT_MOST, Freezer
from gemel.storage.scene import PREFIXES
from gemel.store.memory import MemoryStore


class VirtualTime(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualLoop()


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualTime()


class Guests:
    """``storage.ports.Freezable``: remembers who is still, and since when."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.still: dict[str, float] = {}
        self.longest = 0.0
        self.times = 0
        self.deaf = False
        self.thaw_fails = 0

    async def freeze(self, name: GuestName) -> int:
        await self.world.clock.sleep(0.1)
        if self.deaf:
            await self.world.clock.sleep(2.0)
            raise Retryable("the guest agent does not answer")
        self.still[name] = self.world.clock.monotonic()
        self.times += 1
        return 2

    async def thaw(self, name: GuestName) -> int:
        await self.world.clock.sleep(0.01)
        if self.thaw_fails:
            self.thaw_fails -= 1
            raise Retryable("busy")
        if name in self.still:
            self.longest = max(self.longest, self.world.clock.monotonic() - self.still.pop(name))
        return 2

    async def suspend(self, name: GuestName) -> None:
        await self.freeze(name)

    async def resume(self, name: GuestName) -> None:
        await self.thaw(name)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with two_sites(tmp_path) as world:
        yield world


@pytest.fixture
async def guests(world: World) -> AsyncIterator[Guests]:
    guests = Guests(world)
    store = MemoryStore(region=world.region)
    async with View(store, PREFIXES, world.clock) as view:
        freezer = asyncio.create_task(Freezer(HostName("par1-1"), guests, view, store, world.clock).run())
        yield guests
        freezer.cancel()
        await asyncio.gather(freezer, return_exceptions=True)


async def consistency(world: World) -> str:
    replica = await world.replica()
    assert replica is not None
    return replica.complete[-1].consistent


async def test_with_a_guest_agent_a_cut_has_clean_file_systems(world: World, guests: Guests) -> None:
    await world.declare_bank(agent=True)
    await world.run_guest("db0", "par1-1")
    await world.grant(A, 1)
    await world.protected(sequence=3)
    assert await consistency(world) == "application"
    assert guests.times >= 3
    assert guests.still == {}
    assert guests.longest < 1.0


async def test_without_an_agent_several_volumes_are_one_moment(world: World, guests: Guests) -> None:
    await world.declare_bank(disks=2)
    await world.run_guest("db0", "par1-1")
    await world.grant(A, 1)
    await world.protected("db0.d0", "db0.d1", sequence=2)
    assert (await consistency(world)).startswith("guest (no guest agent in db0)")
    assert guests.times >= 2


async def test_a_single_volume_without_agent_is_not_disturbed(world: World, guests: Guests) -> None:
    await world.declare_bank()
    await world.run_guest("db0", "par1-1")
    await world.grant(A, 1)
    await world.protected(sequence=3)
    assert guests.times == 0


async def test_a_deaf_agent_costs_consistency_and_nothing_else(world: World, guests: Guests) -> None:
    guests.deaf = True
    await world.declare_bank(agent=True)
    await world.run_guest("db0", "par1-1")
    await world.grant(A, 1)
    await world.protected(sequence=2)
    assert await consistency(world) == "crash (db0: the guest agent does not answer)"


async def test_a_host_that_does_not_answer_is_named(world: World) -> None:
    await world.declare_bank(agent=True)
    await world.run_guest("db0", "par1-3")
    await world.grant(A, 1)
    await world.protected(sequence=2)
    assert await consistency(world) == "crash (db0: its host did not answer in time)"


async def test_a_steward_that_dies_leaves_no_guest_frozen(world: World, guests: Guests) -> None:
    await world.declare_bank(agent=True)
    await world.run_guest("db0", "par1-1")
    cut = Cut(application=APP, epoch=1, sequence=99, phase=CutPhase.FREEZING, guests=("db0",))
    await world.store.commit([], [Put(layout.cut(APP), cut.to_json())])

    async def frozen() -> bool:
        return bool(guests.still)

    await world.until(frozen)
    await world.clock.sleep(FREEZE_AT_MOST + 0.2)
    assert guests.still == {}
    assert FREEZE_AT_MOST - 0.5 <= guests.longest <= FREEZE_AT_MOST


async def test_thawing_is_insisted_on(world: World, guests: Guests) -> None:
    guests.thaw_fails = 3
    await world.declare_bank(agent=True)
    await world.run_guest("db0", "par1-1")
    await world.grant(A, 1)
    await world.protected(sequence=2)
    await world.clock.sleep(3)
    assert guests.thaw_fails == 0
    assert guests.still == {}
