"""A watched copy of part of the region store, for level-triggered readers.

Lists once, then follows the watch; resumes by itself, and lists again when the store no longer keeps the
changes in between. Readers look at ``items`` and wait for ``changes`` to grow; they never see single events.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from gemel.core import layout
from gemel.core.clock import Clock, SystemClock
from gemel.core.outcome import GemelError
from gemel.core.signal import Signal
from gemel.core.store import Batch, Compacted, KeyValue, Listing, Store

log = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds between tries while the store is not reachable."""


class View:
    """Items under one or several prefixes, all as of one ``revision`` (one list and one watch of the longest
    common prefix; what lies under none of ``prefixes`` is not kept).

    Use as ``async with View(store, [TICKETS, LEASES]) as view: await view.ready()``, or run ``run()`` as a
    task of your own. Between two ``await`` of the reader everything it reads is of one revision.
    """

    def __init__(self, store: Store, prefixes: Sequence[str], clock: Clock | None = None) -> None:
        if not prefixes:
            raise ValueError("a view needs at least one prefix")
        self._store = store
        self._prefixes = tuple(prefixes)
        self._root = _common(self._prefixes)
        self._clock = clock or SystemClock()
        self._items: dict[str, KeyValue] = {}
        self._revision = 0
        self._fresh_at = float("-inf")
        self._listed = False
        self._signal = Signal(self._clock)
        self._lists = 0
        self._touched: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    @property
    def revision(self) -> int:
        """The store revision that the items are of; 0 before the first list."""
        return self._revision

    @property
    def fresh_at(self) -> float:
        """Monotonic time of the last word from the store; minus infinity before the first."""
        return self._fresh_at

    @property
    def changes(self) -> int:
        """Grows with every change of what the view shows."""
        return self._signal.count

    def touched(self, prefixes: Sequence[str]) -> int:
        """Grows with every change under these prefixes, and with every new list: for a reader that is woken
        by every change but concerned by few. Counted to the depth of the prefixes that stand in core.layout."""
        return self._lists + sum(self._touched[prefix] for prefix in prefixes)

    def items(self, prefix: str = "") -> Mapping[str, KeyValue]:
        """What stands under ``prefix`` now, in key order; a copy that does not change any more."""
        return {key: self._items[key] for key in sorted(self._items) if key.startswith(prefix)}

    def get(self, key: str) -> KeyValue | None:
        return self._items.get(key)

    async def ready(self, timeout: float | None = None) -> bool:
        """Wait for the first list; False when it did not come within ``timeout`` seconds."""
        return self._listed or await self._signal.wait(0, timeout)

    async def wait_change(self, timeout: float | None = None, seen: int | None = None) -> bool:
        """True as soon as ``changes`` exceeds ``seen`` (by default: from now on); False after ``timeout``.

        A reader that awaits anything between reading and waiting passes the ``changes`` from before it read.
        """
        return await self._signal.wait(self.changes if seen is None else seen, timeout)

    async def run(self) -> None:
        """Follow the store until cancelled. An unreachable store is waited for: the items grow stale, which
        ``fresh_at`` tells."""
        while True:
            try:
                self._show(await self._store.list(self._root))
                await self._follow()
            except Compacted:
                log.info("view of %s: changes were compacted, listing again", self._root)
            except GemelError as error:
                log.warning("view of %s is stale: %s", self._root, error)
                await self._clock.sleep(RETRY)

    async def _follow(self) -> None:
        while True:
            try:
                async for batch in self._store.watch(self._root, self._revision):
                    self._apply(batch)
            except Compacted:
                raise
            except GemelError as error:
                log.warning("watch of %s broke, resuming after %d: %s", self._root, self._revision, error)
            await self._clock.sleep(RETRY)

    def _show(self, listing: Listing) -> None:
        self._items = {item.key: item for item in listing.items if self._kept(item.key)}
        self._revision = listing.revision
        self._fresh_at = self._clock.monotonic()
        self._listed = True
        self._lists += 1
        self._signal.notify()

    def _apply(self, batch: Batch) -> None:
        kept = [event for event in batch.events if self._kept(event.key)]
        for event in kept:
            self._touched[_room(event.key)] += 1
            if event.value is None:
                self._items.pop(event.key, None)
            else:
                self._items[event.key] = event.value
        self._revision = max(self._revision, batch.revision)
        self._fresh_at = self._clock.monotonic()
        if kept:
            self._signal.notify()

    def _kept(self, key: str) -> bool:
        return key.startswith(self._prefixes)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name=f"view of {self._root}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


def _room(key: str) -> str:
    """The part of the layout that a key stands in: ``/gemel/v1/tickets/bank`` -> ``/gemel/v1/tickets/``."""
    end = key.find("/", len(layout.ROOT))
    return key if end < 0 else key[: end + 1]


def _common(prefixes: Sequence[str]) -> str:
    """The longest string that all of them start with (keys are strings, not paths)."""
    first, last = min(prefixes), max(prefixes)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]
