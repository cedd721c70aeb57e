"""Which objects does a changed key show in? Pure; used by watches, so that one change costs one object."""

from collections.abc import Iterable

from gemel.catalog.kind import Kind
from gemel.catalog.objects import name_at, names
from gemel.catalog.records import Records
from gemel.core import layout


def touched(kind: Kind, key: str, records: Records) -> frozenset[str]:
    """Names of objects of ``kind`` that may look different after ``key`` changed. May name too many."""
    own = name_at(kind, key)
    if own is not None:
        return frozenset([own])
    if not key.startswith(kind.sources):
        return frozenset()
    stored = layout.status(kind.name, "")
    if key.startswith(layout.STATUS):
        return frozenset([key.removeprefix(stored)]) if key.startswith(stored) else frozenset()
    return frozenset(_related(kind, key, records))


def _related(kind: Kind, key: str, records: Records) -> Iterable[str]:
    if kind.name == "VirtualMachine":
        return _machines(key, records)
    if kind.name == "Application":
        return _applications(key, records)
    if kind.name == "Volume":
        return _volumes(key, records)
    # Sites, hosts, images and policies are few, and show counts over what others are.
    return () if key.startswith(layout.REPORTS) else names(kind, records)


def _machines(key: str, records: Records) -> Iterable[str]:
    leaf = layout.leaf(key)
    if key.startswith((layout.ASSIGNMENTS, layout.REPORTS)):
        return [leaf]
    if key.startswith(layout.TICKETS):
        return records.members.get(leaf, ())
    if key.startswith(layout.LEASES):
        return [guest for guest, given in records.assignments.items() if leaf in (given.host, given.target)]
    # A changed application may take guests in or let them go.
    return list(records.machines) if key.startswith(layout.resource("Application", "")) else ()


def _applications(key: str, records: Records) -> Iterable[str]:
    leaf = layout.leaf(key)
    if key.startswith((layout.TICKETS, layout.CUTS)):
        return [leaf]
    if key.startswith((layout.ASSIGNMENTS, layout.REPORTS)):
        return [records.home(leaf)] if leaf in records.machines else ()
    if key.startswith((layout.VOLUMES, layout.REPLICAS)):
        found = records.volumes.get(leaf) or records.replicas.get(leaf)
        return [found.application] if found else ()
    if key.startswith(layout.LEASES):
        return {given.application for given in records.assignments.values() if leaf in (given.host, given.target)}
    return list(records.applications)


def _volumes(key: str, records: Records) -> Iterable[str]:
    leaf = layout.leaf(key)
    if key.startswith(layout.REPLICAS):
        return [leaf]
    if key.startswith((layout.CUTS, layout.TICKETS)):
        return [name for name, volume in records.volumes.items() if volume.application == leaf]
    policies = layout.resource("ProtectionPolicy", ""), layout.resource("Application", "")
    return list(records.volumes) if key.startswith(policies) else ()
