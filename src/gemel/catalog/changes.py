"""From a person's wish to the one transaction that fulfils it, or to why it cannot be. Pure.

Each ``plan_`` looks at the region's records and gives a Proposal; who commits it (the API) adds the audit
trail's guard, which makes everything that was looked at under ``resources/`` part of the comparison.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from gemel.catalog.admission import Admitted, admit
from gemel.catalog.deletion import check_deletion
from gemel.catalog.kind import Kind
from gemel.catalog.manifest import Document, Problem
from gemel.catalog.records import Records, decode
from gemel.catalog.shape import Sound
from gemel.catalog.world import World
from gemel.core import layout
from gemel.core.outcome import Conflict, Permanent
from gemel.core.resource import Resource
from gemel.core.store import Compare, Delete, Put, Write, unchanged


class NotFound(Permanent):
    """There is no such thing."""


class Invalid(Permanent):
    """Documents that cannot be admitted."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        count = len(problems)
        super().__init__(f"{count} {'problem' if count == 1 else 'problems'}: nothing was changed")
        self.problems = problems


class Refused(Permanent):
    """The state of the region does not allow it."""


class Action(StrEnum):
    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    REQUESTED = "requested"


@dataclass(frozen=True, slots=True)
class Change:
    """For the audit trail. ``before``: resource version that was replaced, None when there was nothing."""

    verb: str
    kind: str
    name: str
    action: Action
    before: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    compares: tuple[Compare, ...] = ()
    writes: tuple[Write, ...] = ()
    changes: tuple[Change, ...] = ()
    """One for each document or object, also for those that stay as they are."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What planning may not make itself. ``uids``: a fresh one for each document."""

    at: datetime
    uids: Sequence[uuid.UUID]
    user: str = ""


def plan_apply(records: Records, documents: Sequence[Document], moment: Moment) -> Proposal:
    """All documents or none. Raises Invalid, or Conflict when one names an older resource version."""
    admitted = _admitted(records, documents)
    parts = [_apply_one(records, each, uid, moment.at) for each, uid in zip(admitted.sound, moment.uids, strict=True)]
    return _joined(parts)


def _admitted(records: Records, documents: Sequence[Document]) -> Admitted:
    admitted = admit(documents, World.of(records))
    if admitted.problems:
        raise Invalid(admitted.problems)
    return admitted


def _joined(parts: Iterable[Proposal]) -> Proposal:
    found = tuple(parts)
    return Proposal(
        tuple(compare for part in found for compare in part.compares),
        tuple(write for part in found for write in part.writes),
        tuple(change for part in found for change in part.changes),
    )


def _apply_one(records: Records, sound: Sound, uid: uuid.UUID, at: datetime) -> Proposal:
    key = sound.kind.key(sound.name)
    item = records.items.get(key)
    wanted = sound.resource.metadata.resource_version
    _check_version(sound.kind, sound.name, wanted, item.mod_revision if item else None)
    before = decode(sound.kind.known_model(), item.value) if item else None
    after, action = _merged(before, sound.resource, uid, at)
    version = item.mod_revision if item else None
    change = Change("apply", sound.kind.name, sound.name, action, version)
    if action is Action.UNCHANGED:
        return Proposal(changes=(change,))
    return Proposal((unchanged(key, version or 0),), (Put(key, after.to_json()),), (change,))


def _merged(
    before: Resource[Any] | None, wanted: Resource[Any], uid: uuid.UUID, at: datetime
) -> tuple[Resource[Any], Action]:
    """What will stand in the store. ``generation`` tells of changes of ``spec`` only."""
    if before is None:
        facts: dict[str, Any] = {"uid": uid, "generation": 1, "creation_timestamp": at, "resource_version": None}
        return _with_metadata(wanted, facts), Action.CREATED
    old = before.metadata
    same_spec = before.spec == wanted.spec
    same_words = old.labels == wanted.metadata.labels and old.annotations == wanted.metadata.annotations
    facts = {
        "uid": old.uid,
        "generation": old.generation + (not same_spec),
        "creation_timestamp": old.creation_timestamp,
        "resource_version": None,
    }
    action = Action.UNCHANGED if same_spec and same_words else Action.CONFIGURED
    return _with_metadata(wanted, facts), action


