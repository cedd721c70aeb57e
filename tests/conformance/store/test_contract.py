"""The store port's promises, held by the twin in memory and by etcd alike."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gemel.core.election import Election, Terms
from gemel.core.outcome import OutcomeUnknown, Permanent
from gemel.core.store import (
    Batch,
    Compacted,
    Compare,
    Delete,
    Event,
    Field,
    Is,
    LeaseLost,
    Put,
    Store,
    StoreUnavailable,
    absent,
    same_creation,
    unchanged,
)
from gemel.core.view import View
from tests.conformance.store.conftest import Compacting, Harness
from tests.waiting import eventually


async def put(store: Store, key: str, value: bytes = b"x", lease: int = 0) -> int:
    return (await store.commit([], [Put(key, value, lease)])).revision


async def events(batches: AsyncIterator[Batch], count: int) -> list[Event]:
    """The next ``count`` events."""
    found: list[Event] = []
    async for batch in batches:
        found += batch.events
        if len(found) >= count:
            return found
    raise AssertionError(f"the watch ended after {len(found)} of {count} events")


async def within(seconds: float, awaited: "asyncio.Task[list[Event]]") -> list[Event]:
    return await asyncio.wait_for(awaited, seconds)


# -- reads and writes ----------------------------------------------------------------------------------------


async def test_a_key_has_its_history_in_numbers(store: Store, root: str) -> None:
    assert await store.get(root + "a") is None
    first = await put(store, root + "a", b"1")
    second = await put(store, root + "a", b"2")
    found = await store.get(root + "a")
    assert found and (found.value, found.create_revision, found.mod_revision) == (b"2", first, second)
    assert found.version == 2 and second == first + 1
    await store.commit([], [Delete(root + "a")])
    assert await store.get(root + "a") is None
    again = await put(store, root + "a")
    found = await store.get(root + "a")
    assert found and (found.version, found.create_revision) == (1, again)


async def test_a_list_is_ordered_and_of_one_prefix(store: Store, root: str) -> None:
    await store.commit([], [Put(root + name, name.encode()) for name in ("b/2", "b/10", "a", "b", "c/1")])
    listing = await store.list(root + "b/")
    assert [item.key for item in listing.items] == [root + "b/10", root + "b/2"]
    assert listing.revision == listing.items[0].mod_revision
    assert (await store.list(root + "none/")).items == ()


async def test_any_bytes_and_names_survive(store: Store, root: str) -> None:
    value = bytes(range(256)) * 100
    await put(store, root + "é/ü", value)
    found = await store.get(root + "é/ü")
    assert found and found.value == value and found.key == root + "é/ü"
    assert [item.key for item in (await store.list(root + "é")).items] == [root + "é/ü"]


async def test_all_of_a_transaction_or_nothing(store: Store, root: str) -> None:
    made = await store.commit([absent(root + "a")], [Put(root + "a", b"1"), Put(root + "b", b"1")])
    assert made.succeeded
    refused = await store.commit([absent(root + "a")], [Put(root + "b", b"2"), Delete(root + "a")])
    assert not refused.succeeded and refused.revision == made.revision
    items = (await store.list(root)).items
    assert [(item.value, item.mod_revision) for item in items] == [(b"1", made.revision)] * 2


@pytest.mark.parametrize(
    ("field", "relation", "operand", "holds"),
    [
        (Field.VERSION, Is.EQUAL, 2, True),
        (Field.VERSION, Is.GREATER, 1, True),
        (Field.VERSION, Is.LESS, 2, False),
        (Field.VERSION, Is.NOT_EQUAL, 2, False),
        (Field.VALUE, Is.EQUAL, b"two", True),
        (Field.VALUE, Is.NOT_EQUAL, b"two", False),
        (Field.VALUE, Is.GREATER, b"one", True),
        (Field.VALUE, Is.LESS, b"one", False),
    ],
)
async def test_compares(store: Store, root: str, field: Field, relation: Is, operand: int | bytes, holds: bool) -> None:
    await put(store, root + "a", b"one")
    await put(store, root + "a", b"two")
    assert (await store.commit([Compare(root + "a", field, relation, operand)], [])).succeeded is holds


async def test_compares_with_a_key_that_is_not_there(store: Store, root: str) -> None:
    key = root + "none"
    for held in (absent(key), unchanged(key, 0), same_creation(key, 0)):
        assert (await store.commit([held], [])).succeeded
    for relation in (Is.EQUAL, Is.NOT_EQUAL):
        answer = await store.commit([Compare(key, Field.VALUE, relation, b"x")], [])
        assert not answer.succeeded, "no relation holds about a value that does not exist"


async def test_unchanged_and_same_creation(store: Store, root: str) -> None:
    created = await put(store, root + "a")
    changed = await put(store, root + "a")
    assert (await store.commit([same_creation(root + "a", created)], [])).succeeded
    assert not (await store.commit([unchanged(root + "a", created)], [])).succeeded
    assert (await store.commit([unchanged(root + "a", changed)], [Delete(root + "a")])).succeeded
    await put(store, root + "a")
    assert not (await store.commit([same_creation(root + "a", created)], [])).succeeded


async def test_a_race_loses_no_update(harness: Harness, root: str) -> None:
    await put(await harness.client(), root + "n", b"0")

    async def add(store: Store, times: int) -> None:
        while times:
            found = await store.get(root + "n")
            assert found
            more = str(int(found.value) + 1).encode()
            done = await store.commit([unchanged(root + "n", found.mod_revision)], [Put(root + "n", more)])
            times -= done.succeeded

    clients = [await harness.client() for _ in range(4)]
    await asyncio.gather(*(add(client, 10) for client in clients))
    found = await clients[0].get(root + "n")
    assert found and found.value == b"40" and found.version == 41


async def test_a_key_is_written_once_in_a_transaction(store: Store, root: str) -> None:
    with pytest.raises(Permanent):
        await store.commit([], [Put(root + "a", b"1"), Put(root + "a", b"2")])
    with pytest.raises(Permanent):
        await store.commit([], [Put(root + "a", b"1"), Delete(root, prefix=True)])
    assert await store.get(root + "a") is None


async def test_deleting_nothing_is_no_change(store: Store, root: str) -> None:
    before = await put(store, root + "a")
    assert (await store.commit([], [Delete(root + "none"), Delete(root + "none/", prefix=True)])).succeeded
    assert (await store.list(root)).revision == before


# -- watches -------------------------------------------------------------------------------------------------


async def test_a_watch_tells_past_and_present_in_order(harness: Harness, store: Store, root: str) -> None:
    start = await put(store, root + "before")
    for number in range(5):
        await put(store, f"{root}w/{number}")
    batches = (await harness.client()).watch(root + "w/", start)
    watching = asyncio.create_task(events(batches, 12))
    for number in range(5, 10):
        await put(store, f"{root}w/{number}")
        await put(store, f"{root}elsewhere/{number}")
    await store.commit([], [Delete(root + "w/0"), Delete(root + "w/1")])
    found = await within(10, watching)
    names = [event.key.removeprefix(root + "w/") for event in found]
    assert names[:10] == [str(number) for number in range(10)] and set(names[10:]) == {"0", "1"}
    assert [event.value is None for event in found] == [False] * 10 + [True] * 2
    revisions = [event.revision for event in found]
    assert revisions == sorted(revisions) and revisions[0] > start and revisions[10] == revisions[11]


async def test_a_watch_does_not_repeat_what_was_seen(store: Store, root: str) -> None:
    await put(store, root + "a")
    seen = await put(store, root + "a")
    watching = asyncio.create_task(events(store.watch(root, seen), 1))
    after = await put(store, root + "b")
    assert [event.revision for event in await within(10, watching)] == [after]


async def test_a_transaction_comes_in_one_batch_however_large(store: Store, root: str) -> None:
    start = await put(store, root + "start")
    for count, size in ((3, 10), (60, 20_000)):
        done = await store.commit([], [Put(f"{root}{i}", b"x" * size) for i in range(count)])
        async for batch in store.watch(root, start):
            if batch.events:
                assert [event.revision for event in batch.events] == [done.revision] * count
                assert batch.revision == done.revision
                break
        start = done.revision


async def test_silence_is_confirmed(store: Store, root: str) -> None:
    start = await put(store, root + "a")

    async def empty() -> Batch:
        async for batch in store.watch(root, start):
            return batch
        raise AssertionError("the watch ended")

    batch = await asyncio.wait_for(empty(), 10)
    assert batch == Batch(start, ()) or (not batch.events and batch.revision >= start)


async def test_compacted_history_is_said_to_be_gone(store: Compacting, root: str) -> None:
    first = await put(store, root + "a")
    await put(store, root + "a")
    deleted = (await store.commit([], [Delete(root + "a")])).revision
    await store.compact(deleted)
    for after in (first, deleted - 1):
        with pytest.raises(Compacted):
            await asyncio.wait_for(events(store.watch(root, after), 1), 10)
    watching = asyncio.create_task(events(store.watch(root, deleted), 1))
    later = await put(store, root + "b")
    assert (await within(10, watching))[0].revision == later


async def test_compaction_of_what_a_watch_has_seen_costs_it_nothing(
    harness: Harness, store: Compacting, root: str
) -> None:
    start = await put(store, root + "a")
    seen: list[Event] = []

    async def follow() -> None:
        async for batch in store.watch(root, start):
            seen.extend(batch.events)

    following = asyncio.create_task(follow())
    for number in range(20):
        revision = await put(store, f"{root}{number}")
        if number % 5 == 4:
            await eventually(lambda: len(seen) == number + 1, 10)  # noqa: B023 (awaited within the turn)
            await store.compact(revision)
    following.cancel()
    assert [event.key for event in seen] == [f"{root}{number}" for number in range(20)]


# -- leases --------------------------------------------------------------------------------------------------


async def test_a_lease_that_is_not_renewed_ends_with_its_keys(harness: Harness, root: str) -> None:
    store = await harness.client()
    lease = await store.grant(harness.ttl)
    assert lease.ttl >= harness.ttl
    granted = time.monotonic()
    revision = await put(store, root + "a", b"x", lease.id)
    await put(store, root + "b", b"x", lease.id)
    await put(store, root + "b", b"x")  # no longer on the lease
    found = await store.get(root + "a")
    assert found and found.lease == lease.id
    watching = asyncio.create_task(events(store.watch(root + "a", revision), 1))
    ended = (await within(lease.ttl + 10, watching))[0]
    assert ended.value is None and time.monotonic() - granted >= lease.ttl - 0.05, "never forgotten early"
    assert await store.get(root + "b") is not None
    with pytest.raises(LeaseLost):
        await store.keep_alive(lease.id)
    with pytest.raises(LeaseLost):
        await put(store, root + "c", b"x", lease.id)


async def test_a_renewed_lease_lives(harness: Harness, root: str) -> None:
    store, other = await harness.client(), await harness.client()
    lease = await store.grant(harness.ttl)
    await put(store, root + "a", b"x", lease.id)
    end = time.monotonic() + 1.5 * lease.ttl
    while time.monotonic() < end:
        assert await other.keep_alive(lease.id) == lease.ttl
        await asyncio.sleep(lease.ttl / 4)
    assert await store.get(root + "a") is not None


async def test_a_revoked_lease_takes_its_keys_at_one_revision(store: Store, root: str) -> None:
    lease = await store.grant(60)
    keys = [Put(root + name, b"x", lease.id) for name in "abc"]
    revision = (await store.commit([], keys)).revision
    await store.revoke(lease.id)
    found = await asyncio.wait_for(events(store.watch(root, revision), 3), 10)
    assert len(found) == 3 and len({event.revision for event in found}) == 1
    assert all(event.value is None for event in found)
    await store.revoke(lease.id)  # gone is what was asked for


async def test_an_unknown_lease_is_lost(store: Store, root: str) -> None:
    with pytest.raises(LeaseLost):
        await store.keep_alive(123456789)


# -- a link that fails ---------------------------------------------------------------------------------------


async def test_a_write_whose_answer_is_lost_is_unknown_and_may_have_happened(harness: Harness, root: str) -> None:
    fragile, other = await harness.fragile(), await harness.client()
    await put(fragile, root + "a", b"1")
    harness.lose_answers()
    with pytest.raises(OutcomeUnknown):
        await put(fragile, root + "a", b"2")
    found = await other.get(root + "a")
    assert found and found.value == b"2"
    harness.mend()
    await put(fragile, root + "a", b"3")


async def test_without_a_link_nothing_happens_and_it_says_so(harness: Harness, root: str) -> None:
    fragile, other = await harness.fragile(), await harness.client()
    lease = await fragile.grant(60)
    await put(fragile, root + "a", b"1")
    harness.cut()
    with pytest.raises(StoreUnavailable):
        await fragile.get(root + "a")
    with pytest.raises(StoreUnavailable):
        await fragile.keep_alive(lease.id)
    with pytest.raises(StoreUnavailable):
        await put(fragile, root + "a", b"2")
    found = await other.get(root + "a")
    assert found and found.value == b"1"
    harness.mend()
    assert await fragile.keep_alive(lease.id) == 60


async def test_a_watch_outlives_its_link(harness: Harness, root: str) -> None:
    fragile, other = await harness.fragile(), await harness.client()
    start = await put(other, root + "start")
    watching = asyncio.create_task(events(fragile.watch(root, start), 3))
    await put(other, root + "1")
    await asyncio.sleep(0.3)
    harness.cut()
    await put(other, root + "2")
    await asyncio.sleep(0.3)
    harness.mend()
    await put(other, root + "3")
    found = await within(20, watching)
    assert [event.key for event in found] == [root + "1", root + "2", root + "3"]


async def test_a_closed_client_says_so_and_ends_its_watches(harness: Harness, root: str) -> None:
    store = await harness.client()
    start = await put(store, root + "a")

    async def follow() -> list[Batch]:
        return [batch async for batch in store.watch(root, start)]

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.2)
    await store.close()
    await asyncio.wait_for(following, 10)
    with pytest.raises(StoreUnavailable):
        await store.get(root + "a")


# -- what stands on the port ---------------------------------------------------------------------------------


async def test_a_view_follows_through_a_cut(harness: Harness, root: str) -> None:
    fragile, other = await harness.fragile(), await harness.client()
    async with View(fragile, [root + "a/", root + "b/"]) as view:
        assert await view.ready(10)
        await put(other, root + "a/1")
        await eventually(lambda: view.get(root + "a/1"), 5)
        harness.cut()
        await put(other, root + "b/1")
        await other.commit([], [Delete(root + "a/1")])
        harness.mend()
        await eventually(lambda: list(view.items()) == [root + "b/1"], 20)


async def test_a_cut_leader_has_ended_when_the_next_begins(harness: Harness, root: str) -> None:
    fragile, other = await harness.fragile(), await harness.client()
    ttl = harness.ttl
    terms = Terms(ttl=ttl, margin=ttl / 5, renew_every=ttl / 10, look_every=ttl / 10)
    one = Election(fragile, root + "leader", "one", terms=terms)
    two = Election(other, root + "leader", "two", terms=terms)
    old = await one.campaign()
    campaign = asyncio.create_task(two.campaign())
    await asyncio.sleep(ttl / 2)
    assert one.leading and not two.leading
    harness.cut()
    ended = asyncio.create_task(one.wait_lost())
    new = await asyncio.wait_for(campaign, ttl * 3 + 10)
    assert ended.done() and not one.leading and new.create_revision > old.create_revision
    assert not (await other.commit([old.guard()], [Put(root + "late", b"")])).succeeded
    assert (await other.commit([new.guard()], [Put(root + "now", b"")])).succeeded
    harness.mend()
    await two.resign()
    await one.resign()
