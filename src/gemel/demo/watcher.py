"""Everything that the region's records become, with the time at which it was seen: what the demo waits for
and measures from. It reads the store member of the site that survives, so that the cut of the other one
does not blind it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gemel.catalog.records import Records
from gemel.core import layout
from gemel.core.outcome import GemelError, Retryable
from gemel.core.store import Compacted, KeyValue, Store
from gemel.demo.breakdown import Sighting
from gemel.store.etcd import EtcdStore

_AGAIN = 0.3
_KEPT = (
    layout.LEASES,
    layout.TICKETS,
    layout.ASSIGNMENTS,
    layout.REPORTS,
    layout.VOLUMES,
    layout.CUTS,
    layout.REPLICAS,
    layout.QUARANTINE,
)
"""Of these the whole story is kept; of the rest only how it is now."""


class Watcher:
    """``start`` it once; ``stop`` it at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._items: dict[str, KeyValue] = {}
        self._revision = 0
        self._story: list[Sighting] = []
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, endpoint: str, pki: Path) -> "Watcher":
        """With the installer's certificate, which only root on this machine can read."""
        store = await EtcdStore.connect(
            [endpoint], pki / "ca.crt", pki / "root.crt", pki / "root.key", call_timeout=2.0, budget=10.0
        )
        return cls(store)

    def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="watcher")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(GemelError):
            await self._store.close()

    @property
    def story(self) -> tuple[Sighting, ...]:
        return tuple(self._story)

    def records(self) -> Records:
        return Records(dict(self._items), self._revision)

    async def until(self, what: str, seen: Callable[[Records], str], within: float) -> None:
        """Wait until ``seen`` returns an empty string; it returns what is missing. Looks at every change, and
        at times without one, since ages change too. Raises Retryable that says what is missing."""
        deadline = time.monotonic() + within
        while missing := seen(self.records()):
            left = deadline - time.monotonic()
            if left <= 0:
                raise Retryable(f"waited {within:.0f} s for {what}: {missing}")
            async with self._changed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), min(left, 0.5))

    async def _follow(self) -> None:
        while True:
            try:
                await self._list()
                async for batch in self._store.watch(layout.ROOT, self._revision):
                    now = time.monotonic()
                    for event in batch.events:
                        self._see(now, event.key, event.value)
                    self._revision = batch.revision
                    await self._tell()
            except Compacted:
                continue  # list anew
            except GemelError:
                await asyncio.sleep(_AGAIN)

    async def _list(self) -> None:
        listing = await self._store.list(layout.ROOT)
        now = time.monotonic()
        present = {item.key: item for item in listing.items}
        for key in self._items.keys() - present.keys():
            self._see(now, key, None)
        for key, item in present.items():
            if self._items.get(key) != item:
                self._see(now, key, item)
        self._revision = listing.revision
        await self._tell()

    def _see(self, at: float, key: str, item: KeyValue | None) -> None:
        if item is None:
            self._items.pop(key, None)
        else:
            self._items[key] = item
        if key.startswith(_KEPT):
            self._story.append(Sighting(at, key, item))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
