import asyncio

import pytest
from tests.waiting import eventually

from gemel.catalog.records import Records
from gemel.compute.kinds import HostLease
from gemel.core import layout
from gemel.core.clock import SystemClock
from gemel.core.identity import HostName, Incarnation, SiteName
from gemel.core.outcome import Retryable
from gemel.core.store import Delete, Put
from gemel.demo.watcher import Watcher
from gemel.store.memory import MemoryStore

LEASE = layout.lease("par1-1")
VALUE = HostLease(
    host=HostName("par1-1"),
    site=SiteName("par1"),
    incarnation=Incarnation("i"),
    address="198.18.1.11",  # type: ignore[arg-type]
    ttl=10.0,
).to_json()


def nobody(records: Records) -> str:
    return "" if records.leases else "nobody holds a lease"


async def test_it_waits_for_what_comes_and_keeps_the_story() -> None:
    store = MemoryStore(SystemClock())
    watcher = Watcher(store)
    watcher.start()
    try:
        waiting = asyncio.create_task(watcher.until("a lease", nobody, 10.0))
        await store.commit([], [Put(LEASE, VALUE), Put(layout.event("1"), b"{}")])
        await waiting
        await store.commit([], [Delete(LEASE)])
        await eventually(lambda: len(watcher.story) == 2, within=10)
        assert [(each.key, each.item is None) for each in watcher.story] == [(LEASE, False), (LEASE, True)]
        assert watcher.story[0].at <= watcher.story[1].at
        assert not watcher.records().leases
    finally:
        await watcher.stop()


async def test_what_is_missing_is_said_when_time_is_up() -> None:
    watcher = Watcher(MemoryStore(SystemClock()))
    watcher.start()
    try:
        with pytest.raises(Retryable, match="a lease: nobody holds a lease"):
            await watcher.until("a lease", nobody, 0.05)
    finally:
        await watcher.stop()
