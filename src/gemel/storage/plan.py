"""Decisions of the storage wing. Pure: no I/O, no clock.

Words: a *line* is one image and everything that it was cloned from; its name is that of the image that the
writer writes, and the replica that follows it bears the same name in another pool. *Sequences* number the
cuts of an application and only grow. A volume *serves* sequence S when it can be put back to the moment of
cut S: by the snapshot of S, or by its origin when it had no writes of its own before S was over.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gemel.core.identity import Epoch, GuestName, SiteName, VolumeName
from gemel.storage.kinds import Cut, CutPhase, CutVolume, ReplicaRecord, ReplicaSnapshot, VolumeRecord

_SNAPSHOT = re.compile(r"^e(\d+)-(\d+)$")
_IMAGE = re.compile(r"^(?P<volume>.+)\.e(?P<epoch>\d+)$")


def image_name(volume: VolumeName, epoch: int) -> str:
    return f"{volume}.e{epoch}"


def parse_image(name: str) -> tuple[VolumeName, Epoch] | None:
    found = _IMAGE.match(name)
    return (VolumeName(found["volume"]), Epoch(int(found["epoch"]))) if found else None


def snapshot_name(epoch: int, sequence: int) -> str:
    return f"e{epoch}-{sequence}"


def salvage_name(epoch: int) -> str:
    return f"salvage-e{epoch}"


def sequence_of(volume: VolumeRecord, snapshot: str) -> int | None:
    """The sequence that a snapshot of the volume's image has; None for those that are not cuts'."""
    if snapshot == volume.origin_snapshot:
        return volume.origin_sequence
    found = _SNAPSHOT.match(snapshot)
    return int(found[2]) if found else None


def follows(replica: ReplicaRecord | None, volume: VolumeRecord) -> bool:
    """The replica is a copy of the line that is written now, on the other site."""
    return replica is not None and replica.image == volume.image and replica.site != volume.site


def serving(volume: VolumeRecord, replica: ReplicaRecord, sequence: int) -> ReplicaSnapshot | None:
    """The complete snapshot that has the volume's contents as of cut ``sequence``."""
    for snapshot in reversed(replica.complete):
        if snapshot.sequence == sequence:
            return snapshot
    first = replica.complete[0] if replica.complete else None
    if first and first.snapshot == volume.origin_snapshot and volume.origin_sequence >= sequence:
        return first
    return None


def newest_common(volumes: Sequence[VolumeRecord], replicas: Mapping[VolumeName, ReplicaRecord]) -> int | None:
    """The newest sequence that every volume's replica serves; None when there is none."""
    sequences: set[int] = set()
    for volume in volumes:
        replica = replicas.get(volume.volume)
        if replica is None or not follows(replica, volume):
            return None
        sequences |= {snapshot.sequence for snapshot in replica.complete}
    for sequence in sorted(sequences, reverse=True):
        if all(serving(volume, replicas[volume.volume], sequence) for volume in volumes):
            return sequence
    return None


# -- cuts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pace:
    """What the steward knows of time: seconds since it began its last cut of this application (None: it
    took none in this term), and the policy's recovery point."""

    since_last: float | None
    recovery_point: float

    @property
    def interval(self) -> float:
        """Half: the copy is oldest just before the next cut is complete, an interval and a transfer after
        the last one was taken."""
        return self.recovery_point / 2


@dataclass(frozen=True, slots=True)
class Draining:
    """The ticket drains; ``stopped`` when every guest was observed stopped."""

    ticket_revision: int
    stopped: bool


@dataclass(frozen=True, slots=True)
class Due:
    sequence: int
    final: bool
    ticket_revision: int | None


def cut_complete(cut: Cut, replicas: Mapping[VolumeName, ReplicaRecord]) -> bool:
    """Every difference of the cut has arrived."""
    return cut.phase is CutPhase.TAKEN and not outstanding(cut, replicas)


def under_way(cut: Cut, epoch: int, replicas: Mapping[VolumeName, ReplicaRecord]) -> bool:
    return cut.epoch == epoch and cut.phase is CutPhase.TAKEN and not cut_complete(cut, replicas)


def outstanding(cut: Cut, replicas: Mapping[VolumeName, ReplicaRecord]) -> tuple[CutVolume, ...]:
    """What of a cut that was taken is not on the other side yet."""
    return tuple(part for part in cut.volumes if not _arrived(part, replicas.get(part.volume)))


def _arrived(part: CutVolume, replica: ReplicaRecord | None) -> bool:
    if replica is None or replica.image != part.image:
        return False
    return any(snapshot.snapshot == part.snapshot for snapshot in replica.complete)


