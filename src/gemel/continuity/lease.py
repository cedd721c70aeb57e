"""A host's lease: the proof that it still hears the quorum, and the end of its guests when it does not.

                +-----------------------------------------------------------+
                v                                                           |
    NONE --(no guest observed)--> ASKING --(key written)--> HELD --(deadline, or the store forgot it)--> FENCING
      ^                              |                        |                                            |
      |                              | no answer              | renewal answered before the deadline       |
      +------------------------------+                        +--> HELD                                    |
      +----------------------------(no guest observed: clean)----------------------------------------------+

Every life of the lease has its own incarnation. A new life begins only after this host was observed to run
nothing: what an earlier life was granted is dead. An agent that restarts within the deadline continues the
life that it finds in the lease file.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path

import structlog

from gemel.compute.kinds import HostLease
from gemel.continuity.authority import Holder, LeaseTerms
from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.identity import HostName, Incarnation, SiteName
from gemel.core.outcome import GemelError, OutcomeUnknown, Permanent
from gemel.core.signal import Signal
from gemel.core.store import LeaseLost, Put, Store, absent

log = structlog.get_logger("gemel.lease")


@dataclass(frozen=True, slots=True)
class Identity:
    host: HostName
    site: SiteName
    address: IPv4Address
    boot: str
    """Changes with every boot of the machine: what an earlier boot wrote down says nothing any more."""


@dataclass(frozen=True, slots=True)
class Life:
    """What the lease file says, for the watchdog and for an agent that restarts. Times are monotonic."""

    incarnation: str
    lease: int
    deadline: float
    watchdog_deadline: float
    boot: str
    key_revision: int


class LeaseFile:
    """The lease on tmpfs: written whole or not at all, and read by the watchdog."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, life: Life) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(life)))
        fresh.replace(self._path)

    def read(self) -> Life | None:
        try:
            return Life(**json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


class HostLeaseKeeper:
    """Keeps one host's lease. ``holder`` is the host's right at this moment; None when it has none.

    ``fence`` stops everything at once, without the event loop's help; ``clean`` returns when this host was
    observed to run no guest.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        terms: LeaseTerms,
        identity: Identity,
        file: LeaseFile,
        fence: Callable[[str], None],
        clean: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._terms = terms.checked()
        self._identity = identity
        self._file = file
        self._fence = fence
        self._clean = clean
        self._life: Life | None = None
        self.changed = Signal(clock)

    @property
    def holder(self) -> Holder | None:
        life = self._life
        if life is None or self._clock.monotonic() >= life.deadline:
            return None
        return Holder(self._identity.host, self._identity.site, Incarnation(life.incarnation), life.deadline)

    @property
    def key_revision(self) -> int:
        """The store revision at which this life's key was written: the guard of this host's reports."""
        return self._life.key_revision if self._life else 0

    async def run(self) -> None:
        """Until cancelled. Cancelling leaves the lease to its deadline, which the watchdog holds."""
        await self._continue()
        while True:
            if self._life is None:
                await self._begin()
            why = await self._hold()
            log.error("lease lost", why=why)
            self._life = None
            self._fence(why)
            self._file.remove()
            self.changed.notify()

    async def _continue(self) -> None:
        """Take up the life that an earlier process of this agent left, if it still lasts."""
        found = self._file.read()
        if found is None or found.boot != self._identity.boot or self._clock.monotonic() >= found.deadline:
            return
        self._life = found
        log.info("continuing the lease of an earlier process", incarnation=found.incarnation)
        self.changed.notify()

    async def _begin(self) -> None:
        """A new life: nothing runs here, the key of the last one is gone, the new key is written."""
        while True:
            await self._clean()
            try:
                if (life := await self._ask()) is not None:
                    self._life = life
                    self._file.write(life)
                    log.info("lease held", incarnation=life.incarnation)
                    self.changed.notify()
                    return
            except GemelError as error:
                log.warning("no lease yet", error=str(error))
            await self._clock.sleep(min(1.0, self._terms.renew_every))

    async def _ask(self) -> Life | None:
        key = layout.lease(self._identity.host)
        found = await self._store.get(key)
        if found is not None and found.lease:
            # An earlier life of this very host, which was observed clean a moment ago: end it now instead
            # of waiting for the store to forget it.
            await self._store.revoke(found.lease)
        sent = self._clock.monotonic()
        lease = await self._store.grant(self._terms.ttl)
        incarnation = Incarnation(secrets.token_hex(8))
        record = HostLease(
            host=self._identity.host,
            site=self._identity.site,
            incarnation=incarnation,
            address=self._identity.address,
            ttl=self._terms.ttl,
            boot_id=self._identity.boot,
        )
        try:
            done = await self._store.commit([absent(key)], [Put(key, record.to_json(), lease.id)])
            revision = done.revision if done.succeeded else 0
        except OutcomeUnknown:
            found = await self._store.get(key)
            revision = found.mod_revision if found and found.lease == lease.id else 0
        if not revision:
            return None
        if lease.ttl < self._terms.ttl:
            await self._store.revoke(lease.id)
            raise Permanent(
                f"the store grants {lease.ttl} s where {self._terms.ttl} s were asked: the terms do not hold"
            )
        return self._lived(sent, incarnation, lease.id, revision)

    def _lived(self, sent: float, incarnation: str, lease: int, revision: int) -> Life:
        """The life as it stands after the renewal sent at ``sent`` was answered."""
        deadline, last = self._terms.deadline(sent), self._terms.watchdog_deadline(sent)
        return Life(incarnation, lease, deadline, last, self._identity.boot, revision)

    async def _hold(self) -> str:
        """Renew until the deadline passes without an answer, or the store says that it is over; says why."""
        while (life := self._life) is not None:
            left = life.deadline - self._clock.monotonic()
            if left <= 0:
                return "no renewal was answered before the deadline"
            sent = self._clock.monotonic()
            try:
                renewed = await self._renew(life, left)
            except LeaseLost:
                return "the store has forgotten the lease"
            if renewed:
                if self._clock.monotonic() >= life.deadline:
                    return "the answer to the renewal came after the deadline"
                self._life = self._lived(sent, life.incarnation, life.lease, life.key_revision)
                self._file.write(self._life)
            left = self._life.deadline - self._clock.monotonic() if self._life else 0.0
            pause = self._terms.renew_every - (self._clock.monotonic() - sent)
            await self._clock.sleep(max(0.0, min(pause, left)) if renewed else min(0.2, max(0.0, left)))
        return "the lease was given up"

    async def _renew(self, life: Life, left: float) -> bool:
        """One renewal, never longer than the time that is left. False: nobody answered, which proves nothing."""
        asking = asyncio.ensure_future(self._store.keep_alive(life.lease))
        waiting = asyncio.ensure_future(self._clock.sleep(min(left, 2 * self._terms.call_timeout)))
        try:
            await asyncio.wait({asking, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return False
            asking.result()
            return True
        except LeaseLost:
            raise
        except GemelError as error:
            log.warning("renewal not answered", error=str(error), left=round(left, 2))
            return False
        finally:
            for task in (asking, waiting):
                task.cancel()
            await asyncio.gather(asking, waiting, return_exceptions=True)
