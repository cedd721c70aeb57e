"""Sites, hosts, images and virtual machines: what a person declares, and what hosts say of them."""

from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

from pydantic import Field, StringConstraints

from gemel.core.identity import Epoch, GuestName, HostName, Incarnation, Name, SiteName
from gemel.core.resource import Model
from gemel.core.units import Size

Sha256 = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
RelativePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]


class SiteSpec(Model):
    """One cluster of hosts with its own Ceph, in one building."""

    location: str = ""
    prefixes: tuple[IPv4Network, ...] = ()
    """Prefixes that guests' addresses come from, for blackholes on hosts."""


class HostSpec(Model):
    """A machine that runs guests. ``cpu`` and ``memory`` are what guests may use, after the host's own."""

    site: Name
    cpu: int = Field(gt=0, le=4096)
    memory: Size = Field(gt=0)
    address: IPv4Address
    schedulable: bool = True
    """False while drained: nothing new is placed, and what runs is moved away."""


class ImageSpec(Model):
    """Something to boot. Paths are relative to the image directory of every host."""

    os: str
    kernel: RelativePath | None = None
    initrd: RelativePath | None = None
    command_line: str = ""
    disk: RelativePath | None = None
    """A raw disk image; absent for images that live in their initrd."""
    disk_size: Size | None = None
    digest: Sha256 | None = None
    """Of the disk file. The two sites' copies must agree before a replica may start from the image."""
    guest_agent: bool = False
    """The image runs qemu-guest-agent: it can be frozen for consistent snapshots, and shut down."""


class DiskSpec(Model):
    name: Name
    size: Size = Field(ge=2**20, le=2**46)
    image: Name | None = None
    """Start as a copy-on-write clone of this image's disk; empty when absent."""


class BootSpec(Model):
    """Direct kernel boot from ``image``'s kernel and initrd, or from the first disk when it has none."""

    image: Name


class PlacementSpec(Model):
    site: Name | None = None
    """For a guest without application: where it must run. In an application the ticket decides."""
    hosts: tuple[Name, ...] = ()
    """Only these hosts; empty means any."""


class VirtualMachineSpec(Model):
    running: bool = True
    cpu: int = Field(default=1, gt=0, le=256)
    memory: Size = Field(ge=32 * 2**20, le=2**44)
    boot: BootSpec
    disks: tuple[DiskSpec, ...] = Field(default=(), max_length=24)
    addresses: tuple[IPv4Address, ...] = Field(default=(), max_length=8)
    config: dict[str, str] = Field(default_factory=dict)
    """Handed to the guest through fw_cfg as ``opt/gemel/config.b64``: base64 of lines of KEY='value'. Whoever may
    read virtual machines, or the host's process list, can read it: no place for secrets that matter."""
    placement: PlacementSpec = PlacementSpec()


class HostLease(Model):
    """What stands under the host's lease. Its existence proves that the host may run guests."""

    host: HostName
    site: SiteName
    incarnation: Incarnation
    address: IPv4Address
    ttl: float
    boot_id: str = ""


class Assignment(Model):
    """Which host runs a guest, under which ticket. Written by the leader in a guarded commit.

    ``incarnation`` is the life of the host's lease that this grant was given to: a host that lost its
    lease and took another one holds no grant. While ``target`` is set the guest is being live-migrated
    from ``host`` to ``target``: qemu executes it on exactly one of the two.
    """

    guest: GuestName
    application: str
    epoch: Epoch
    host: HostName
    incarnation: Incarnation
    target: HostName | None = None
    target_incarnation: Incarnation | None = None
    running: bool = True
    """False: the guest must be stopped, gracefully where it can, and stay so."""
    generation: int = 1
    """Grows with every change of this assignment, so that reports can say which one they answer."""
    reasons: tuple[str, ...] = ()


class GuestState(StrEnum):
    PENDING = "Pending"  # assigned, waiting (for its volumes, say)
    STARTING = "Starting"
    RUNNING = "Running"
    MIGRATING = "Migrating"
    STOPPING = "Stopping"
    STOPPED = "Stopped"  # observed absent on this host
    FAILED = "Failed"  # tried, refused by the engine: see message
    HELD = "Held"  # quarantine: was run under a grant that is no longer good
    UNKNOWN = "Unknown"


class GuestReport(Model):
    """What a host saw of a guest: written on change only. ``incarnation`` is the writer's."""

    guest: GuestName
    host: HostName
    incarnation: Incarnation
    generation: int
    state: GuestState
    message: str = ""
    epoch: Epoch
    since: datetime
    migration_downtime_ms: float | None = None
    migration_total_ms: float | None = None