def next_sequence(cut: Cut | None, volumes: Iterable[VolumeRecord], replicas: Iterable[ReplicaRecord]) -> int:
    known = [volume.origin_sequence for volume in volumes]
    known += [snapshot.sequence for replica in replicas for snapshot in replica.complete]
    if cut is not None:
        known.append(cut.sequence)
    return max(known, default=0) + 1


def plan_cycle(
    cut: Cut | None,
    epoch: int,
    volumes: Sequence[VolumeRecord],
    replicas: Mapping[VolumeName, ReplicaRecord],
    pace: Pace,
    draining: Draining | None = None,
) -> Due | None:
    """Whether a cut is due, and which. At most one is under way: its snapshot bounds what the writing site
    keeps for a side that cannot be reached. A cut that was left in FREEZING is given up for a new one: what
    was snapshotted for it was not one moment."""
    if not volumes:
        return None
    sequence = next_sequence(cut, volumes, replicas.values())
    current = cut is not None and cut.epoch == epoch
    taken = current and cut is not None and cut.phase is CutPhase.TAKEN
    if taken and cut is not None and not cut_complete(cut, replicas):
        return None
    if draining is not None:
        if not draining.stopped:
            return None
        done = taken and cut is not None and cut.final and cut.ticket_revision == draining.ticket_revision
        covered = cut is not None and {part.volume for part in cut.volumes} == {each.volume for each in volumes}
        return None if done and covered else Due(sequence, True, draining.ticket_revision)
    if taken and pace.since_last is not None and pace.since_last < pace.interval:
        return None
    return Due(sequence, False, None)


def plan_since(volume: VolumeRecord, replica: ReplicaRecord | None) -> str:
    """Where the next difference starts: at the last complete snapshot; at the origin, where a replica that
    does not exist yet will start; at nothing (empty) when the other side had nothing to start from."""
    if replica is None or not follows(replica, volume):
        return volume.origin_snapshot
    return replica.complete[-1].snapshot if replica.complete else ""


def plan_parts(
    epoch: int, sequence: int, volumes: Sequence[VolumeRecord], replicas: Mapping[VolumeName, ReplicaRecord]
) -> tuple[CutVolume, ...]:
    name = snapshot_name(epoch, sequence)
    return tuple(
        CutVolume(
            volume=volume.volume,
            image=volume.image,
            snapshot=name,
            since=plan_since(volume, replicas.get(volume.volume)),
            changed_bytes=0,
        )
        for volume in volumes
    )


def plan_amendment(
    cut: Cut, volumes: Sequence[VolumeRecord], replicas: Mapping[VolumeName, ReplicaRecord], source: str
) -> Cut | None:
    """A cut under way as it should read now: another steward serves it, or a replica had to start from
    elsewhere. None when it is right."""
    records = {volume.volume: volume for volume in volumes}
    parts = []
    for part in cut.volumes:
        volume, replica = records.get(part.volume), replicas.get(part.volume)
        if volume is not None and not _arrived(part, replica):
            part = part.model_copy(update={"since": plan_since(volume, replica)})
        parts.append(part)
    amended = cut.model_copy(update={"volumes": tuple(parts), "source": source})
    return amended if amended != cut else None


def plan_freeze(
    running: Iterable[GuestName], disks: Mapping[GuestName, int], agents: frozenset[GuestName], application: bool
) -> tuple[GuestName, ...]:
    """Guests to hold still: those with an agent when the policy wants clean file systems, and those with
    several volumes in any case. One volume alone is always one moment."""
    chosen = (
        guest
        for guest in running
        if disks.get(guest, 0) > 1 or (application and disks.get(guest, 0) == 1 and guest in agents)
    )
    return tuple(sorted(chosen))


# -- promotion -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VolumePromotion:
    before: VolumeRecord
    replica: ReplicaRecord
    snapshot: ReplicaSnapshot
    after: VolumeRecord


