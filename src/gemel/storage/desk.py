"""What every act of a steward needs: its engines, its term, and commits that prove both are still good."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.election import Leadership
from gemel.core.events import About, Recorder
from gemel.core.identity import HostName, SiteName
from gemel.core.outcome import Conflict, Retryable
from gemel.core.resource import Model
from gemel.core.store import Compare, Delete, Put, Store, Write, unchanged
from gemel.core.view import View
from gemel.storage.bases import Bases
from gemel.storage.neighbours import TicketReading
from gemel.storage.ports import Fence, Images, Transport
from gemel.storage.scene import Kept, Scene, SceneReader

log = structlog.get_logger("gemel.steward")

CATCH_UP = 3.0
"""Seconds to wait for the view to show a commit of ours; later it is planned from what it shows."""


@dataclass(frozen=True, slots=True)
class Change:
    """A record to write (None: to delete) and the revision as it was read; 0 when it did not exist."""

    key: str
    value: Model | None
    revision: int


@dataclass
class Desk:
    """One steward's term. ``authority`` is the host's own right to act, asked before every effect."""

    site: SiteName
    host: HostName
    store: Store
    view: View
    images: Images
    fence: Fence
    transport: Transport
    bases: Bases
    clock: Clock
    recorder: Recorder
    term: Leadership
    authority: Callable[[], bool]
    reader: SceneReader = field(default_factory=SceneReader)
    _fenced: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)
    _clean: set[tuple[str, str]] = field(default_factory=set)

    def scene(self) -> Scene:
        return self.reader.read(self.view.items())

    def check(self) -> None:
        if not self.authority():
            raise Retryable(f"host {self.host} may not act for {self.site} now: its lease or its term is over")

    async def commit(self, ticket: Kept[TicketReading], changes: Sequence[Change], also: Sequence[Compare] = ()) -> int:
        """All changes, or Conflict: if this term, the ticket and every record are as they were read. Returns
        the revision at which they stand, seen by the view already in the common case."""
        self.check()
        compares = [self.term.guard(), unchanged(layout.ticket(ticket.value.application), ticket.revision), *also]
        compares += [unchanged(change.key, change.revision) for change in changes]
        done = await self.store.commit(compares, [_write(change) for change in changes])
        if not done.succeeded:
            keys = ", ".join(change.key for change in changes)
            raise Conflict(f"{keys}: the ticket, the record or this steward's term changed meanwhile")
        await self.caught_up(done.revision)
        return done.revision

    async def caught_up(self, revision: int) -> None:
        until = self.clock.monotonic() + CATCH_UP
        while self.view.revision < revision and (left := until - self.clock.monotonic()) > 0:
            await self.view.wait_change(left, self.view.changes)

    async def take_over(self, pool: str, image: str) -> None:
        """Once a term and image: whoever of an earlier term still writes it is shut out, for a late write
        under a newer snapshot would spoil every difference after it."""
        key = (pool, image)
        async with self._fenced.setdefault(key, asyncio.Lock()):
            if key in self._clean:
                return
            self.check()
            for address in await self.fence.ensure_exclusive(pool, image):
                log.warning("fenced a writer of an earlier term", pool=pool, image=image, address=address)
            self._clean.add(key)

    async def tell(self, application: str, reason: str, message: str, epoch: int, warning: bool = False) -> None:
        write = self.recorder.warning if warning else self.recorder.normal
        await write(About(kind="Application", name=application), reason, message, epoch)


async def all_of(acts: Iterable[Awaitable[None]]) -> None:
    """Together; every one has ended when this ends, also when one failed."""
    for outcome in await asyncio.gather(*acts, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _write(change: Change) -> Write:
    return Delete(change.key) if change.value is None else Put(change.key, change.value.to_json())
