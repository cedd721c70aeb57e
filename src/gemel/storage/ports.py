"""What the storage wing asks of a site's Ceph. Two keys exist: a host's, and a steward's."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gemel.core.outcome import Absent, Present, Unknown


@dataclass(frozen=True, slots=True)
class Image:
    pool: str
    name: str
    size: int
    snapshots: tuple[str, ...]


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

    async def remove(self, pool: str, name: str) -> None: ...

    async def changed_bytes(self, pool: str, name: str, since: str, until: str | None) -> int:
        """Bytes in extents that differ between two snapshots, or a snapshot and now."""
        ...

    def export_diff(self, pool: str, name: str, since: str, until: str) -> AsyncIterator[bytes]: ...

    async def import_diff(self, pool: str, name: str, stream: AsyncIterator[bytes]) -> None:
        """Apply a difference; the closing snapshot exists only when all of it was applied."""
        ...
