"""Who changed what: a record in the same transaction as the change, and one for what was denied.

``audit/head`` names the last record of a change. Every change compares it as read and replaces it, so that
changes form one chain. It is also why a change may be validated against *everything* declared at the price
of one comparison: ``resources/`` is written by nobody but the API, and never without moving the head.
"""

from datetime import datetime
from enum import StrEnum

from gemel.api.tokens import Identity
from gemel.catalog.changes import Change
from gemel.core import layout
from gemel.core.events import sortable_id
from gemel.core.resource import Model
from gemel.core.store import Compare, KeyValue, Put, Store, unchanged

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
