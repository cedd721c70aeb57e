"""Leader election over the Store port: one key, held on a lease.

The winner leads until its own deadline, ``time the last successful renewal was SENT + ttl - margin``, by the
same rule as a host's lease: it stops before the store can forget it. What it commits in between carries
``guard()``, so that a leader that was paused past its deadline changes nothing.

      campaign ----------> leading ----- resign -----> over
         ^   (key absent)     |
         |                    +-- deadline passed, lease forgotten, key gone or another's --> over
         +--------------------------------- campaign again --------------------------------------+
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gemel.core.clock import Clock, SystemClock
from gemel.core.outcome import GemelError, OutcomeUnknown, Permanent
from gemel.core.signal import Signal
from gemel.core.store import Compare, LeaseLost, Put, Store, absent, same_creation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leadership:
    """One term: the election's key as this term created it, and the lease that it stands on."""

    key: str
    create_revision: int
    lease: int

    def guard(self) -> Compare:
        """Holds only while this term lasts. Every commit of a leader carries it."""
        return same_creation(self.key, self.create_revision)


@dataclass(frozen=True, slots=True)
class Terms:
    """Times of an election, in seconds. ``margin`` covers the rate error of clocks and the time to stop."""

    ttl: float = 10.0
    margin: float = 2.0
    renew_every: float = 2.0
    look_every: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.margin < self.ttl or not 0 < self.renew_every < self.ttl - self.margin:
            raise Permanent(
                f"election with ttl {self.ttl:g} s, margin {self.margin:g} s, renewal every "
                f"{self.renew_every:g} s cannot be safe: need 0 < margin < ttl and renewal < ttl - margin"
            )


class Election:
    """A candidate. ``campaign`` until elected, work while ``leading``, ``wait_lost`` tells of the end."""

    def __init__(
        self, store: Store, key: str, identity: str, clock: Clock | None = None, terms: Terms | None = None
    ) -> None:
        self._store = store
        self._key = key
        self._identity = identity.encode()
        self._clock = clock or SystemClock()
        self._terms = terms or Terms()
        self._term: Leadership | None = None
        self._deadline = float("-inf")
        self._over = Signal(self._clock)
        self._renewal: asyncio.Task[None] | None = None

    @property
    def leadership(self) -> Leadership | None:
        """The current term, or None. By the own deadline, whatever the store or other tasks are doing."""
        return self._term if self._clock.monotonic() < self._deadline else None

    @property
    def leading(self) -> bool:
        return self.leadership is not None

    @property
    def deadline(self) -> float:
        """Monotonic time until which this candidate leads; minus infinity when it does not."""
        return self._deadline

    async def leader(self) -> str | None:
        """Who leads as the store knows it."""
        found = await self._store.get(self._key)
        return found.value.decode() if found else None

    async def campaign(self) -> Leadership:
        """Wait until elected. Survives an unreachable store; ends a term of its own first."""
        await self.resign()
        while True:
            try:
                if await self._store.get(self._key) is None and (term := await self._try()) is not None:
                    return term
                await self._wait_vacant()
            except GemelError as error:
                log.info("election %s: %s", self._key, error)
                await self._clock.sleep(self._terms.look_every)

    async def _try(self) -> Leadership | None:
        sent = self._clock.monotonic()
        lease = await self._store.grant(self._terms.ttl)
        try:
            done = await self._store.commit([absent(self._key)], [Put(self._key, self._identity, lease.id)])
            created = done.revision if done.succeeded else 0
        except OutcomeUnknown:
            found = await self._store.get(self._key)
            created = found.create_revision if found and found.lease == lease.id else 0
        deadline = sent + lease.ttl - self._terms.margin
        if not created or self._clock.monotonic() >= deadline:
            await self._forget(lease.id)
            return None
        self._term, self._deadline = Leadership(self._key, created, lease.id), deadline
        self._renewal = asyncio.create_task(self._renew(self._term), name=f"election {self._key}")
        log.info("election %s: %s leads from revision %d", self._key, self._identity.decode(), created)
        return self._term

    async def _wait_vacant(self) -> None:
        """Return when the key is seen deleted, or after ``look_every``: a watch may be silent for long."""
        listing = await self._store.list(self._key)
        if not any(item.key == self._key for item in listing.items):
            return
        watching = asyncio.create_task(self._see_deletion(listing.revision))
        looking = asyncio.create_task(self._clock.sleep(self._terms.look_every))
        try:
            await asyncio.wait({watching, looking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            looking.cancel()
            await asyncio.gather(watching, looking, return_exceptions=True)

    async def _see_deletion(self, after: int) -> None:
        async for batch in self._store.watch(self._key, after):
            if any(event.key == self._key and event.value is None for event in batch.events):
                return

    async def _renew(self, term: Leadership) -> None:
        """Keep the term until it is lost, and end it at its deadline even if a renewal hangs."""
        keeping = asyncio.create_task(self._keep(term))
        try:
            while not keeping.done() and (left := self._deadline - self._clock.monotonic()) > 0:
                alarm = asyncio.create_task(self._clock.sleep(left))
                await asyncio.wait({keeping, alarm}, return_when=asyncio.FIRST_COMPLETED)
                alarm.cancel()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        self._end(term)

    async def _keep(self, term: Leadership) -> None:
        """Returns when the store says that the term is over."""
        while True:
            await self._clock.sleep(self._terms.renew_every)
            sent = self._clock.monotonic()
            try:
                ttl = await self._store.keep_alive(term.lease)
                if self._clock.monotonic() >= self._deadline:
                    return  # an answer after the deadline does not revive a term that others saw ended
                self._deadline = max(self._deadline, sent + ttl - self._terms.margin)
                found = await self._store.get(term.key)
                if found is None or found.create_revision != term.create_revision:
                    return
            except LeaseLost:
                return
            except GemelError as error:
                log.warning("election %s: renewal failed: %s", term.key, error)

    def _end(self, term: Leadership) -> None:
        if self._term is term:
            log.warning("election %s: the term from revision %d is over", term.key, term.create_revision)
            self._term, self._deadline = None, float("-inf")
            self._over.notify()

    async def wait_lost(self) -> None:
        """Return when this candidate does not lead (any more)."""
        seen = self._over.count
        while self.leading:
            await self._over.wait(seen, max(0.0, self._deadline - self._clock.monotonic()))

    async def resign(self) -> None:
        """Stop leading now, and let the others know. The caller has stopped its work before."""
        term, self._term, self._deadline = self._term, None, float("-inf")
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
            self._renewal = None
        if term is not None:
            self._over.notify()
            await self._forget(term.lease)

    async def _forget(self, lease: int) -> None:
        try:
            await self._store.revoke(lease)
        except GemelError as error:
            log.info("election %s: lease %x was not revoked and will expire: %s", self._key, lease, error)

    async def lead(self, work: Callable[[Leadership], Awaitable[None]]) -> None:
        """Campaign, work, and again, until cancelled. ``work`` is cancelled when its term is lost; when it
        returns, the term is resigned; what it raises is raised."""
        while True:
            term = await self.campaign()
            working = asyncio.ensure_future(work(term))
            losing = asyncio.create_task(self.wait_lost())
            try:
                await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                losing.cancel()
                working.cancel()
                await asyncio.gather(working, losing, return_exceptions=True)
                await self.resign()
            if not working.cancelled():
                working.result()
