"""Where the seconds of a failover went, and what a failback shipped: from what was seen of the store. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gemel.catalog.records import decode
from gemel.compute.kinds import GuestReport
from gemel.continuity.kinds import Ticket
from gemel.core import layout
from gemel.core.store import KeyValue
from gemel.demo.results import Span
from gemel.storage.kinds import Cut, CutPhase, ReplicaRecord, VolumeRecord


@dataclass(frozen=True, slots=True)
class Sighting:
    """A key as it became, and when this was seen (CLOCK_MONOTONIC). ``item`` None: it was deleted."""

    at: float
    key: str
    item: KeyValue | None


def leases_gone(sightings: Iterable[Sighting], hosts: frozenset[str], after: float) -> float | None:
    """When the last of these hosts' leases ended."""
    gone: dict[str, float] = {}
    for each in sightings:
        host = each.key.removeprefix(layout.LEASES)
        if each.key.startswith(layout.LEASES) and host in hosts and each.item is None and each.at >= after:
            gone.setdefault(host, each.at)
    return max(gone.values()) if gone.keys() == hosts else None


def ticket_moved(sightings: Iterable[Sighting], application: str, site: str, after: float) -> float | None:
    for each in sightings:
        if each.key == layout.ticket(application) and each.item is not None and each.at >= after:
            ticket = decode(Ticket, each.item.value)
            if ticket is not None and ticket.site == site:
                return each.at
    return None


def promoted(sightings: Iterable[Sighting], volumes: frozenset[str], site: str, after: float) -> float | None:
    """When the last of the volumes became writable at ``site``."""
    seen: dict[str, float] = {}
    for each in sightings:
        if each.key.startswith(layout.VOLUMES) and each.item is not None and each.at >= after:
            volume = decode(VolumeRecord, each.item.value)
            if volume is not None and volume.volume in volumes and volume.site == site:
                seen.setdefault(volume.volume, each.at)
    return max(seen.values()) if volumes and seen.keys() == volumes else None


def migration_downtime(sightings: Iterable[Sighting], guest: str, after: float) -> float | None:
    """Milliseconds, of the last migration that a host reported: the source says it, and only until the guest
    is the target's."""
    found = None
    for each in sightings:
        if each.key.startswith(layout.REPORTS) and layout.leaf(each.key) == guest and each.item and each.at >= after:
            report = decode(GuestReport, each.item.value)
            if report is not None and report.migration_downtime_ms is not None:
                found = report.migration_downtime_ms
    return found


def break_down(began: float, marks: Sequence[tuple[str, float | None]], ended: float) -> tuple[Span, ...]:
    """Spans from one mark to the next, in their order; what was not seen adds its time to the next one. The
    spans always add up to ``ended - began``. ``marks`` are (what ended at this mark, when); the last span
    ends at ``ended`` and needs no time of its own."""
    spans, last = [], began
    for name, at in marks[:-1]:
        if at is None:
            continue
        moment = min(max(at, last), ended)
        spans.append(Span(name, moment - last))
        last = moment
    return (*spans, Span(marks[-1][0], ended - last))


@dataclass(frozen=True, slots=True)
class Shipped:
    """``copied`` None: the records do not say how many bytes were imported."""

    changed: int
    copied: int | None
    wire: int
    differences: int


def shipped(sightings: Iterable[Sighting], application: str, epoch: int) -> Shipped | None:
    """What travelled under an epoch: every difference that arrived, as large as its writer measured it. None
    when none did."""
    changed: dict[tuple[str, str], int] = {}
    replicas: dict[str, ReplicaRecord] = {}
    arrived: set[tuple[str, str]] = set()
    for each in sightings:
        if each.item is None:
            continue
        if each.key == layout.cut(application):
            cut = decode(Cut, each.item.value)
            if cut is not None and cut.epoch == epoch and cut.phase is CutPhase.TAKEN:
                # Measured after it was taken: the record is written twice, first with 0.
                for part in cut.volumes:
                    key = (part.volume, part.snapshot)
                    changed[key] = max(part.changed_bytes, changed.get(key, 0))
        elif each.key.startswith(layout.REPLICAS):
            replica = decode(ReplicaRecord, each.item.value)
            if replica is not None and replica.application == application and replica.epoch == epoch:
                replicas[replica.volume] = replica
                arrived |= {(replica.volume, snapshot.snapshot) for snapshot in replica.complete}
    there = arrived & changed.keys()
    if not there:
        return None
    raw = [getattr(replica, "copied_bytes", None) for replica in replicas.values()]
    return Shipped(
        changed=sum(changed[key] for key in there),
        copied=None if None in raw else sum(int(each) for each in raw if each is not None),
        wire=sum(replica.shipped_bytes for replica in replicas.values()),
        differences=len(there),
    )
