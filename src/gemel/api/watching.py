"""Watches: one kind's objects as server-sent events, resumable at a revision.

An object shows in several records, so a watch follows all of them and rebuilds what a change touched. It is
level-triggered: after a gap the object is told as it is now, once, not each state that it went through.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gemel.api.reading import read_records, sources_of
from gemel.catalog.kind import Kind
from gemel.catalog.objects import Object, name_at, object_of, objects, primary_key
from gemel.catalog.records import Records
from gemel.catalog.touches import touched
from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.outcome import GemelError
from gemel.core.resource import API_VERSION
from gemel.core.store import Batch, Compacted, Store

SIGN_OF_LIFE = 10.0
"""Seconds of quiet after which a watcher is told that nothing happened."""
LOOK = 0.25
"""Seconds to wait for the store to refuse a revision that it does not keep, before the answer begins."""
BEHIND = 1000
"""Batches kept for a watcher that reads slowly; then the store's watch waits for it."""
VOLATILE = ("replicaAgeSeconds", "ageSeconds")
"""Grow by themselves: no change is told for them."""


@dataclass(frozen=True, slots=True)
class Seen:
    type: str
    object: Object | None
    revision: int

    def render(self) -> str:
        body: dict[str, Any] = {"type": self.type, "revision": self.revision}
        if self.object is not None:
            body["object"] = self.object
        return f"id: {self.revision}\ndata: {json.dumps(body, separators=(',', ':'))}\n\n"


class Picture:
    """A kind's objects as a watcher knows them, and the records that they are shown from."""

    def __init__(self, kind: Kind, records: Records, after: int | None, clock: Clock) -> None:
        self._kind = kind
        self._records = records
        self._clock = clock
        self._after = records.revision if after is None else after
        self._known: dict[str, Object] = {}
        self._told: set[str] = set()
        if after is None or after >= records.revision:
            self._known = {found["metadata"]["name"]: found for found in objects(kind, records, clock.wall())}

    def first(self) -> list[Seen]:
        """All there is, for who starts without a list."""
        return [Seen("ADDED", found, self._records.revision) for found in self._known.values()]

    def advance(self, batch: Batch) -> list[Seen]:
        """What a batch changes in the picture. Batches of before the list tell names, not states."""
        sources = sources_of(self._kind)
        keys = [event.key for event in batch.events if event.key.startswith(sources)]
        before = self._records
        self._records = _applied(before, batch, sources)
        names = {name for key in keys for at in (before, self._records) for name in touched(self._kind, key, at)}
        return [seen for name in sorted(names) if (seen := self._look(name, batch, keys)) is not None]

    def _look(self, name: str, batch: Batch, keys: Iterable[str]) -> Seen | None:
        found = object_of(self._kind, name, self._records, self._clock.wall())
        known = self._known.pop(name, None)
        if found is None:
            own = any(name_at(self._kind, key) == name for key in keys)
            if known is None and not own:
                return None
            return Seen("DELETED", known or self._stub(name), batch.revision)
        self._known[name] = found
        if known is not None:
            return Seen("MODIFIED", found, batch.revision) if _steady(known) != _steady(found) else None
        return Seen(self._birth(name), found, batch.revision)

    def _birth(self, name: str) -> str:
        """A resuming watcher may know an object that this picture has not shown it yet."""
        item = self._records.items.get(primary_key(self._kind, name))
        return "ADDED" if item is None or item.create_revision > self._after else "MODIFIED"

    def _stub(self, name: str) -> Object:
        return {"apiVersion": API_VERSION, "kind": self._kind.name, "metadata": {"name": name}}


def _applied(records: Records, batch: Batch, sources: tuple[str, ...]) -> Records:
    items = dict(records.items)
    for event in batch.events:
        have = items.get(event.key)
        if not event.key.startswith(sources) or (have is not None and have.mod_revision > event.revision):
            continue  # the list was newer than this event
        if event.value is None:
            items.pop(event.key, None)
        elif have is not None or event.revision > records.revision:
            items[event.key] = event.value
    return Records(items, max(records.revision, batch.revision))


def _steady(found: Object) -> Object:
    status = {field: value for field, value in (found.get("status") or {}).items() if field not in VOLATILE}
    return {**found, "status": status}


@asynccontextmanager
async def following(store: Store, after: int) -> AsyncIterator["asyncio.Queue[Batch | GemelError]"]:
    """The store's batches in a queue; an error ends them and comes last."""
    queue: asyncio.Queue[Batch | GemelError] = asyncio.Queue(BEHIND)

    async def pump() -> None:
        try:
            async for batch in store.watch(layout.ROOT, after):
                await queue.put(batch)
        except GemelError as error:
            await queue.put(error)

    task = asyncio.create_task(pump(), name=f"watch after {after}")
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Watch:
    """``open`` it (which raises Compacted, so that the answer can be 410), then stream ``lines``."""

    def __init__(self, store: Store, kind: Kind, after: int | None, clock: Clock, limit: float | None) -> None:
        self._store = store
        self._kind = kind
        self._after = after
        self._clock = clock
        self._limit = limit

    async def open(self) -> AsyncIterator[str]:
        records = await read_records(self._store, sources_of(self._kind))
        picture = Picture(self._kind, records, self._after, self._clock)
        start = records.revision if self._after is None else self._after
        lines = self._lines(picture, start)
        if self._after is not None and self._after < records.revision:
            await self._refuse_if_compacted(start)
        return lines

    async def _refuse_if_compacted(self, start: int) -> None:
        async with following(self._store, start) as queue:
            try:
                first = await asyncio.wait_for(queue.get(), LOOK)
            except TimeoutError:
                return
            if isinstance(first, Compacted):
                raise first

    async def _lines(self, picture: Picture, start: int) -> AsyncIterator[str]:
        if self._after is None:
            for seen in picture.first():
                yield seen.render()
        yield Seen("PROGRESS", None, start).render()
        loop = asyncio.get_running_loop()
        until = None if self._limit is None else loop.time() + self._limit
        async with following(self._store, start) as queue:
            while until is None or loop.time() < until:
                quiet = SIGN_OF_LIFE if until is None else min(SIGN_OF_LIFE, until - loop.time())
                try:
                    batch = await asyncio.wait_for(queue.get(), quiet)
                except TimeoutError:
                    yield ": nothing happened\n\n"
                    continue
                if isinstance(batch, GemelError):
                    yield _ended(batch)
                    return
                for seen in picture.advance(batch):
                    yield seen.render()


def _ended(error: GemelError) -> str:
    """Compacted: list again. Anything else: resume where it ended, at this API or the other."""
    gone = isinstance(error, Compacted)
    body = {"type": "ERROR", "code": 410 if gone else 503, "message": str(error)}
    return f"data: {json.dumps(body)}\n\n"
