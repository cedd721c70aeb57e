"""Who changed what: a record in the same transaction as the change, and one for what was denied.

``audit/head`` names the last record of a change. Every change compares it as read and replaces it, so that
changes form one chain. It is also why a change may be validated against *everything* declared at the price
of one comparison: ``resources/`` is written by nobody but the API, and never without moving the head.
"""

from datetime import datetime
from enum import StrEnum

from gemel.api.tokens import Identity
from gemel.catalog.changes import Change
from gemel.core import layout, logs
from gemel.core.clock import Clock
from gemel.core.events import sortable_id
from gemel.core.outcome import GemelError
from gemel.core.resource import Model
from gemel.core.store import Compare, Delete, KeyValue, Put, Store, unchanged

log = logs.get("gemel.api.audit")

HEAD = layout.audit("head")


class Outcome(StrEnum):
    DONE = "done"
    DENIED = "denied"


class AuditChange(Model):
    """``before``: the resource version that was replaced. The one after it is the record's own revision."""

    verb: str
    kind: str
    name: str
    action: str
    before: int | None = None
    detail: str = ""


class AuditRecord(Model):
    at: datetime
    user: str
    role: str
    outcome: Outcome
    changes: tuple[AuditChange, ...]
    previous: str = ""
    """The record that the head named before this one."""


def record_of(
    identity: Identity, changes: tuple[Change, ...], at: datetime, outcome: Outcome, previous: str = ""
) -> AuditRecord:
    return AuditRecord(
        at=at,
        user=identity.user,
        role=identity.role.word,
        outcome=outcome,
        changes=tuple(
            AuditChange(verb=c.verb, kind=c.kind, name=c.name, action=c.action, before=c.before, detail=c.detail)
            for c in changes
        ),
        previous=previous,
    )


def chain(head: KeyValue | None, record: AuditRecord) -> tuple[str, Compare, tuple[Put, Put]]:
    """The record's key, what must still hold, and what to write beside the change."""
    identity = sortable_id(record.at)
    key = layout.audit(identity)
    guard = unchanged(HEAD, head.mod_revision if head else 0)
    return key, guard, (Put(key, record.to_json()), Put(HEAD, identity.encode()))


async def keep_denied(store: Store, identity: Identity, change: Change, at: datetime) -> None:
    """Outside the chain: it changed nothing, and shall not get in the way of who may change."""
    record = record_of(identity, (change,), at, Outcome.DENIED)
    await store.commit((), [Put(layout.audit(sortable_id(at)), record.to_json())])


KEPT = 20_000
"""Records in the store; older ones are in the API's logs, each as a line of ``gemel.api.audit``."""
AT_ONCE = 100


async def prune(store: Store, keep: int = KEPT) -> int:
    """Remove the oldest records beyond ``keep``; returns how many. Both sites' APIs may do it at once."""
    listing = await store.list(layout.AUDIT)
    keys = sorted(item.key for item in listing.items if item.key != HEAD)
    old = keys[: max(0, len(keys) - keep)]
    for start in range(0, len(old), AT_ONCE):
        await store.commit((), [Delete(key) for key in old[start : start + AT_ONCE]])
    return len(old)


async def prune_every(store: Store, clock: Clock, seconds: float = 3600.0) -> None:
    """Until cancelled. A store that does not answer is asked again the next time."""
    while True:
        try:
            removed = await prune(store)
            if removed:
                log.info("audit records removed from the store", count=removed)
        except GemelError as error:
            log.warning("audit records not pruned", error=str(error))
        await clock.sleep(seconds)
