"""What the storage wing asks of a site's Ceph. Two keys exist: a host's, and a steward's."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gemel.core.identity import GuestName
from gemel.core.outcome import Absent, Present, Unknown

BASE_SNAPSHOT = "base"


@dataclass(frozen=True, slots=True)
class Image:
    """``parent`` is pool, image and snapshot that it was cloned from."""

    pool: str
    name: str
    size: int
    snapshots: tuple[str, ...]
    parent: tuple[str, str, str] | None = None


class Fence(Protocol):
    """What a host does, with a host's key, before it starts a guest on a volume that another host wrote."""

    async def ensure_exclusive(self, pool: str, image: str) -> tuple[str, ...]:
        """Blocklist whoever holds the exclusive lock, then break it. Returns the addresses fenced. The
        caller's grant proves that the holder must be gone; this makes it so."""
        ...


class Images(Protocol):
    """A site's images, with the steward's key. Every call has a timeout; ``ensure_`` is idempotent."""

    async def observe(self, pool: str, name: str) -> Present[Image] | Absent | Unknown: ...

    async def names(self, pool: str) -> Present[frozenset[str]] | Unknown: ...

    async def ensure_base(self, name: str, disk: Path, size: int) -> None:
        """Import a raw disk into the images pool once, with the protected snapshot ``base``."""
        ...

    async def ensure_empty(self, pool: str, name: str, size: int) -> None: ...

    async def ensure_clone(
        self, parent_pool: str, parent: str, snapshot: str, pool: str, name: str, size: int | None = None
    ) -> None: ...

    async def ensure_snapshot(self, pool: str, name: str, snapshot: str) -> None: ...

    async def remove_snapshot(self, pool: str, name: str, snapshot: str) -> None: ...

    async def ensure_rolled_back(self, pool: str, name: str, snapshot: str) -> None: ...

    async def remove(self, pool: str, name: str) -> None:
        """With its snapshots. What clones still need of it lasts as long as they do."""
        ...

    async def changed_bytes(self, pool: str, name: str, since: str, until: str | None) -> int:
        """Bytes in extents that differ between two snapshots, or a snapshot and now."""
        ...

    def export_diff(self, pool: str, name: str, since: str, until: str) -> AsyncGenerator[bytes, None]:
        """``since`` may be empty: everything that the snapshot holds."""
        ...

    async def import_diff(self, pool: str, name: str, stream: AsyncIterator[bytes]) -> None:
        """Apply a difference; the closing snapshot exists only when all of it was applied."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """What one cut changed in one volume: names a parcel the same way on both sites."""

    volume: str
    image: str
    since: str
    until: str

    @property
    def name(self) -> str:
        return f"{self.image}/{self.since or 'nothing'}/{self.until}"


@dataclass(frozen=True, slots=True)
class Received:
    """A difference that has arrived whole: its contents agree with the sender's digest."""

    difference: Difference
    wire_bytes: int
    raw_bytes: int


class Export(Protocol):
    """Asked by the transport's server for the contents of a difference that the other side wants."""

    def __call__(self, difference: Difference) -> AsyncGenerator[bytes, None] | None:
        """None when no cut of this site contains it: then it is not handed out."""
        ...


class Transport(Protocol):
    """How differences travel from steward to steward. Both ends spool; nothing is imported half."""

    @property
    def source(self) -> str:
        """Where this end serves: ``https://address:port``; empty when it does not."""
        ...

    def serve(self, export: Export | None) -> None:
        """Hand out differences from now on; None: no more."""
        ...

    async def fetch(
        self,
        source: str,
        difference: Difference,
        limit: int | None,
        progress: Callable[[int, int], Awaitable[None]],
    ) -> Received:
        """Get it whole into the spool, resuming what is there already; at most ``limit`` bytes a second.
        ``progress`` is told (bytes here, bytes in all). Raises Retryable when it was interrupted."""
        ...

    def contents(self, difference: Difference) -> AsyncGenerator[bytes, None]:
        """Of one that was received. Close it (``aclosing``) when it is not read to its end."""
        ...

    async def retain(self, sent: frozenset[str], received: frozenset[str]) -> None:
        """Drop from the spools everything but these (names of differences)."""
        ...


class Freezable(Protocol):
    """What the freezer asks of a hypervisor; a part of compute's port, in the same words."""

    async def freeze(self, name: GuestName) -> int: ...

    async def thaw(self, name: GuestName) -> int: ...

    async def suspend(self, name: GuestName) -> None: ...

    async def resume(self, name: GuestName) -> None: ...
