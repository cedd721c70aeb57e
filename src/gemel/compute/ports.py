"""What compute asks of a hypervisor. libvirt is one; the fake in tests is another."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

from gemel.core.identity import GuestName, VolumeName
from gemel.core.outcome import Present, Unknown


class DomainState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    """Suspended by us, waiting for an incoming migration, or stopped by an I/O error: see ``reason``."""
    SHUTTING_DOWN = "shutting-down"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Domain:
    """A QEMU that exists on this host. ``reason`` is the engine's own word (``migration``, ``ioerror``)."""

    name: GuestName
    state: DomainState
    reason: str
    epoch: int
    generation: int
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class RbdDisk:
    """A volume to attach. Pool and image name as the volume record says them."""

    volume: VolumeName
    pool: str
    image: str


@dataclass(frozen=True, slots=True)
class CephAccess:
    """How QEMU reaches the site's Ceph."""

    conf: Path
    user: str
    secret_uuid: str
    monitors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """All that is needed to start a guest; a pure function of the declared and the granted."""

    name: GuestName
    uuid: str
    epoch: int
    generation: int
    cpu: int
    memory: int  # bytes
    kernel: Path | None
    initrd: Path | None
    command_line: str
    disks: tuple[RbdDisk, ...]
    ceph: CephAccess | None
    addresses: tuple[IPv4Address, ...]
    mac: str
    tap: str
    config: Mapping[str, str] = field(default_factory=dict)
    guest_agent: bool = False


class DomainEvent(StrEnum):
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"
    MIGRATED_IN = "migrated-in"  # now executing here
    MIGRATED_OUT = "migrated-out"  # no longer executing here
    IO_ERROR = "io-error"


@dataclass(frozen=True, slots=True)
class DomainChange:
    name: GuestName
    event: DomainEvent
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MigrationResult:
    downtime_ms: float
    total_ms: float
    bytes_transferred: int


Domains = Present[dict[GuestName, Domain]] | Unknown


class Hypervisor(Protocol):
    """Every call is bounded by a timeout; errors are those of ``core.outcome``."""

    async def observe(self) -> Domains:
        """Every domain that exists on this host, or Unknown when the engine did not answer."""
        ...

    async def ensure_running(self, plan: GuestPlan) -> None:
        """Start a transient domain. Nothing happens when it exists already. The caller holds the grant."""
        ...

    async def shut_down(self, name: GuestName, within: float) -> bool:
        """Ask the guest to stop; True when it was observed gone within so many seconds."""
        ...

    async def ensure_stopped(self, name: GuestName) -> None:
        """Destroy at once. Returns only when it was observed absent."""
        ...

    async def migrate(self, name: GuestName, to_uri: str, to_host: str) -> MigrationResult:
        """Live-migrate, peer to peer. Raises OutcomeUnknown when the end was not seen."""
        ...

    async def freeze(self, name: GuestName) -> int:
        """fsfreeze through the guest agent: number of file systems frozen. Bounded by 2 s."""
        ...

    async def thaw(self, name: GuestName) -> int: ...

    async def suspend(self, name: GuestName) -> None:
        """Stop the virtual CPUs and drain I/O (a consistent moment over several volumes)."""
        ...

    async def resume(self, name: GuestName) -> None: ...

    def changes(self) -> AsyncIterator[DomainChange]:
        """Events as they come, from now on."""
        ...

    async def close(self) -> None: ...


class Executioner(Protocol):
    """The last means, which asks nobody: SIGKILL to QEMU by its pid file. Used by agent and watchdog."""

    def kill_all(self, keep: frozenset[GuestName] = frozenset()) -> tuple[GuestName, ...]:
        """Kill every QEMU of this host but ``keep``; returns the names killed. Synchronous on purpose: it
        must work when the event loop does not."""
        ...
