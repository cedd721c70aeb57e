"""How far a volume's copy is behind its writer. Pure; ``now`` is wall time, for people."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gemel.catalog.records import Records
from gemel.storage.kinds import CutPhase, ReplicaRecord, VolumeRecord


class VolumeState(StrEnum):
    PROTECTED = "Protected"
    LATE = "Late"
    """The copy is older than the policy's recovery point."""
    UNREPLICATED = "Unreplicated"
    """A policy asks for a copy, and there is none of this epoch yet."""
    UNPROTECTED = "Unprotected"
    """No policy asks for a copy."""
    PROMOTING = "Promoting"
    """The ticket has moved on; the volume is not writable on its site yet."""
    FAILING = "Failing"
    """The copy's last try ended in an error."""


@dataclass(frozen=True, slots=True)
class Lag:
    """``age``: seconds since the last moment that is complete on the other side. ``unshipped``: bytes that are
    not there yet: what the writer's steward last measured, or what is left of the cut under way if that is
    more (a measurement is some seconds old)."""

    state: VolumeState
    age: float | None
    unshipped: int | None
    replica_site: str | None
    consistent: str = ""
    message: str = ""


def lag_of(records: Records, volume: VolumeRecord, now: datetime) -> Lag:
    replica = records.replicas.get(volume.volume)
    policy = _recovery_point(records, volume.application)
    if replica is not None and replica.epoch != volume.epoch:
        replica = None  # it follows an older writer
    newest = replica.complete[-1] if replica and replica.complete else None
    age = max(0.0, (now - newest.taken_at).total_seconds()) if newest else None
    return Lag(
        state=_state(records, volume, replica, age, policy),
        age=round(age, 1) if age is not None else None,
        unshipped=_unshipped(records, volume, replica) if replica else None,
        replica_site=replica.site if replica else None,
        consistent=newest.consistent if newest else "",
        message=replica.error if replica else "",
    )


def _recovery_point(records: Records, application: str) -> float | None:
    declared = records.applications.get(application)
    if declared is None or declared.spec.protection is None:
        return None
    policy = records.policies.get(declared.spec.protection)
    return policy.spec.recovery_point if policy else None


def _state(
    records: Records,
    volume: VolumeRecord,
    replica: ReplicaRecord | None,
    age: float | None,
    recovery_point: float | None,
) -> VolumeState:
    ticket = records.tickets.get(volume.application)
    if ticket is not None and ticket.epoch > volume.epoch:
        return VolumeState.PROMOTING
    if recovery_point is None:
        return VolumeState.UNPROTECTED
    if replica is None or age is None:
        return VolumeState.UNREPLICATED
    if replica.error:
        return VolumeState.FAILING
    return VolumeState.LATE if age > recovery_point else VolumeState.PROTECTED


def _unshipped(records: Records, volume: VolumeRecord, replica: ReplicaRecord) -> int:
    measured = records.backlogs.get(volume.volume)
    under_way = _left_of_cut(records, volume, replica)
    if measured is None or measured.epoch != volume.epoch or not replica.complete:
        return under_way
    # Measured from an older snapshot it would count what has arrived since.
    return max(under_way, measured.size) if measured.since == replica.complete[-1].snapshot else under_way


def _left_of_cut(records: Records, volume: VolumeRecord, replica: ReplicaRecord) -> int:
    cut = records.cuts.get(volume.application)
    if cut is None or cut.phase is not CutPhase.TAKEN or cut.epoch != volume.epoch:
        return 0
    part = next((each for each in cut.volumes if each.volume == volume.volume), None)
    if part is None or any(snapshot.snapshot == part.snapshot for snapshot in replica.complete):
        return 0
    if replica.receiving == part.snapshot and replica.total_bytes:
        left = 1 - min(1.0, replica.received_bytes / replica.total_bytes)
        return round(part.changed_bytes * left)
    return part.changed_bytes
