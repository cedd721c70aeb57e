"""etcd's model as a pure state machine: no I/O, no clock (``now`` is passed in), no randomness.

Revisions start at 1 as in an empty etcd; each transaction that changes something takes the next one.
``StoreState`` can be deep-copied, so a model of several members can keep one each.
"""

import builtins
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gemel.core.outcome import Permanent
from gemel.core.store import (
    Batch,
    Committed,
    Compacted,
    Compare,
    Delete,
    Event,
    Field,
    Is,
    KeyValue,
    LeaseLost,
    Listing,
    Put,
    Write,
)


@dataclass
class _LiveLease:
    ttl: float
    deadline: float
    keys: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Change:
    revision: int
    events: tuple[Event, ...]


class StoreState:
    """The keys, the history kept for watches, and the leases."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self._keys: dict[str, KeyValue] = {}
        self._history: list[_Change] = []
        self._leases: dict[int, _LiveLease] = {}
        self._last_lease = 0

    # -- reads -------------------------------------------------------------------------------------------

    def get(self, key: str) -> KeyValue | None:
        return self._keys.get(key)

    def list(self, prefix: str) -> Listing:
        found = sorted(key for key in self._keys if key.startswith(prefix))
        return Listing(self.revision, tuple(self._keys[key] for key in found))

    def since(self, prefix: str, after: int) -> Batch:
        """What happened under ``prefix`` after that revision, up to now. Raises Compacted."""
        if after < self.compacted:
            raise Compacted(f"changes after revision {after} are no longer kept (compacted at {self.compacted})")
        start = bisect_right(self._history, after, key=lambda change: change.revision)
        events = tuple(e for change in self._history[start:] for e in change.events if e.key.startswith(prefix))
        return Batch(max(after, self.revision), events)

    # -- transactions ------------------------------------------------------------------------------------

    def commit(self, compares: Sequence[Compare], writes: Sequence[Write]) -> Committed:
        """One transaction. Raises LeaseLost for a Put on a lease that is gone, Permanent for a transaction
        that etcd refuses (a key put twice, or put and deleted)."""
        _check_overlap(writes)
        if not all(self._holds(compare) for compare in compares):
            return Committed(False, self.revision)
        for write in writes:
            if isinstance(write, Put) and write.lease and write.lease not in self._leases:
                raise LeaseLost(f"lease {write.lease:x} is gone: {write.key} was not written")
        revision = self.revision + 1
        events: list[Event] = []
        for write in writes:
            events += [self._put(write, revision)] if isinstance(write, Put) else self._delete(write, revision)
        self._record(revision, events)
        return Committed(True, self.revision)

    def _holds(self, compare: Compare) -> bool:
        current = self._keys.get(compare.key)
        if compare.field is Field.VALUE:
            # As in etcd: a key that does not exist has no value, so no relation about its value holds.
            if current is None or not isinstance(compare.operand, bytes):
                return False
            return _related(compare.relation, (current.value > compare.operand) - (current.value < compare.operand))
        if not isinstance(compare.operand, int):
            raise Permanent(f"{compare.field} of {compare.key} is compared with a number, not with bytes")
        return _related(compare.relation, _order(_number(current, compare.field), compare.operand))

    def _put(self, put: Put, revision: int) -> Event:
        old = self._keys.get(put.key)
        created = old.create_revision if old else revision
        value = KeyValue(put.key, put.value, created, revision, old.version + 1 if old else 1, put.lease)
        self._detach(old)
        if put.lease:
            self._leases[put.lease].keys.add(put.key)
        self._keys[put.key] = value
        return Event(put.key, value, revision)

    def _delete(self, delete: Delete, revision: int) -> builtins.list[Event]:
        if delete.prefix:
            keys = sorted(key for key in self._keys if key.startswith(delete.key))
        else:
            keys = [delete.key] if delete.key in self._keys else []
        for key in keys:
            self._detach(self._keys.pop(key))
        return [Event(key, None, revision) for key in keys]

    def _detach(self, old: KeyValue | None) -> None:
        if old is not None and old.lease in self._leases:
            self._leases[old.lease].keys.discard(old.key)

    def _record(self, revision: int, events: Sequence[Event]) -> None:
        if events:
            self.revision = revision
            self._history.append(_Change(revision, tuple(events)))

    def compact(self, revision: int) -> None:
        """Forget the history up to and including ``revision``."""
        if not self.compacted < revision <= self.revision:
            raise Permanent(f"cannot compact at {revision}: kept are {self.compacted + 1} to {self.revision}")
        self.compacted = revision
        self._history = [change for change in self._history if change.revision > revision]

    # -- leases ------------------------------------------------------------------------------------------

    def grant(self, ttl: float, now: float) -> int:
        self._last_lease += 1
        self._leases[self._last_lease] = _LiveLease(ttl, now + ttl)
        return self._last_lease

    def keep_alive(self, lease_id: int, now: float) -> float:
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseLost(f"the store has forgotten lease {lease_id:x}")
        lease.deadline = now + lease.ttl
        return lease.ttl

    def revoke(self, lease_id: int) -> None:
        """The lease and its keys are gone, in one revision. Raises LeaseLost if it was gone before."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            raise LeaseLost(f"the store has forgotten lease {lease_id:x}")
        revision = self.revision + 1
        events = [event for key in sorted(lease.keys) for event in self._delete(Delete(key), revision)]
        self._record(revision, events)

    def expire(self, now: float) -> bool:
        """Revoke what has outlived its deadline, the oldest first; True if there was any."""
        due = sorted((lease.deadline, name) for name, lease in self._leases.items() if lease.deadline <= now)
        for _, lease_id in due:
            self.revoke(lease_id)
        return bool(due)

    def next_expiry(self) -> float | None:
        return min((lease.deadline for lease in self._leases.values()), default=None)


def _check_overlap(writes: Sequence[Write]) -> None:
    puts = [write.key for write in writes if isinstance(write, Put)]
    doubled = {key for key in puts if puts.count(key) > 1}
    for write in writes:
        if isinstance(write, Delete):
            doubled |= {key for key in puts if key == write.key or (write.prefix and key.startswith(write.key))}
    if doubled:
        raise Permanent(f"one transaction writes {', '.join(sorted(doubled))} twice: write each key once")


def _number(current: KeyValue | None, what: Field) -> int:
    if current is None:
        return 0
    if what is Field.VERSION:
        return current.version
    return current.create_revision if what is Field.CREATE else current.mod_revision


def _order(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _related(relation: Is, order: int) -> bool:
    match relation:
        case Is.EQUAL:
            return order == 0
        case Is.NOT_EQUAL:
            return order != 0
        case Is.GREATER:
            return order > 0
        case Is.LESS:
            return order < 0