@dataclass(frozen=True, slots=True)
class Promotion:
    sequence: int
    volumes: tuple[VolumePromotion, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    reasons: tuple[str, ...]


def plan_promotion(
    volumes: Sequence[VolumeRecord], replicas: Mapping[VolumeName, ReplicaRecord], site: SiteName, epoch: int
) -> Promotion | Refusal:
    """Make the newest moment that all volumes have complete writable on ``site`` under ``epoch``."""
    reasons = tuple(why for volume in volumes if (why := _refuses(volume, replicas.get(volume.volume), site, epoch)))
    if reasons:
        return Refusal(reasons)
    sequence = newest_common(volumes, replicas)
    if sequence is None:
        names = ", ".join(volume.volume for volume in volumes)
        return Refusal((f"no moment is complete for all of {names}: their replicas have no common cut",))
    steps = []
    for volume in volumes:
        replica = replicas[volume.volume]
        snapshot = serving(volume, replica, sequence)
        assert snapshot is not None and snapshot in replica.complete
        steps.append(VolumePromotion(volume, replica, snapshot, _promoted(volume, snapshot, sequence, site, epoch)))
    return Promotion(sequence, tuple(steps))


def _refuses(volume: VolumeRecord, replica: ReplicaRecord | None, site: SiteName, epoch: int) -> str | None:
    if volume.epoch >= epoch:
        return f"{volume.volume} is written under epoch {volume.epoch} already, not older than {epoch}"
    if replica is None or replica.site != site:
        return f"{site} has no replica of {volume.volume}"
    if not follows(replica, volume):
        return f"the replica of {volume.volume} follows {replica.image}, but {volume.image} was written"
    if not replica.complete:
        return f"the first copy of {volume.volume} has not arrived whole"
    return None


def _promoted(
    volume: VolumeRecord, snapshot: ReplicaSnapshot, sequence: int, site: SiteName, epoch: int
) -> VolumeRecord:
    return volume.model_copy(
        update={
            "site": site,
            "epoch": Epoch(epoch),
            "image": image_name(volume.volume, epoch),
            "origin_snapshot": snapshot_name(epoch, 0),
            "origin_sequence": max(sequence, snapshot.sequence),
            "origin_at": snapshot.taken_at,
            "parent_image": volume.image,
            "parent_snapshot": snapshot.snapshot,
        }
    )


# -- return ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stale:
    """An image of an older epoch on a site that writes the volume no more. ``since`` is the last point that
    the survivors have; what is newer exists only here."""

    volume: VolumeName
    image: str
    epoch: Epoch
    since: str


@dataclass(frozen=True, slots=True)
class ReplicaStart:
    """Where a new replica starts. ``parent`` is pool-free: image and snapshot in the guests pool; ``base``
    names a base image; neither: from an empty image, and then ``whole`` says that all must be copied."""

    parent: tuple[str, str] | None
    base: str | None
    whole: bool


def plan_return(volume: VolumeRecord, site: SiteName, images: Iterable[str]) -> tuple[Stale, ...]:
    """Which images in this site's guests pool are stale. Ours alone: a newer epoch's, or the current
    line's, is nobody's to hold back."""
    if volume.site == site:
        return ()
    stale = []
    for name in sorted(images):
        parsed = parse_image(name)
        if parsed is None or parsed[0] != volume.volume or name == volume.image or parsed[1] >= volume.epoch:
            continue
        common = volume.parent_snapshot if name == volume.parent_image else None
        stale.append(Stale(volume.volume, name, parsed[1], common or snapshot_name(parsed[1], 0)))
    return tuple(stale)


def plan_start(volume: VolumeRecord, parent_snapshots: frozenset[str] | None) -> ReplicaStart:
    """``parent_snapshots``: those of the parent image in this site's guests pool; None when it is absent."""
    if volume.parent_image is None:
        return ReplicaStart(None, volume.base_image, False)
    if parent_snapshots is not None and volume.parent_snapshot in parent_snapshots:
        assert volume.parent_snapshot is not None
        return ReplicaStart((volume.parent_image, volume.parent_snapshot), None, False)
    return ReplicaStart(None, None, True)


# -- pruning ---------------------------------------------------------------------------------------------


def plan_pruning(
    volume: VolumeRecord, common: int | None, snapshots: Iterable[str], cut: Cut | None = None
) -> tuple[str, ...]:
    """Snapshots of the writer's image, or of its replica, that may go: cuts older than the newest one that
    all volumes of the application have complete. That one is what a promotion would take, so it is also
    what this side would have to go back to; it and everything newer stays. ``common`` None: all stay."""
    if common is None:
        return ()
    needed = set()
    if cut is not None:
        needed = {name for part in cut.volumes if part.volume == volume.volume for name in (part.since, part.snapshot)}
    return tuple(
        name
        for name in snapshots
        if (sequence := sequence_of(volume, name)) is not None and sequence < common and name not in needed
    )


def pruned(replica: ReplicaRecord, dropped: Iterable[str]) -> ReplicaRecord | None:
    """The record without ``dropped``; None when nothing changes. The last complete one always stays."""
    gone = set(dropped)
    last = replica.complete[-1:]
    kept = tuple(each for each in replica.complete[:-1] if each.snapshot not in gone) + last
    return replica.model_copy(update={"complete": kept}) if kept != replica.complete else None
