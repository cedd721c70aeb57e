"""What the client of a real etcd does when members are killed, paused, partitioned, and when roles forbid."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from gemel.core import layout
from gemel.core.outcome import OutcomeUnknown, Permanent, Present, Unknown
from gemel.core.store import Event, Put, Store, StoreUnavailable, absent, unchanged
from gemel.store.etcd import EtcdStore, Place
from tests.conformance.store.cluster import Cluster
from tests.waiting import eventually


@pytest.fixture
async def whole(cluster: Cluster) -> AsyncIterator[Cluster]:
    """The cluster with all members running and one leader, before and after."""
    await cluster.prepare()
    await cluster.settled()
    yield cluster
    for place in cluster.places:
        if place.name in cluster.processes:
            cluster.signal(place, signal.SIGCONT)
        else:
            cluster.start(place)
    await cluster.settled()


@pytest.fixture
def root() -> str:
    return f"{layout.ROOT}test/{uuid.uuid4()}/"


def others(cluster: Cluster, place: Place) -> list[Place]:
    return [other for other in cluster.places if other != place]


async def put_surely(store: Store, key: str, value: bytes) -> int:
    """Write as a careful caller does: after an unknown outcome look, and repeat if it did not happen."""
    found = await store.get(key)
    before = found.mod_revision if found else 0
    while True:
        try:
            done = await store.commit([unchanged(key, before)], [Put(key, value)])
        except (OutcomeUnknown, StoreUnavailable):
            await asyncio.sleep(0.2)
            continue
        if done.succeeded:
            return done.revision
        found = await store.get(key)
        assert found and found.value == value, "only the own write whose answer was lost stands here"
        return found.mod_revision


async def follow(store: EtcdStore, root: str, after: int, into: list[Event]) -> None:
    async for batch in store.watch(root, after):
        into.extend(batch.events)


async def test_a_killed_member_costs_no_read_no_event_and_no_lease(whole: Cluster, root: str) -> None:
    victim = await whole.settled()
    store = await whole.client(places=[victim, *others(whole, victim)])
    start = (await store.commit([], [Put(root + "start", b"")])).revision
    lease = await store.grant(10)
    seen: list[Event] = []
    watching = asyncio.create_task(follow(store, root, start, seen))
    for number in range(30):
        if number == 10:
            whole.kill(victim)
        await put_surely(store, f"{root}{number:02}", b"x")
        assert await store.get(f"{root}{number:02}") is not None
        assert await store.keep_alive(lease.id) == 10
    await eventually(lambda: len(seen) >= 30, 10)
    assert [event.key for event in seen] == [f"{root}{number:02}" for number in range(30)]
    answers = await store.observe_members()
    assert isinstance(answers[victim.endpoint], Unknown)
    assert sum(isinstance(answer, Present) for answer in answers.values()) == 2
    watching.cancel()
    await store.close()


async def test_a_paused_leader_is_left_and_what_it_proves_afterwards_is_true(whole: Cluster, root: str) -> None:
    paused = await whole.settled()
    store = await whole.client(places=[paused, *others(whole, paused)])
    start = (await store.commit([], [Put(root + "start", b"")])).revision
    lease = await store.grant(30)
    seen: list[Event] = []
    watching = asyncio.create_task(follow(store, root, start, seen))
    await asyncio.sleep(0.2)
    whole.signal(paused, signal.SIGSTOP)
    began = time.monotonic()
    assert await store.keep_alive(lease.id) == 30
    renewed = time.monotonic() - began
    await put_surely(store, root + "after", b"x")
    written = time.monotonic() - began
    await eventually(lambda: seen, 15)
    print(f"leader paused: lease renewed after {renewed:.1f} s, written after {written:.1f} s")
    only_paused = await whole.client(places=[paused])
    whole.signal(paused, signal.SIGCONT)
    # The old leader wakes and believes in itself. Whoever asks it may get no answer, but no false one: what it
    # answers, it answers after it heard of its successor.
    found = await only_paused.get(root + "after")
    assert found is not None
    await only_paused.close()
    watching.cancel()
    await store.close()


async def test_a_leader_without_a_quorum_renews_no_lease_and_commits_nothing(whole: Cluster, root: str) -> None:
    lonely = await whole.settled()
    store = await whole.client(places=[lonely], budget=1.5)
    lease = await store.grant(60)
    await store.commit([], [Put(root + "a", b"before")])
    await asyncio.sleep(1.1)  # past the proof that the write left behind
    for other in others(whole, lonely):
        whole.signal(other, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable):
        await store.keep_alive(lease.id)  # etcd itself would have renewed it here
    with pytest.raises(StoreUnavailable):
        await store.commit([], [Put(root + "a", b"lost")])
    with pytest.raises(StoreUnavailable):
        await store.get(root + "a")
    for other in others(whole, lonely):
        whole.signal(other, signal.SIGCONT)
    await whole.settled()
    found = await store.get(root + "a")
    assert found and found.value == b"before", "what was called unavailable did not happen"
    await store.close()


async def test_a_write_to_a_member_cut_from_its_leader_goes_elsewhere(whole: Cluster, root: str) -> None:
    """Both neighbours of a follower are paused for it alone: here, the follower itself is paused, which to its
    client is the same silence."""
    leader = await whole.settled()
    silent = others(whole, leader)[0]
    store = await whole.client(places=[silent, leader])
    await store.commit([], [Put(root + "a", b"1")])
    await asyncio.sleep(1.1)
    whole.signal(silent, signal.SIGSTOP)
    began = time.monotonic()
    done = await store.commit([], [Put(root + "a", b"2")])
    assert done.succeeded, "moved on before the request was sent, so the outcome is known"
    print(f"silent member left after {time.monotonic() - began:.1f} s")
    await store.close()


async def test_without_any_member_it_says_so_within_the_budget(whole: Cluster, root: str) -> None:
    store = await whole.client(budget=1)
    await store.get(root)
    for place in whole.places:
        whole.signal(place, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable, match="no etcd member"):
        await asyncio.wait_for(store.get(root), 4)
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(store.list(root), 4)
    await store.close()


async def test_races_under_a_change_of_leader_lose_no_update(whole: Cluster, root: str) -> None:
    clients = [await whole.client() for _ in range(3)]
    await clients[0].commit([absent(root + "n")], [Put(root + "n", b"")])
    acknowledged: list[bytes] = []

    async def append(store: EtcdStore, name: str) -> None:
        for number in range(15):
            mark = f"{name}{number}".encode()
            while True:
                try:
                    found = await store.get(root + "n")
                    assert found
                    if mark in found.value.split(b" "):
                        break
                    more = found.value + b" " + mark
                    done = await store.commit([unchanged(root + "n", found.mod_revision)], [Put(root + "n", more)])
                    if done.succeeded:
                        break
                except (OutcomeUnknown, StoreUnavailable):
                    await asyncio.sleep(0.1)
            acknowledged.append(mark)
            await asyncio.sleep(0.02)

    working = [asyncio.create_task(append(client, name)) for client, name in zip(clients, "abc", strict=True)]
    await asyncio.sleep(0.2)
    whole.kill(await whole.settled())
    await asyncio.wait_for(asyncio.gather(*working), 40)
    found = await clients[0].get(root + "n")
    assert found
    marks = found.value.split()
    assert sorted(marks) == sorted(acknowledged) and len(set(marks)) == 45, "each once, none lost"
    for client in clients:
        await client.close()


# -- roles ---------------------------------------------------------------------------------------------------

WRITERS = {
    layout.resource("VirtualMachine", "x"): {"api"},
    layout.request("move", "x"): {"api", "controller"},
    layout.audit("x"): {"api"},
    layout.CONTROLLERS: {"controller"},
    layout.ticket("x"): {"controller"},
    layout.assignment("x"): {"controller"},
    layout.status("Host", "x"): {"controller"},
    layout.lease("x"): {"agent"},
    layout.report("x", "y"): {"agent"},
    layout.frozen("x", "y"): {"agent"},
    layout.quarantine("x", "y"): {"agent"},
    layout.steward("x"): {"agent"},
    layout.volume("x"): {"agent"},
    layout.cut("x"): {"agent"},
    layout.replica("x"): {"agent"},
    layout.event("x"): {"api", "controller", "agent"},
}


@pytest.mark.parametrize("role", ["api", "controller", "agent", "viewer"])
async def test_a_role_writes_its_keys_and_reads_all(whole: Cluster, role: str) -> None:
    store = await whole.client(role)
    for key, writers in WRITERS.items():
        if role in writers:
            assert (await store.commit([], [Put(key, b"")])).succeeded, key
        else:
            with pytest.raises(Permanent, match="may not"):
                await store.commit([], [Put(key, b"")])
    await store.list(layout.ROOT)
    async for _ in store.watch(layout.ROOT, (await store.list(layout.ROOT)).revision):
        break
    with pytest.raises(Permanent, match="may not"):
        await store.list("")
    with pytest.raises(Permanent, match="may not"):
        async for _ in store.watch("", 0):
            break
    await store.close()


async def test_a_name_without_a_role_reads_nothing(whole: Cluster) -> None:
    store = await whole.client("nobody")
    with pytest.raises(Permanent):
        await store.get(layout.ticket("x"))
    await store.close()


async def test_a_certificate_of_someone_else_is_not_let_in(
    whole: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Cluster(tmp_path_factory.mktemp("stranger"))  # has its own authority; not started
    folder, ca = stranger.folder, whole.folder / "ca" / "ca.crt"
    endpoints = [place.endpoint for place in whole.places]
    store = await EtcdStore.connect(endpoints, ca, folder / "root.crt", folder / "root.key", budget=2)
    with pytest.raises(StoreUnavailable):
        await store.get(layout.ROOT)
    await store.close()


async def test_a_missing_certificate_is_said_at_once(whole: Cluster) -> None:
    with pytest.raises(Permanent, match="certificate"):
        await whole.client("missing")
