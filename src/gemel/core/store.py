"""The region store's port: etcd's model (revisions, compare-and-set, leases, watches), and no more.

The semantics are those of etcd's v3 API. Every call is bounded by a timeout of the implementation and
raises ``StoreUnavailable`` (did not happen) or ``OutcomeUnknown`` (a write whose answer was lost).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gemel.core.outcome import GemelError, Retryable


class StoreUnavailable(Retryable):
    """No member with a quorum answered in time."""


class LeaseLost(GemelError):
    """The store has forgotten this lease: what it proved is no longer proved."""


class Compacted(GemelError):
    """The watched revision is no longer kept: list again, then watch from the list's revision."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class Field(StrEnum):
    VERSION = "version"  # 0 when the key does not exist
    CREATE = "create"  # create_revision, 0 when the key does not exist
    MOD = "mod"  # mod_revision, 0 when the key does not exist
    VALUE = "value"


class Is(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER = ">"
    LESS = "<"


@dataclass(frozen=True, slots=True)
class Compare:
    key: str
    field: Field
    relation: Is
    operand: int | bytes


def absent(key: str) -> Compare:
    """The key does not exist."""
    return Compare(key, Field.VERSION, Is.EQUAL, 0)


def unchanged(key: str, mod_revision: int) -> Compare:
    """The key is as it was read; ``mod_revision`` 0 means that it did not exist."""
    return Compare(key, Field.MOD, Is.EQUAL, mod_revision)


def same_creation(key: str, create_revision: int) -> Compare:
    """The key still is the one that was created at this revision (how an election is guarded)."""
    return Compare(key, Field.CREATE, Is.EQUAL, create_revision)


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    key: str
    prefix: bool = False


Write = Put | Delete


@dataclass(frozen=True, slots=True)
class Listing:
    """All keys under a prefix as they were at one revision, in key order."""

    revision: int
    items: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    succeeded: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Event:
    """A change: ``value`` is None when the key was deleted (also by a lease that ended)."""

    key: str
    value: KeyValue | None
    revision: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of consecutive revisions up to ``revision``; empty when the store only reports progress."""

    revision: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    id: int
    ttl: float


class Store(Protocol):
    async def get(self, key: str) -> KeyValue | None:
        """Linearizable read of one key."""
        ...

    async def list(self, prefix: str) -> Listing:
        """Linearizable read of all keys that start with ``prefix``."""
        ...

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Write]) -> Committed:
        """One transaction: all writes if all compares hold, else none. Raises OutcomeUnknown if the answer
        was lost after the request was sent."""
        ...

    def watch(self, prefix: str, after: int) -> AsyncIterator[Batch]:
        """Changes under ``prefix`` with revisions greater than ``after``, in order, none missed. Survives
        loss of members by resuming; raises Compacted when ``after`` is no longer kept."""
        ...

    async def grant(self, ttl: float) -> Lease: ...

    async def keep_alive(self, lease_id: int) -> float:
        """Renew; returns the ttl in seconds granted anew. Raises LeaseLost when the store has forgotten it,
        StoreUnavailable when nobody answered (which proves nothing)."""
        ...

    async def revoke(self, lease_id: int) -> None: ...

    async def close(self) -> None: ...
