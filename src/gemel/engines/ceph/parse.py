"""What the `rbd` and `ceph` programs print and how they end: pure.

Recorded with ceph 16.2.15. `rbd` ends with the error's number; text on standard error is for people, and is
looked at only where the number is not enough.
"""

import json
from dataclasses import dataclass
from typing import Any

from gemel.core.outcome import Conflict, GemelError, OutcomeUnknown, Permanent, Retryable

EPERM, ENOENT, EBUSY, EEXIST, ENOSPC, ENOTEMPTY, ESHUTDOWN, ETIMEDOUT = 1, 2, 16, 17, 28, 39, 108, 110


@dataclass(frozen=True, slots=True)
class Info:
    size: int
    snapshot_count: int
    parent: tuple[str, str, str] | None
    """Pool, image and snapshot that it was cloned from."""


@dataclass(frozen=True, slots=True)
class Locker:
    client: str
    cookie: str
    address: str


def _value(text: str) -> Any:
    """The first JSON value: `ceph osd blocklist ls` appends a second one."""
    try:
        return json.JSONDecoder().raw_decode(text.lstrip())[0]
    except ValueError as error:
        raise Permanent(f"Ceph printed something that is not JSON: {text[:200]!r}") from error


def parse_info(text: str) -> Info:
    found = _value(text)
    parent = found.get("parent")
    origin = (parent["pool"], parent["image"], parent["snapshot"]) if parent else None
    return Info(int(found["size"]), int(found["snapshot_count"]), origin)


def parse_snapshots(text: str) -> tuple[str, ...]:
    """Names, oldest first. Without ``--all`` the program shows those of users only."""
    return tuple(str(each["name"]) for each in sorted(_value(text), key=lambda each: int(each["id"])))


def parse_names(text: str) -> frozenset[str]:
    return frozenset(str(name) for name in _value(text))


def parse_extents(text: str) -> int:
    """Bytes in all extents of `rbd diff`, zeroed ones included: they travel too, as a few bytes each."""
    return sum(int(extent["length"]) for extent in _value(text))


def parse_lockers(text: str) -> tuple[Locker, ...]:
    return tuple(Locker(str(each["locker"]), str(each["id"]), str(each["address"])) for each in _value(text))


def parse_watchers(text: str) -> tuple[str, ...]:
    """Addresses with nonce of all who have the image open for writing."""
    return tuple(str(each["address"]) for each in _value(text).get("watchers", []))


def parse_blocklist(text: str) -> frozenset[str]:
    return frozenset(str(each["addr"]) for each in _value(text))


def missing_pool(stderr: str) -> bool:
    return "error opening pool" in stderr


def last_words(stderr: str) -> str:
    """The line that `rbd` means for people; the library's own log lines stand before it."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    spoken = [line for line in lines if line.startswith(("rbd:", "Error", "error"))]
    return (spoken or lines or ["no word of explanation"])[-1][:400]


def error_of(what: str, code: int, stderr: str, client: str) -> GemelError:
    """The error that a failed change means for its caller. ``what`` says what was tried, to what."""
    words = last_words(stderr)
    if code == EPERM:
        return Permanent(f"{what}: {client} may not: {words}; check the key's capabilities with `ceph auth get`")
    if code in (ETIMEDOUT, ESHUTDOWN):
        return OutcomeUnknown(f"{what}: Ceph did not answer in time: {words}")
    if code == EBUSY:
        return Retryable(f"{what}: in use at the moment: {words}", after=2.0)
    if code == ENOSPC:
        return Permanent(f"{what}: the site's Ceph is full: {words}; add OSDs or remove images, see `ceph df`")
    if code in (EEXIST, ENOTEMPTY):
        return Conflict(f"{what}: {words}")
    return Permanent(f"{what}: rbd ended with {code}: {words}")