def _with_metadata(resource: Resource[Any], facts: dict[str, Any]) -> Resource[Any]:
    metadata = resource.metadata.model_copy(update=facts)
    return resource.model_copy(update={"metadata": metadata, "status": None})


def _check_version(kind: Kind, name: str, wanted: int | None, version: int | None) -> None:
    if wanted is not None and wanted != version:
        now = f"is at {version} now" if version is not None else "does not exist any more"
        raise Conflict(
            f"{kind.name} {name} {now}, not at resourceVersion {wanted}: read it again and repeat the change"
        )


def plan_replace(records: Records, kind: Kind, name: str, document: Document, moment: Moment) -> Proposal:
    """One resource, whole. What exists is replaced only by who read it: the document says which version."""
    item = records.items.get(kind.key(name))
    metadata = document.object.get("metadata") if isinstance(document.object, dict) else None
    given = metadata if isinstance(metadata, dict) else {}
    problems = []
    if isinstance(document.object, dict) and document.object.get("kind") not in (None, kind.name):
        problems.append(_here(document, "kind", f"is not {kind.name}, as the address says", kind.name))
    if given.get("name") not in (None, name):
        problems.append(_here(document, "metadata.name", f"is not {name}, as the address says", name))
    if item is not None and given.get("resourceVersion") is None:
        expected = "the version that you read and changed"
        problems.append(_here(document, "metadata.resourceVersion", "is missing: it exists already", expected))
    if problems:
        raise Invalid(tuple(problems))
    return plan_apply(records, (document,), moment)


def _here(document: Document, path: str, message: str, expected: str) -> Problem:
    return Problem(document.file, document.index, path, message, expected, document.line_of(path))


def plan_delete(records: Records, kind: Kind, name: str, version: int | None) -> Proposal:
    """Raises NotFound, Conflict, or Refused while something still needs it."""
    key = kind.key(name)
    item = records.items.get(key)
    if item is None:
        raise NotFound(f"there is no {kind.name} {name}")
    _check_version(kind, name, version, item.mod_revision)
    needed = check_deletion(kind.name, name, records)
    if needed:
        more = f" and {len(needed) - 3} more" if len(needed) > 3 else ""
        raise Refused(f"{kind.name} {name} is still needed: {'; '.join(needed[:3])}{more}")
    change = Change("delete", kind.name, name, Action.DELETED, item.mod_revision)
    return Proposal((unchanged(key, item.mod_revision),), (Delete(key),), (change,))


def plan_field(records: Records, kind: Kind, name: str, verb: str, field: str, value: bool) -> Proposal:
    """Set one field of ``spec``: what start, stop, drain and resume do."""
    key = kind.key(name)
    item = records.items.get(key)
    before = decode(kind.known_model(), item.value) if item else None
    if item is None or before is None:
        raise NotFound(f"there is no {kind.name} {name}")
    if getattr(before.spec, field) == value:
        return Proposal(changes=(Change(verb, kind.name, name, Action.UNCHANGED, item.mod_revision),))
    spec = before.spec.model_copy(update={field: value})
    metadata = before.metadata.model_copy(update={"generation": before.metadata.generation + 1})
    after = before.model_copy(update={"spec": spec, "metadata": metadata})
    change = Change(verb, kind.name, name, Action.CONFIGURED, item.mod_revision)
    return Proposal((unchanged(key, item.mod_revision),), (Put(key, after.to_json()),), (change,))


def request_of(verb: str, kind: str, name: str, wish: bytes, detail: str, records: Records) -> Proposal:
    """A one-shot wish that no other of its kind is waiting beside."""
    key = layout.request(verb, name)
    waiting = records.items.get(key)
    if waiting is not None and waiting.value != wish:
        raise Conflict(f"another {verb} of {name} is waiting to be taken up: wait for it, then ask again")
    change = Change(verb, kind, name, Action.REQUESTED, None, detail)
    return Proposal((unchanged(key, waiting.mod_revision if waiting else 0),), (Put(key, wish),), (change,))
