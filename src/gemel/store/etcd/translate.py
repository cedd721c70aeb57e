"""Between the store port's words and etcd's: pure in both directions, and what an error means."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from gemel.core.outcome import GemelError, Permanent
from gemel.core.store import Compare, Delete, Event, Field, Is, KeyValue, LeaseLost, Put, Write
from gemel.store.etcd.wire import message

_RELATIONS = {Is.EQUAL: 0, Is.GREATER: 1, Is.LESS: 2, Is.NOT_EQUAL: 3}
_TARGETS = {
    Field.VERSION: (0, "version"),
    Field.CREATE: (1, "create_revision"),
    Field.MOD: (2, "mod_revision"),
    Field.VALUE: (3, "value"),
}
_DELETED = 1


def render_range(prefix: str) -> dict[str, bytes]:
    """``key`` and ``range_end`` of all keys that start with ``prefix``."""
    if not prefix:
        return {"key": b"\0", "range_end": b"\0"}
    return {"key": prefix.encode(), "range_end": _successor(prefix.encode())}


def _successor(prefix: bytes) -> bytes:
    # UTF-8 never holds 0xff, so the last byte can always be raised by one.
    return prefix[:-1] + bytes([prefix[-1] + 1])


def render_transaction(compares: Sequence[Compare], writes: Sequence[Write]) -> Any:
    return message(
        "TxnRequest",
        compare=[_render_compare(compare) for compare in compares],
        success=[_render_write(write) for write in writes],
    )


def _render_compare(compare: Compare) -> Any:
    number, name = _TARGETS[compare.field]
    if isinstance(compare.operand, bytes) != (compare.field is Field.VALUE):
        raise Permanent(f"{compare.field} of {compare.key} cannot be compared with {compare.operand!r}")
    relation = _RELATIONS[compare.relation]
    shared = {"result": relation, "target": number, "key": compare.key.encode()}
    return message("Compare", **shared, **{name: compare.operand})


def _render_write(write: Write) -> Any:
    match write:
        case Put(key, value, lease):
            return message("RequestOp", request_put={"key": key.encode(), "value": value, "lease": lease})
        case Delete(key, prefix):
            spot = render_range(key) if prefix else {"key": key.encode()}
            return message("RequestOp", request_delete_range=spot)


def parse_item(item: Any) -> KeyValue:
    return KeyValue(item.key.decode(), item.value, item.create_revision, item.mod_revision, item.version, item.lease)


def parse_event(event: Any) -> Event:
    deleted = event.type == _DELETED
    return Event(event.kv.key.decode(), None if deleted else parse_item(event.kv), event.kv.mod_revision)


class Verdict(Enum):
    """What a failed call tells about a request that was sent."""

    REFUSED = "refused"  # answered, and it will be answered the same elsewhere
    ELSEWHERE = "elsewhere"  # this member did nothing: another may do it
    UNKNOWN = "unknown"  # it may have been carried out


_REFUSALS = {"PERMISSION_DENIED", "NOT_FOUND", "OUT_OF_RANGE", "INVALID_ARGUMENT", "FAILED_PRECONDITION"}
_HARMLESS = (
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: rpc not supported for learner",
    "revision in header is old",
    "revision of auth store is old",
    "failed to connect",
)


def parse_failure(code: str, details: str) -> Verdict:
    """``code`` is the name of a gRPC status; ``details`` its text, etcd's wording since 3.3."""
    text = details.lower()
    if any(word in text for word in _HARMLESS):
        return Verdict.ELSEWHERE
    if code in _REFUSALS or "database space exceeded" in text:
        return Verdict.REFUSED
    return Verdict.UNKNOWN


def refusal(what: str, code: str, details: str) -> GemelError:
    """The error for a request that etcd refused."""
    if code == "NOT_FOUND" and "lease not found" in details:
        return LeaseLost(f"cannot {what}: the store has forgotten its lease; take a new one")
    if code == "PERMISSION_DENIED":
        return Permanent(f"cannot {what}: the certificate's role may not ({details}); check the role in use")
    if "database space exceeded" in details:
        return Permanent(f"cannot {what}: etcd is at its quota; compact and defragment it, then disarm its alarm")
    return Permanent(f"cannot {what}: etcd refuses ({details})")
