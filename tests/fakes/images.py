"""A site's images in memory: contents as dicts of extents, with knobs for everything Ceph does wrong."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from gemel.core.clock import Clock
from gemel.core.outcome import Absent, Conflict, OutcomeUnknown, Permanent, Present, Retryable, Unknown
from gemel.storage.kinds import IMAGES_POOL
from gemel.storage.ports import BASE_SNAPSHOT, Image

EXTENT = 4096
Contents = dict[int, str]
"""Extent number to what was last written there. An extent counts as ``EXTENT`` bytes."""


@dataclass
class FakeImage:
    size: int
    head: Contents = field(default_factory=dict)
    snapshots: dict[str, Contents] = field(default_factory=dict)
    parent: tuple[str, str, str] | None = None
    writers: list[str] = field(default_factory=list)


@dataclass
class Faults:
    """``before`` is called with (call, pool/name) before each call and may raise: the call fails, nothing
    happened. ``after`` likewise, but the change was made: the answer is lost. ``hung``: every call outlives
    its timeout."""

    before: Callable[[str, str], None] | None = None
    after: Callable[[str, str], None] | None = None
    hung: bool = False


class FakeImages:
    """``storage.ports.Images`` and, for the same images, ``storage.ports.Fence``."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.pools: dict[str, dict[str, FakeImage]] = {"images": {}, "guests": {}, "replicas": {}}
        self.faults = Faults()
        self.calls: list[tuple[str, str]] = []
        self.files: dict[Path, str] = {}
        """Digest-like contents of image files, by path; unknown paths hold their own name."""

    # -- for tests ---------------------------------------------------------------------------------------

    def write(self, pool: str, name: str, extents: Contents) -> None:
        self.pools[pool][name].head.update(extents)

    def contents(self, pool: str, name: str, snapshot: str | None = None) -> Contents:
        image = self.pools[pool][name]
        return dict(image.head if snapshot is None else image.snapshots[snapshot])

    # -- the port ----------------------------------------------------------------------------------------

    async def _enter(self, call: str, pool: str, name: str) -> None:
        self.calls.append((call, f"{pool}/{name}"))
        await self.clock.sleep(0.01)
        if self.faults.hung:
            await self.clock.sleep(5.0)
            error = OutcomeUnknown if call.startswith("ensure") else Retryable
            raise error(f"{call} {pool}/{name}: no answer in time")
        if self.faults.before is not None:
            self.faults.before(call, f"{pool}/{name}")

    def _leave(self, call: str, pool: str, name: str) -> None:
        if self.faults.after is not None:
            self.faults.after(call, f"{pool}/{name}")

    def _get(self, pool: str, name: str) -> FakeImage:
        image = self.pools[pool].get(name)
        if image is None:
            raise Permanent(f"{pool}/{name}: (2) No such file or directory")
        return image

    async def observe(self, pool: str, name: str) -> Present[Image] | Absent | Unknown:
        try:
            await self._enter("observe", pool, name)
        except (Retryable, OutcomeUnknown) as error:
            return Unknown(str(error))
        image = self.pools[pool].get(name)
        if image is None:
            return Absent()
        return Present(Image(pool, name, image.size, tuple(image.snapshots), image.parent))

    async def names(self, pool: str) -> Present[frozenset[str]] | Unknown:
        try:
            await self._enter("names", pool, "")
        except (Retryable, OutcomeUnknown) as error:
            return Unknown(str(error))
        return Present(frozenset(self.pools[pool]))

    async def ensure_base(self, name: str, disk: Path, size: int) -> None:
        await self._enter("ensure_base", IMAGES_POOL, name)
        contents = {0: self.files.get(disk, disk.name)}
        self.pools[IMAGES_POOL].setdefault(name, FakeImage(size, contents, {BASE_SNAPSHOT: dict(contents)}))
        self._leave("ensure_base", IMAGES_POOL, name)

    async def ensure_empty(self, pool: str, name: str, size: int) -> None:
        await self._enter("ensure_empty", pool, name)
        image = self.pools[pool].setdefault(name, FakeImage(size))
        image.size = max(size, image.size)
        self._leave("ensure_empty", pool, name)

    async def ensure_clone(
        self, parent_pool: str, parent: str, snapshot: str, pool: str, name: str, size: int | None = None
    ) -> None:
        await self._enter("ensure_clone", pool, name)
        origin = self._get(parent_pool, parent)
        if snapshot not in origin.snapshots:
            raise Permanent(f"{parent_pool}/{parent}@{snapshot}: (2) No such file or directory")
        found = self.pools[pool].get(name)
        if found is not None and found.parent is not None and found.parent != (parent_pool, parent, snapshot):
            raise Conflict(f"{pool}/{name} exists as a clone of {found.parent}")
        if found is None:
            contents = dict(origin.snapshots[snapshot])
            self.pools[pool][name] = FakeImage(size or origin.size, contents, parent=(parent_pool, parent, snapshot))
        self._leave("ensure_clone", pool, name)

    async def ensure_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        await self._enter("ensure_snapshot", pool, name)
        image = self._get(pool, name)
        image.snapshots.setdefault(snapshot, dict(image.head))
        self._leave("ensure_snapshot", pool, name)

    async def remove_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        await self._enter("remove_snapshot", pool, name)
        self._get(pool, name).snapshots.pop(snapshot, None)
        self._leave("remove_snapshot", pool, name)

    async def ensure_rolled_back(self, pool: str, name: str, snapshot: str) -> None:
        await self._enter("ensure_rolled_back", pool, name)
        image = self._get(pool, name)
        image.head = dict(image.snapshots[snapshot])
        self._leave("ensure_rolled_back", pool, name)

    async def remove(self, pool: str, name: str) -> None:
        await self._enter("remove", pool, name)
        self.pools[pool].pop(name, None)
        self._leave("remove", pool, name)

    async def changed_bytes(self, pool: str, name: str, since: str, until: str | None) -> int:
        await self._enter("changed_bytes", pool, name)
        return EXTENT * len(self._difference(pool, name, since, until))

    def _difference(self, pool: str, name: str, since: str, until: str | None) -> Contents:
        image = self._get(pool, name)
        if (since and since not in image.snapshots) or (until is not None and until not in image.snapshots):
            raise Permanent(f"{pool}/{name}: diff error: (2) No such file or directory")
        old = image.snapshots[since] if since else {}
        new = image.head if until is None else image.snapshots[until]
        return {extent: value for extent, value in new.items() if old.get(extent) != value}

    async def export_diff(self, pool: str, name: str, since: str, until: str) -> AsyncGenerator[bytes, None]:
        """One line an extent, between a head line that names both ends and a last line."""
        await self._enter("export_diff", pool, name)
        changed = self._difference(pool, name, since, until)
        yield json.dumps({"from": since, "to": until}).encode() + b"\n"
        for extent, value in sorted(changed.items()):
            yield json.dumps([extent, value]).encode() + b"\n"
        yield b'"end"\n'

    async def import_diff(self, pool: str, name: str, stream: AsyncIterator[bytes]) -> None:
        await self._enter("import_diff", pool, name)
        image = self._get(pool, name)
        head: dict[str, str] | None = None
        ended = False
        rest = b""
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                word = json.loads(line)
                if head is None:
                    head = word
                    if head["from"] and head["from"] not in image.snapshots:
                        raise Permanent(f"{pool}/{name}: start snapshot {head['from']} is not there")
                    if head["to"] in image.snapshots:
                        raise Conflict(f"{pool}/{name}: {head['to']} is there already")
                elif word == "end":
                    ended = True
                else:
                    image.head[word[0]] = word[1]
                    if self.faults.before is not None:
                        self.faults.before("import_extent", f"{pool}/{name}")
        if head is None or not ended:
            raise Permanent(f"{pool}/{name}: the difference ended early")
        image.snapshots[head["to"]] = dict(image.head)
        self._leave("import_diff", pool, name)

    # -- the fence ---------------------------------------------------------------------------------------

    async def ensure_exclusive(self, pool: str, image: str) -> tuple[str, ...]:
        await self._enter("ensure_exclusive", pool, image)
        found = self.pools[pool].get(image)
        if found is None:
            return ()
        fenced, found.writers = tuple(found.writers), []
        return fenced
