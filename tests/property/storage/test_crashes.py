"""A steward that dies at any call of its engines, before it or after it, changes nothing in the end."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.images import Contents
from tests.fakes.stewards import A, B, SiteOfStewards, World, two_sites
from tests.simulation import virtual

from gemel.core.identity import SiteName
from gemel.core.outcome import OutcomeUnknown

DISKS = ("db0.d0", "db0.d1")


class Crashes:
    """Kills the site's steward at its calls of these numbers, and starts it again a little later."""

    def __init__(self, site: SiteOfStewards, numbers: frozenset[int], after: bool) -> None:
        self.site = site
        self.numbers = numbers
        self.count = 0
        self.tasks: set[asyncio.Task[None]] = set()
        if after:
            site.images.faults.after = self._strike
        else:
            site.images.faults.before = self._strike

    def _strike(self, call: str, what: str) -> None:
        self.count += 1
        if self.count in self.numbers:
            task = asyncio.get_running_loop().create_task(self._again())
            self.tasks.add(task)
            raise OutcomeUnknown(f"{call} {what}: the process died here")

    async def _again(self) -> None:
        await self.site.crash()
        await self.site.world.clock.sleep(1.0)
        self.site.start()


async def complete_snapshots_are_true(world: World, writer: SiteName, copier: SiteName) -> None:
    """Whatever a record calls complete has exactly the contents of the writer's snapshot of that name."""
    for name in DISKS:
        replica = await world.replica(name)
        if replica is None or replica.site != copier:
            continue
        for snapshot in replica.complete:
            copied = world.sites[copier].images.contents("replicas", replica.image, snapshot.snapshot)
            image = world.sites[writer].images.pools["guests"][replica.image]
            if snapshot.snapshot in image.snapshots:
                assert copied == image.snapshots[snapshot.snapshot], f"{replica.image}@{snapshot.snapshot}"


async def life(folder: Path, west: frozenset[int], east: frozenset[int], after: bool, writes: int) -> None:
    async with two_sites(folder) as world:
        Crashes(world.sites[A], west, after)
        Crashes(world.sites[B], east, after)
        await world.declare_bank(disks=2)
        await world.grant(A, 1)
        await world.protected(*DISKS)
        for number in range(writes):
            for name in DISKS:
                world.sites[A].images.write("guests", f"{name}.e1", {number + 1: f"{number}"})
            await world.clock.sleep(3.0)
            await complete_snapshots_are_true(world, A, B)
        cut = await world.cut()
        assert cut is not None
        await world.protected(*DISKS, sequence=cut.sequence + 1)
        expected: Contents = {number + 1: f"{number}" for number in range(writes)}

        await world.sites[A].crash()
        await world.grant(B, 2)

        async def promoted() -> bool:
            volumes = [await world.volume(name) for name in DISKS]
            return all(volume is not None and volume.site == B for volume in volumes)

        await world.until(promoted)
        for name in DISKS:
            found = world.sites[B].images.contents("guests", f"{name}.e2")
            assert {key: value for key, value in found.items() if key} == expected
        if world.sites[A].task is None:
            world.sites[A].start()

        async def returned() -> bool:
            records = [await world.replica(name) for name in DISKS]
            return all(each is not None and each.site == A and each.complete[-1].snapshot != "e2-0" for each in records)

        await world.until(returned, within=120)
        await complete_snapshots_are_true(world, B, A)


numbers = st.frozensets(st.integers(1, 70), max_size=3)


@settings(max_examples=40, deadline=None)
@given(west=numbers, east=numbers, after=st.booleans(), writes=st.integers(0, 4))
def test_a_crash_at_any_call_converges(west: frozenset[int], east: frozenset[int], after: bool, writes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        virtual.run(life(Path(folder), west, east, after, writes))


def test_a_crash_after_each_single_step_converges() -> None:
    for number in range(1, 45):
        with tempfile.TemporaryDirectory() as folder:
            virtual.run(life(Path(folder), frozenset({number}), frozenset({number + 1}), True, 1))
