"""View and Election over the store in memory, under virtual time."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.simulation.virtual import VirtualClock, VirtualLoop

from gemel.core.election import Election, Leadership, Terms
from gemel.core.outcome import Conflict, Permanent
from gemel.core.store import Delete, Put, StoreUnavailable
from gemel.core.view import View
from gemel.store.memory import MemoryStore, Region

SOON = 0.01
KEY = "/gemel/v1/elections/controllers"


class VirtualTime(asyncio.DefaultEventLoopPolicy):
    """Every ``asyncio.sleep`` of these tests is a jump."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualLoop()


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualTime()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def region(clock: VirtualClock) -> AsyncIterator[Region]:
    region = Region(clock)
    yield region
    region.stop()


async def put(store: MemoryStore, key: str, value: bytes = b"x") -> int:
    return (await store.commit([], [Put(key, value)])).revision


def client(region: Region) -> MemoryStore:
    return MemoryStore(region=region)


# -- View ----------------------------------------------------------------------------------------------------


async def test_a_view_shows_its_prefixes_at_one_revision_and_nothing_else(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    await put(store, "/a/1")
    async with View(store, ["/a/", "/b/"], clock) as view:
        assert await view.ready()
        assert list(view.items()) == ["/a/1"]
        await store.commit([], [Put("/a/2", b""), Put("/b/1", b""), Put("/c/1", b"")])
        await asyncio.sleep(SOON)
        assert list(view.items()) == ["/a/1", "/a/2", "/b/1"]
        assert list(view.items("/b/")) == ["/b/1"]
        assert view.revision == region.state.revision
        await store.commit([], [Delete("/a/", prefix=True)])
        await asyncio.sleep(SOON)
        assert list(view.items()) == ["/b/1"]
        assert view.get("/a/1") is None


async def test_waiting_for_a_change_is_level_triggered(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    async with View(store, ["/a/"], clock) as view:
        await view.ready()
        seen = view.changes
        await put(store, "/a/1")
        await asyncio.sleep(SOON)
        assert await view.wait_change(0.0, seen), "a change before the wait must not be lost"
        waiting = asyncio.create_task(view.wait_change(3.0))
        await asyncio.sleep(3.5)
        assert waiting.done() and waiting.result() is False


async def test_a_view_of_other_keys_does_not_wake(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    async with View(store, ["/a/1/", "/a/2/"], clock) as view:
        await view.ready()
        seen = view.changes
        await put(store, "/a/3/x")
        await asyncio.sleep(SOON)
        assert view.changes == seen


async def test_a_view_tells_how_fresh_it_is_and_catches_up(region: Region, clock: VirtualClock) -> None:
    store, other = client(region), client(region)
    async with View(store, ["/a/"], clock) as view:
        await view.ready()
        await asyncio.sleep(10)
        assert clock.monotonic() - view.fresh_at <= 1.0, "silence of a living store is confirmed"
        store.link.up = False
        cut_at = clock.monotonic()
        await put(other, "/a/1")
        await asyncio.sleep(10)
        assert view.fresh_at <= cut_at and not view.items()
        store.link.up = True
        await asyncio.sleep(2)
        assert list(view.items()) == ["/a/1"] and view.fresh_at > cut_at


async def test_a_view_lists_again_after_compaction(region: Region, clock: VirtualClock) -> None:
    store, other = client(region), client(region)
    await put(other, "/a/gone")
    async with View(store, ["/a/"], clock) as view:
        await view.ready()
        store.link.up = False
        await asyncio.sleep(2)
        await other.commit([], [Delete("/a/gone")])
        await other.compact(await put(other, "/a/new"))
        store.link.up = True
        await asyncio.sleep(2)
        assert list(view.items()) == ["/a/new"], "a deletion within the compacted history must show"


async def test_a_view_waits_for_a_store_that_is_not_there_yet(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    store.link.up = False
    async with View(store, ["/a/"], clock) as view:
        await asyncio.sleep(20)
        assert view.revision == 0 and view.fresh_at == float("-inf")
        store.link.up = True
        await asyncio.sleep(10)
        assert view.revision == region.state.revision


async def test_items_is_a_snapshot(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    async with View(store, ["/a/"], clock) as view:
        await view.ready()
        before = view.items()
        await put(store, "/a/1")
        await asyncio.sleep(SOON)
        assert not before and view.items()


# -- Election ------------------------------------------------------------------------------------------------


async def test_one_of_two_leads_and_the_other_follows_a_resignation(region: Region, clock: VirtualClock) -> None:
    one = Election(client(region), KEY, "one", clock)
    two = Election(client(region), KEY, "two", clock)
    await one.campaign()
    waiting = asyncio.create_task(two.campaign())
    await asyncio.sleep(60)
    assert one.leading and not two.leading and await two.leader() == "one"
    await one.resign()
    await asyncio.sleep(1)
    assert waiting.done() and two.leading and not one.leading
    await two.resign()


async def test_a_cut_leader_ends_before_another_begins(region: Region, clock: VirtualClock) -> None:
    cut = client(region)
    one, two = Election(cut, KEY, "one", clock), Election(client(region), KEY, "two", clock)
    term = await one.campaign()
    waiting = asyncio.create_task(two.campaign())
    await asyncio.sleep(5)
    cut.link.up = False
    ended_at = begun_at = None
    for _ in range(300):
        await asyncio.sleep(0.1)
        assert not (one.leading and two.leading)
        ended_at = ended_at or (None if one.leading else clock.monotonic())
        begun_at = begun_at or (clock.monotonic() if two.leading else None)
    assert ended_at and begun_at and begun_at - ended_at >= 1.5, "the margin lies between the two"
    waiting.cancel()
    done = await client(region).commit([term.guard()], [Put("/a", b"late")])
    assert not done.succeeded, "an old term commits nothing"
    await two.resign()
    await one.resign()


async def test_a_lost_answer_at_the_election_is_looked_up(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    election = Election(store, KEY, "one", clock, Terms(ttl=10, margin=2))
    campaign = asyncio.create_task(election.campaign())
    grant = store.grant

    async def grant_then_lose(ttl: float) -> object:
        lease = await grant(ttl)
        store.link.lose_answers = 1
        return lease

    store.grant = grant_then_lose  # type: ignore[method-assign,assignment]
    await asyncio.sleep(5.5)
    assert campaign.done(), "the key was written on the own lease, so the term began"
    found = await store.get(KEY)
    assert found and election.leadership and found.create_revision == election.leadership.create_revision
    await election.resign()


async def test_a_leader_whose_key_is_taken_away_notices(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    election = Election(store, KEY, "one", clock)
    await election.campaign()
    lost = asyncio.create_task(election.wait_lost())
    await asyncio.sleep(3)
    assert not lost.done()
    await store.commit([], [Delete(KEY)])
    await asyncio.sleep(3)
    assert lost.done() and election.leadership is None
    await election.resign()


async def test_lead_cancels_the_work_of_a_lost_term_and_tries_again(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    terms: list[Leadership] = []
    stopped: list[Leadership] = []

    async def work(term: Leadership) -> None:
        terms.append(term)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(term)

    leading = asyncio.create_task(Election(store, KEY, "one", clock).lead(work))
    await asyncio.sleep(1)
    await store.commit([], [Delete(KEY)])
    await asyncio.sleep(10)
    assert len(terms) == 2 and stopped == terms[:1]
    leading.cancel()
    await asyncio.sleep(1)
    assert await store.get(KEY) is None, "a stopped candidate resigns"


async def test_lead_passes_on_what_the_work_raises(region: Region, clock: VirtualClock) -> None:
    async def work(term: Leadership) -> None:
        raise Conflict("planned from something old")

    with pytest.raises(Conflict):
        await Election(client(region), KEY, "one", clock).lead(work)
    assert await client(region).get(KEY) is None


@pytest.mark.parametrize(("ttl", "margin", "renew"), [(5, 5, 1), (5, 0, 1), (5, 2, 3), (5, 2, 0)])
def test_unsafe_terms_are_refused(ttl: float, margin: float, renew: float) -> None:
    with pytest.raises(Permanent, match="cannot be safe"):
        Terms(ttl=ttl, margin=margin, renew_every=renew)


# -- the store's own time ------------------------------------------------------------------------------------


async def test_a_lease_ends_at_its_time_and_watchers_are_told(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    lease = await store.grant(10)
    revision = (await store.commit([], [Put("/a", b"", lease.id)])).revision
    seen: list[str] = []

    async def follow() -> None:
        async for batch in store.watch("/", revision):
            seen.extend(event.key for event in batch.events if event.value is None)

    following = asyncio.create_task(follow())
    await asyncio.sleep(8)
    assert await store.keep_alive(lease.id) == 10
    await asyncio.sleep(9.9)
    assert not seen
    await asyncio.sleep(0.2)
    assert seen == ["/a"], "told without anybody calling the store"
    following.cancel()


async def test_a_cut_client_gives_up_after_its_patience(region: Region, clock: VirtualClock) -> None:
    store = client(region)
    store.link.up = False
    reading = asyncio.create_task(store.get("/a"))
    await asyncio.sleep(4.9)
    assert not reading.done()
    await asyncio.sleep(0.2)
    with pytest.raises(StoreUnavailable):
        await reading
