"""The store in memory and the real etcd behind one harness: what the suite says, both must do."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from gemel.core.clock import SystemClock
from gemel.core.store import Store
from gemel.store.memory import MemoryStore, Region
from tests.conformance.store.cluster import Cluster, Wire


class Compacting(Store, Protocol):
    async def compact(self, revision: int) -> None: ...


class Harness(Protocol):
    """``ttl``: the least lease worth testing with, in seconds."""

    ttl: float
    root: str

    async def client(self) -> Compacting: ...

    async def fragile(self) -> Compacting:
        """A client whose link the following calls disturb."""
        ...

    def lose_answers(self) -> None: ...

    def cut(self) -> None: ...

    def mend(self) -> None: ...


class MemoryHarness:
    ttl = 0.5

    def __init__(self) -> None:
        self.root = "/gemel/v1/test/"
        self.region = Region(SystemClock())
        self._fragile: MemoryStore | None = None

    async def client(self) -> MemoryStore:
        return MemoryStore(region=self.region, progress_every=0.1)

    async def fragile(self) -> MemoryStore:
        self._fragile = await self.client()
        self._fragile.link.patience = 0.2
        return self._fragile

    @property
    def _link(self) -> MemoryStore:
        assert self._fragile is not None
        return self._fragile

    def lose_answers(self) -> None:
        self._link.link.lose_answers = 1

    def cut(self) -> None:
        self._link.link.up = False

    def mend(self) -> None:
        self._link.link.up = True
        self._link.link.lose_answers = 0


class EtcdHarness:
    ttl = 3.0

    def __init__(self, cluster: Cluster, stack: AsyncExitStack) -> None:
        self.root = f"/gemel/v1/test/{uuid.uuid4()}/"
        self._cluster, self._stack = cluster, stack
        self._wire = Wire(cluster.places[0])

    async def client(self) -> Compacting:
        store = await self._cluster.client()
        self._stack.push_async_callback(store.close)
        return store

    async def fragile(self) -> Compacting:
        await self._stack.enter_async_context(self._wire.running())
        store = await self._cluster.client(places=[self._wire.place], budget=1.5)
        self._stack.push_async_callback(store.close)
        return store

    def lose_answers(self) -> None:
        self._wire.swallow = True

    def cut(self) -> None:
        self._wire.cut()

    def mend(self) -> None:
        self._wire.mend()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("etcd"))
    try:
        for place in cluster.places:
            cluster.start(place)
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(params=["memory", "etcd"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    if request.param == "memory":
        memory = MemoryHarness()
        yield memory
        memory.region.stop()
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    await cluster.prepare()
    async with AsyncExitStack() as stack:
        yield EtcdHarness(cluster, stack)


@pytest.fixture
async def store(harness: Harness) -> Compacting:
    return await harness.client()


@pytest.fixture
def root(harness: Harness) -> str:
    """Where this test's keys stand."""
    return harness.root
