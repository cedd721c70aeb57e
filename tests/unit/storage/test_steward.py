"""Stewards of two sites: production code over the store, images and wire in memory, under virtual time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.stewards import A, B, World, two_sites
from tests.simulation.virtual import VirtualLoop

from gemel.continuity.kinds import TicketPhase
from gemel.core.outcome import OutcomeUnknown, Retryable
from gemel.storage.kinds import QuarantineState

DB = "db0.d0"


class VirtualTime(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualLoop()


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualTime()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with two_sites(tmp_path) as world:
        yield world


async def test_a_protected_volume_exists_on_both_sites_and_its_base_is_never_shipped(world: World) -> None:
    await world.declare_bank()
    await world.grant(A, 1)
    await world.protected()
    volume, replica = await world.volume(), await world.replica()
    assert volume is not None and replica is not None
    assert (volume.site, volume.epoch, volume.image, volume.origin_snapshot) == (A, 1, "db0.d0.e1", "e1-0")
    assert (replica.site, replica.image) == (B, "db0.d0.e1")
    assert world.sites[B].images.contents("replicas", replica.image) == {0: "deb.raw"}
    assert world.sites[B].transport.shipped < 200, "nothing was written, so nothing but frames travels"


async def test_the_age_of_a_copy_stays_within_the_recovery_point(world: World) -> None:
    await world.declare_bank()
    await world.grant(A, 1)
    await world.protected()
    worst = 0.0
    for _ in range(600):
        await world.clock.sleep(0.1)
        replica = await world.replica()
        assert replica is not None
        worst = max(worst, (world.clock.wall() - replica.complete[-1].taken_at).total_seconds())
    assert worst <= 20.0
    assert worst >= 5.0, "cuts are not taken without pause either"


async def test_an_unprotected_volume_is_created_and_not_copied(world: World) -> None:
    await world.declare_bank(protected=False)
    await world.grant(A, 1)
    await world.until(world.volume)
    await world.clock.sleep(30)
    assert await world.replica() is None
    assert await world.cut() is None


async def test_promotion_return_and_failback_ship_differences_and_keep_what_diverged(world: World) -> None:
    await world.declare_bank()
    await world.grant(A, 1)
    await world.protected()
    west, east = world.sites[A], world.sites[B]
    west.images.write("guests", "db0.d0.e1", {10: "shipped"})
    cut = await world.cut()
    assert cut is not None
    await world.protected(sequence=cut.sequence + 2)
    await west.crash()
    world.wire.cut = True
    west.images.write("guests", "db0.d0.e1", {11: "only here"})

    await world.grant(B, 2)

    async def promoted() -> bool:
        volume = await world.volume()
        return volume is not None and volume.site == B and volume.epoch == 2

    await world.until(promoted)
    assert east.images.contents("guests", "db0.d0.e2") == {0: "deb.raw", 10: "shipped"}
    east.images.write("guests", "db0.d0.e2", {10: "newer", 12: "after"})

    shipped = west.transport.shipped
    world.wire.cut = False
    west.start()
    await world.protected(sequence=cut.sequence + 3)
    held = await world.quarantine(A)
    assert [(each.name, each.state, each.diverged_bytes) for each in held] == [(DB, QuarantineState.SALVAGED, 4096)]
    assert west.images.contents("guests", "db0.d0.e1", "salvage-e1")[11] == "only here"

    async def caught_up() -> bool:
        wanted = east.images.contents("guests", "db0.d0.e2")
        return west.images.contents("replicas", "db0.d0.e2") == wanted

    await world.until(caught_up)
    assert west.transport.shipped - shipped < 1000, "failback ships two extents and frames"


async def test_two_volumes_are_promoted_at_one_moment(world: World) -> None:
    await world.declare_bank(disks=2)
    await world.grant(A, 1)
    await world.protected(DB, "db0.d1", sequence=2)
    east = world.sites[B]

    def lose_second(call: str, what: str) -> None:
        if call == "import_diff" and "d1" in what:
            raise Retryable("OSDs are down")

    east.images.faults.before = lose_second
    west = world.sites[A]
    west.images.write("guests", "db0.d0.e1", {5: "half"})
    west.images.write("guests", "db0.d1.e1", {5: "half"})

    async def first_is_ahead() -> bool:
        first, second = await world.replica(), await world.replica("db0.d1")
        return bool(first and second and first.complete[-1].sequence > second.complete[-1].sequence)

    await world.until(first_is_ahead)
    await west.crash()
    await world.grant(B, 2)

    async def promoted() -> bool:
        volumes = [await world.volume(), await world.volume("db0.d1")]
        return all(volume is not None and volume.site == B for volume in volumes)

    await world.until(promoted)
    assert 5 not in east.images.contents("guests", "db0.d0.e2")
    assert 5 not in east.images.contents("guests", "db0.d1.e2")


async def test_an_interrupted_import_is_rolled_back_before_it_is_tried_again(world: World) -> None:
    await world.declare_bank()
    await world.grant(A, 1)
    await world.protected()
    east, west = world.sites[B], world.sites[A]
    failures = [2]

    def break_import(call: str, what: str) -> None:
        if call == "import_extent" and failures[0]:
            failures[0] -= 1
            raise OutcomeUnknown("connection lost in the middle")

    east.images.faults.before = break_import
    west.images.write("guests", "db0.d0.e1", {n: f"value {n}" for n in range(1, 6)})

    async def arrived() -> bool:
        return east.images.contents("replicas", "db0.d0.e1").get(5) == "value 5"

    await world.until(arrived)
    assert failures == [0]
    assert ("ensure_rolled_back", "replicas/db0.d0.e1") in east.images.calls


async def test_a_lost_answer_of_any_kind_changes_nothing_in_the_end(world: World) -> None:
    lost: set[str] = set()

    def lose_once(call: str, what: str) -> None:
        if (call, what) not in lost and not call.startswith("import_extent"):
            lost.add((call, what))  # type: ignore[arg-type]
            raise OutcomeUnknown(f"{call} {what}: answer lost")

    for site in world.sites.values():
        site.images.faults.after = lose_once
    await world.declare_bank(disks=2)
    await world.grant(A, 1)
    await world.protected(DB, "db0.d1", sequence=2)
    assert lost


async def test_without_authority_nothing_is_begun(world: World) -> None:
    west = world.sites[A]
    west.allowed = False
    await world.declare_bank()
    await world.grant(A, 1)
    await world.clock.sleep(30)
    assert await world.volume() is None
    assert west.images.pools["guests"] == {}
    west.allowed = True
    await world.protected()


async def test_a_planned_move_takes_its_last_cut_after_the_guests_stopped(world: World) -> None:
    await world.declare_bank()
    await world.run_guest("db0", "par1-1")
    await world.grant(A, 1)
    await world.protected()
    revision = await world.grant(A, 1, TicketPhase.DRAINING, B)
    await world.clock.sleep(15)
    cut = await world.cut()
    assert cut is not None and not cut.final, "the guest still runs"
    world.sites[A].images.write("guests", "db0.d0.e1", {7: "last words"})
    await world.run_guest("db0", "par1-1", running=False, generation=2)

    async def final() -> bool:
        cut, replica = await world.cut(), await world.replica()
        return bool(cut and replica and cut.final and replica.complete[-1].final)

    await world.until(final)
    cut, replica = await world.cut(), await world.replica()
    assert cut is not None and replica is not None
    assert cut.ticket_revision == revision
    assert replica.complete[-1].sequence == cut.sequence
    assert world.sites[B].images.contents("replicas", "db0.d0.e1")[7] == "last words"
    await world.grant(B, 2)

    async def back() -> bool:
        replica = await world.replica()
        return replica is not None and replica.site == A and replica.complete[-1].snapshot != "e2-0"

    await world.until(back)
    assert await world.quarantine(A) == [], "nothing diverged in a planned move"


async def test_a_site_that_lost_its_disks_gets_a_whole_copy(world: World) -> None:
    await world.declare_bank()
    await world.grant(A, 1)
    await world.protected()
    west, east = world.sites[A], world.sites[B]
    await west.crash()
    await world.grant(B, 2)

    async def promoted() -> bool:
        volume = await world.volume()
        return volume is not None and volume.site == B

    await world.until(promoted)
    east.images.write("guests", "db0.d0.e2", {9: "new"})
    for pool in west.images.pools.values():
        pool.clear()
    west.start()
    await world.until(lambda: _copied(west.images, {0: "deb.raw", 9: "new"}), within=90)
    replica = await world.replica()
    assert replica is not None and replica.site == A and replica.complete


async def _copied(images: object, wanted: dict[int, str]) -> bool:
    try:
        return images.contents("replicas", "db0.d0.e2") == wanted  # type: ignore[attr-defined]
    except KeyError:
        return False


async def test_a_promotion_that_cannot_be_says_why(world: World) -> None:
    await world.declare_bank(protected=False)
    await world.grant(A, 1)
    await world.until(world.volume)
    await world.grant(B, 2)

    async def told() -> bool:
        found = await world.store.list("/gemel/v1/events/")
        return any(b"NotPromoted" in item.value and b"no replica" in item.value for item in found.items)

    await world.until(told)
    volume = await world.volume()
    assert volume is not None and volume.site == A


async def test_snapshots_do_not_pile_up(world: World) -> None:
    await world.declare_bank()
    await world.grant(A, 1)
    await world.protected(sequence=4)
    await world.clock.sleep(40)
    await world.clock.sleep(5)
    for site, pool in ((A, "guests"), (B, "replicas")):
        assert len(world.sites[site].images.pools[pool]["db0.d0.e1"].snapshots) <= 3, site
    replica = await world.replica()
    assert replica is not None and len(replica.complete) <= 3


async def test_an_unreachable_copy_is_told_with_its_reason_and_one_cut_waits(world: World) -> None:
    await world.declare_bank()
    await world.grant(A, 1)
    await world.protected()
    world.wire.cut = True
    await world.clock.sleep(60)
    replica, cut = await world.replica(), await world.cut()
    assert replica is not None and cut is not None
    assert "does not answer" in replica.error
    assert cut.sequence <= replica.complete[-1].sequence + 1
    world.wire.cut = False
    await world.protected(sequence=cut.sequence + 2)
    replica = await world.replica()
    assert replica is not None and replica.error == ""


async def test_a_ticket_that_comes_back_unused_finds_its_volumes(world: World) -> None:
    """Epoch 2 at the other site never promoted; epoch 3 goes on with the same images."""
    await world.declare_bank()
    await world.grant(A, 1)
    await world.protected()
    await world.sites[B].crash()
    await world.grant(B, 2)
    await world.clock.sleep(5)
    await world.grant(A, 3)
    world.sites[B].start()

    async def adopted() -> bool:
        volume, replica = await world.volume(), await world.replica()
        return bool(volume and replica and volume.epoch == 3 and replica.epoch == 3)

    await world.until(adopted)
    volume = await world.volume()
    assert volume is not None and (volume.image, volume.site) == ("db0.d0.e1", A)
    cut = await world.cut()
    assert cut is not None
    await world.protected(sequence=cut.sequence + 1)
