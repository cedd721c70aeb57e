"""The region store in memory: the twin of etcd, held to the same conformance suite.

``Region`` is what the members of an etcd would hold together; each ``MemoryStore`` is one client of it,
with its own ``Link`` that can be cut or lose answers. Time is the Clock port's: it runs under virtual time.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from gemel.core.clock import Clock, SystemClock
from gemel.core.outcome import OutcomeUnknown
from gemel.core.signal import Signal
from gemel.core.store import (
    Batch,
    Committed,
    Compare,
    KeyValue,
    Lease,
    LeaseLost,
    Listing,
    StoreUnavailable,
    Write,
)
from gemel.store.state import StoreState


class Region:
    """One state, its clock, and the signal that tells watches of each change."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.state = StoreState()
        self.changed = Signal(clock)
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0

    def settled(self) -> StoreState:
        """The state as of now: leases that are due have ended."""
        if self.state.expire(self.clock.monotonic()):
            self.changed.notify()
        return self.state

    def arm(self) -> None:
        """Have someone look when the next lease is due, for watchers that would otherwise not be woken."""
        due = self.state.next_expiry()
        if due is None or (self._alarm is not None and not self._alarm.done() and self._alarm_at <= due):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = asyncio.create_task(self._expire(), name="memory store: leases")

    async def _expire(self) -> None:
        while (due := self.state.next_expiry()) is not None:
            self._alarm_at = due
            await self.clock.sleep(max(0.0, due - self.clock.monotonic()))
            self.settled()

    def stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


@dataclass
class Link:
    """What lies between a client and the region. Knobs for tests.

    ``up``: requests arrive. ``lose_answers``: so many of the next writes happen, but their answer is lost.
    ``patience``: seconds until a client gives up, as the real client's budget.
    """

    up: bool = True
    lose_answers: int = 0
    patience: float = 5.0


class MemoryStore:
    """A client of a Region. Clients that shall see each other's writes share one ``region``."""

    def __init__(self, clock: Clock | None = None, region: Region | None = None, progress_every: float = 1.0) -> None:
        self.region = region or Region(clock or SystemClock())
        self.link = Link()
        self._clock = clock or self.region.clock
        self._progress_every = progress_every
        self._closed = False
        self._owner = region is None

    async def get(self, key: str) -> KeyValue | None:
        return (await self._reach(f"read {key}")).get(key)

    async def list(self, prefix: str) -> Listing:
        return (await self._reach(f"list {prefix}")).list(prefix)

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Write]) -> Committed:
        state = await self._reach("commit")
        answer = state.commit(compares, writes)
        if answer.succeeded and writes:
            self.region.changed.notify()
            self.region.arm()
        await self._answer("commit")
        return answer

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Batch]:
        changed = self.region.changed
        while not self._closed:
            seen = changed.count
            if not self.link.up:
                await changed.wait(seen, self._progress_every)
                continue
            batch = self.region.settled().since(prefix, after)
            if batch.events:
                after = batch.revision
                yield batch
                continue
            after = batch.revision
            if not await changed.wait(changed.count, self._progress_every) and self.link.up:
                yield Batch(after, ())

    async def grant(self, ttl: float) -> Lease:
        state = await self._reach("grant a lease")
        lease = state.grant(ttl, self._clock.monotonic())
        self.region.arm()
        await self._answer_or_unavailable("grant a lease")
        return Lease(lease, ttl)

    async def keep_alive(self, lease_id: int) -> float:
        state = await self._reach(f"renew lease {lease_id:x}")
        ttl = state.keep_alive(lease_id, self._clock.monotonic())
        await self._answer_or_unavailable(f"renew lease {lease_id:x}")
        return ttl

    async def revoke(self, lease_id: int) -> None:
        state = await self._reach(f"revoke lease {lease_id:x}")
        try:
            state.revoke(lease_id)
        except LeaseLost:
            return  # gone is what was asked for
        self.region.changed.notify()
        await self._answer(f"revoke lease {lease_id:x}")

    async def compact(self, revision: int) -> None:
        """Forget history up to ``revision``; what etcd does by itself."""
        (await self._reach("compact")).compact(revision)

    async def close(self) -> None:
        self._closed = True
        self.region.changed.notify()
        if self._owner:
            self.region.stop()

    async def _reach(self, what: str) -> StoreState:
        await asyncio.sleep(0)  # a real client always gives way here, so callers must bear it with this one too
        if self._closed:
            raise StoreUnavailable(f"cannot {what}: this store client is closed")
        if not self.link.up:
            await self._give_up(what)
        return self.region.settled()

    async def _give_up(self, what: str) -> None:
        await self._clock.sleep(self.link.patience)
        raise StoreUnavailable(f"cannot {what}: no store member answered within {self.link.patience:g} s")

    async def _answer_or_unavailable(self, what: str) -> None:
        """For what may be repeated without harm: an orphan lease ends by itself."""
        if self.link.lose_answers > 0:
            self.link.lose_answers -= 1
            await self._give_up(what)

    async def _answer(self, what: str) -> None:
        if self.link.lose_answers > 0:
            self.link.lose_answers -= 1
            await self._clock.sleep(self.link.patience)
            raise OutcomeUnknown(f"{what}: the answer was lost; read again before repeating it")
