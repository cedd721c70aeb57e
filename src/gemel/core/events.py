"""What happened, for people: kept for an hour in the region store, shown by ``gemel events`` and ``describe``.

Events decide nothing and are best effort: a caller never fails because an event could not be kept. What must
not be lost (who changed what) is the audit trail's, and what must be acted on is a record's.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

import structlog

from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.outcome import GemelError
from gemel.core.resource import Model
from gemel.core.store import LeaseLost, Put, Store

EVENT_LIFE = 3600.0
"""Seconds for which an event is kept."""
LEASE_SHARED_FOR = 600.0
"""Seconds during which one lease serves all events of a process: a lease an event would cost the store more
than the event does. The lease lives this much longer than ``EVENT_LIFE``, so none is forgotten early."""


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


class About(Model):
    """The resource or record that an event tells of. ``kind`` as in the catalog."""

    kind: str
    name: str


class Event(Model):
    """``reason`` is one CamelCase word that scripts may rely on; ``message`` is for people."""

    at: datetime
    type: EventType = EventType.NORMAL
    reason: str
    about: About
    epoch: int | None = None
    message: str
    source: str
    """The process that saw it, and where: ``agent par1-1``."""


def sortable_id(at: datetime, token: str | None = None) -> str:
    """Sorts as text in the order of time, to the microsecond: ``20260102T030405.000006Z-1f2e3d4c``."""
    moment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{moment}-{token or secrets.token_hex(4)}"


async def record(store: Store, event: Event, lease: int | None = None) -> str:
    """Keep one event and return its id. Raises the store's errors; ``Recorder`` is for who must not fail."""
    if lease is None:
        lease = (await store.grant(EVENT_LIFE)).id
    identity = sortable_id(event.at)
    await store.commit([], [Put(layout.event(identity), event.to_json(), lease)])
    return identity


class Recorder:
    """A process's pen. Never raises: an event that cannot be kept is logged instead."""

    def __init__(
        self, store: Store, source: str, clock: Clock, token: Callable[[], str] = lambda: secrets.token_hex(4)
    ) -> None:
        self._store = store
        self._source = source
        self._clock = clock
        self._token = token
        self._lease: int | None = None
        self._lease_until = 0.0
        self._log = structlog.get_logger("gemel.events")

    async def normal(self, about: About, reason: str, message: str, epoch: int | None = None) -> None:
        await self._write(EventType.NORMAL, about, reason, message, epoch)

    async def warning(self, about: About, reason: str, message: str, epoch: int | None = None) -> None:
        await self._write(EventType.WARNING, about, reason, message, epoch)

    async def _write(self, severity: EventType, about: About, reason: str, message: str, epoch: int | None) -> None:
        event = Event(
            at=self._clock.wall(),
            type=severity,
            reason=reason,
            about=about,
            epoch=epoch,
            message=message,
            source=self._source,
        )
        fields = {"about": f"{about.kind}/{about.name}", "reason": reason, "message": message, "epoch": epoch}
        self._log.log(30 if severity is EventType.WARNING else 20, "event", **fields)
        try:
            await self._keep(event)
        except GemelError as error:
            self._log.warning("event not kept", error=str(error), **fields)

    async def _keep(self, event: Event) -> None:
        put_at = layout.event(sortable_id(event.at, self._token()))
        try:
            await self._store.commit([], [Put(put_at, event.to_json(), await self._shared_lease())])
        except LeaseLost:
            self._lease = None
            await self._store.commit([], [Put(put_at, event.to_json(), await self._shared_lease())])

    async def _shared_lease(self) -> int:
        now = self._clock.monotonic()
        if self._lease is None or now >= self._lease_until:
            self._lease = (await self._store.grant(EVENT_LIFE + LEASE_SHARED_FOR)).id
            self._lease_until = now + LEASE_SHARED_FOR
        return self._lease
