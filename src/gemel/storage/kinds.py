"""Volumes, cuts, replicas and what is held back: the records of the storage wing.

An image's name carries the epoch that writes it (``<volume>.e<epoch>``), so a writer of an older epoch
does not even know the name of what the newer one writes.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from gemel.core.identity import Epoch, GuestName, HostName, SiteName, VolumeName
from gemel.core.resource import Model

GUESTS_POOL = "guests"
"""Images that guests write. Hosts' keys may write here and nowhere else."""
REPLICAS_POOL = "replicas"
"""Copies of the other site's volumes. Only stewards' keys may write here; hosts' keys may read, because a
promoted image is a copy-on-write clone of a replica's snapshot."""
IMAGES_POOL = "images"
"""Base images, read-only for hosts."""


class VolumeRecord(Model):
    """A volume's writable image: where, and under which epoch. Written by the steward of ``site``.

    A guest may be started only when ``site`` and ``epoch`` are those of its application's ticket.
    """

    volume: VolumeName
    guest: GuestName
    application: str
    size: int
    site: SiteName
    epoch: Epoch
    pool: str = GUESTS_POOL
    image: str
    base_image: str | None = None
    """The base image (pool ``images``) that it was cloned from, if any: ``<Image>-<digest>``, so that the two
    sites cannot start from different contents."""
    origin_snapshot: str
    """The snapshot of this image that equals the state at which the epoch began: the point from which the
    first difference is taken, and to which the other side can go back."""
    origin_sequence: int = 0
    origin_at: datetime | None = None
    """The moment whose contents the origin has: when the volume was created, or when the cut was taken
    that it was promoted from."""
    parent_image: str | None = None
    """Set by a promotion: the image of the earlier writer, on the other site, and its snapshot that equals
    the origin. There the new replica starts, so that only differences travel back."""
    parent_snapshot: str | None = None


class CutVolume(Model):
    volume: VolumeName
    image: str
    snapshot: str
    since: str
    """The snapshot from which the difference is taken: the last one complete on the other side."""
    changed_bytes: int


class CutPhase(StrEnum):
    FREEZING = "Freezing"  # agents are asked to freeze, and answer under layout.frozen
    TAKEN = "Taken"  # all snapshots exist; agents thaw; the other side fetches


class Cut(Model):
    """One moment of an application, over all its volumes. At most one is under way for an application."""

    application: str
    epoch: Epoch
    sequence: int
    phase: CutPhase
    guests: tuple[GuestName, ...] = ()
    taken_at: datetime | None = None
    consistent: str = ""
    """What the moment is worth: ``application`` (file systems frozen), ``guest`` (vCPUs stopped, or one
    volume), ``crash``; with the reason when it is less than the policy asked."""
    volumes: tuple[CutVolume, ...] = ()
    source: str = ""
    """``https://address:port`` of the steward that serves the differences."""
    final: bool = False
    """The guests were stopped before it: nothing can be newer (a planned move)."""
    ticket_revision: int | None = None
    """For a final cut: the store revision of the draining ticket that it was taken for. A final cut of an
    earlier, cancelled draining must not complete a later one. The steward that takes a final cut sets it."""


class FreezeAnswer(Model):
    application: str
    host: HostName
    sequence: int
    frozen: tuple[GuestName, ...]
    suspended: tuple[GuestName, ...] = ()
    failed: dict[GuestName, str] = Field(default_factory=dict)


class ReplicaSnapshot(Model):
    snapshot: str
    sequence: int
    taken_at: datetime
    consistent: str = ""
    final: bool = False


class ReplicaRecord(Model):
    """A volume's copy on the other site. Only snapshots in ``complete`` may ever be used."""

    volume: VolumeName
    application: str
    site: SiteName
    epoch: Epoch
    """The epoch of the writer that it follows."""
    image: str
    """Bears the same name as the image that it follows."""
    complete: tuple[ReplicaSnapshot, ...]
    """Oldest first. Empty only while the first full copy is under way, when this site had nothing to start
    from: such a replica is of no use yet."""
    receiving: str | None = None
    received_bytes: int = 0
    total_bytes: int = 0
    shipped_bytes: int = 0
    """On the wire since this epoch began, after compression."""
    copied_bytes: int = 0
    """The same before compression: what the differences held."""
    error: str = ""


class Backlog(Model):
    """What the writer's image holds beyond ``since``, the last snapshot that was complete elsewhere when this
    was measured."""

    volume: VolumeName
    epoch: Epoch
    since: str
    size: int
    measured_at: datetime


class QuarantineState(StrEnum):
    HELD = "Held"
    SALVAGED = "Salvaged"
    RELEASED = "Released"


class QuarantineRecord(Model):
    """Something of a returning site that no longer agrees with the tickets. ``name`` is a guest's or a
    volume's; ``image`` and ``diverged_bytes`` are set for volumes: writes that existed only there, kept
    under ``image`` (pool guests) since ``snapshot``, the last point that the survivors have."""

    name: str
    what: str
    """``guest`` or ``volume``."""
    site: SiteName
    host: HostName | None = None
    application: str
    epoch: Epoch
    state: QuarantineState
    reason: str
    since: datetime
    pool: str = GUESTS_POOL
    image: str = ""
    snapshot: str = ""
    diverged_bytes: int | None = None
