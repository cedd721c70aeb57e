"""Objects as faces show them: ``{apiVersion, kind, metadata, spec?, status}``, from records. Pure."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from gemel.catalog.kind import Kind
from gemel.catalog.observed import status_of
from gemel.catalog.records import Records, decode
from gemel.catalog.replication import lag_of
from gemel.compute.kinds import Assignment
from gemel.continuity.kinds import Ticket
from gemel.core import layout
from gemel.core.resource import API_VERSION, Model
from gemel.core.store import KeyValue
from gemel.storage.kinds import QuarantineRecord

Object = dict[str, Any]


def primary_key(kind: Kind, name: str) -> str:
    """The key whose existence is the object's."""
    if kind.declared:
        return kind.key(name)
    prefix = _SHOWN[kind.name][0]
    return prefix + (name.replace(".", "/", 1) if prefix == layout.QUARANTINE else name)


def name_at(kind: Kind, key: str) -> str | None:
    """The name of the object whose primary key this is."""
    prefix = kind.key("") if kind.declared else _SHOWN[kind.name][0]
    if not key.startswith(prefix):
        return None
    name = key.removeprefix(prefix)
    return name.replace("/", ".", 1) if prefix == layout.QUARANTINE else name


def names(kind: Kind, records: Records) -> Iterator[str]:
    for key in sorted(records.items):
        name = name_at(kind, key)
        if name is not None:
            yield name


def object_of(kind: Kind, name: str, records: Records, now: datetime) -> Object | None:
    """None when it does not exist, or its record cannot be read."""
    item = records.items.get(primary_key(kind, name))
    if item is None:
        return None
    if kind.declared:
        return _declared(kind, name, item, records, now)
    build = _SHOWN[kind.name][1]
    status = build(records, item, now)
    if status is None:
        return None
    metadata = {"name": name, "labels": {}, "resourceVersion": item.mod_revision}
    return {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "status": status}


def objects(kind: Kind, records: Records, now: datetime) -> Iterator[Object]:
    """All of a kind, by name."""
    for name in names(kind, records):
        found = object_of(kind, name, records, now)
        if found is not None:
            yield found


def _declared(kind: Kind, name: str, item: KeyValue, records: Records, now: datetime) -> Object | None:
    resource = decode(kind.known_model(), item.value)
    if resource is None:
        return None
    found: Object = json.loads(resource.to_json())
    found["metadata"]["resourceVersion"] = item.mod_revision
    found["status"] = status_of(records, kind.name, name, now)
    return found


def _plain(model: type[Model]) -> Callable[[Records, KeyValue, datetime], Object | None]:
    def build(records: Records, item: KeyValue, now: datetime) -> Object | None:
        found = decode(model, item.value)
        return json.loads(found.to_json()) if found else None

    return build


def _volume(records: Records, item: KeyValue, now: datetime) -> Object | None:
    volume = records.volumes.get(layout.leaf(item.key))
    if volume is None:
        return None
    lag = lag_of(records, volume, now)
    found: Object = json.loads(volume.to_json())
    found["sizeBytes"] = found.pop("size")
    found["state"] = lag.state.value
    optional = {
        "replicaSite": lag.replica_site,
        "replicaAgeSeconds": lag.age,
        "unshippedBytes": lag.unshipped,
        "consistent": lag.consistent or None,
        "message": lag.message or None,
    }
    return found | {field: value for field, value in optional.items() if value is not None}


def _replica(records: Records, item: KeyValue, now: datetime) -> Object | None:
    replica = records.replicas.get(layout.leaf(item.key))
    if replica is None:
        return None
    found: Object = json.loads(replica.to_json())
    if replica.complete:
        newest = replica.complete[-1]
        found |= {
            "snapshot": newest.snapshot,
            "consistent": newest.consistent,
            "ageSeconds": round(max(0.0, (now - newest.taken_at).total_seconds()), 1),
        }
    return found


Build = Callable[[Records, KeyValue, datetime], Object | None]

_SHOWN: dict[str, tuple[str, Build]] = {
    "Volume": (layout.VOLUMES, _volume),
    "Replica": (layout.REPLICAS, _replica),
    "Ticket": (layout.TICKETS, _plain(Ticket)),
    "Assignment": (layout.ASSIGNMENTS, _plain(Assignment)),
    "Quarantine": (layout.QUARANTINE, _plain(QuarantineRecord)),
}
