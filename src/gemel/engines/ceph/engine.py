"""A site's images and the fence of its volumes, by the `rbd` and `ceph` programs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from gemel.core.outcome import Absent, Conflict, GemelError, OutcomeUnknown, Permanent, Present, Retryable, Unknown
from gemel.engines.ceph import parse, render
from gemel.engines.ceph.program import Ended, TimedOut, read_stream, run, write_stream
from gemel.engines.ceph.render import Access, spec
from gemel.storage.kinds import IMAGES_POOL
from gemel.storage.ports import BASE_SNAPSHOT, Image

BLOCKLIST_SECONDS = 86400
"""Longer than any paused guest sleeps before its host's watchdog finds it."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. The programs get the first of a kind, the hard kill comes ``grace`` later."""

    observe: float = 5.0
    change: float = 15.0
    rollback: float = 600.0
    stall: float = 30.0
    grace: float = 2.0


class _Programs:
    def __init__(self, access: Access, timeouts: Timeouts) -> None:
        self.access = access
        self.timeouts = timeouts

    async def rbd(self, within: float, *words: str, at_most: float | None = None) -> Ended:
        argv = render.rbd(self.access, within, *words)
        return await run(argv, (at_most or within) + self.timeouts.grace)

    async def change(self, what: str, *words: str, at_most: float | None = None, fine: tuple[int, ...] = ()) -> int:
        """Run something that changes the cluster; ``fine`` are the ends that mean it was so before."""
        try:
            ended = await self.rbd(self.timeouts.change, *words, at_most=at_most)
        except TimedOut as error:
            raise OutcomeUnknown(f"{what}: {error}") from error
        if ended.code != 0 and ended.code not in fine:
            raise parse.error_of(what, ended.code, ended.stderr, self.access.client)
        return ended.code

    async def ask(self, what: str, *words: str) -> Ended:
        """Run something that only looks. A failure is Retryable: nothing was changed."""
        try:
            return await self.rbd(self.timeouts.observe, *words)
        except TimedOut as error:
            raise Retryable(f"{what}: {error}") from error

    async def answer(self, what: str, *words: str) -> str:
        ended = await self.ask(what, *words)
        if ended.code != 0:
            error = parse.error_of(what, ended.code, ended.stderr, self.access.client)
            raise Retryable(str(error)) if isinstance(error, OutcomeUnknown) else error
        return ended.stdout


class RbdImages:
    """``storage.ports.Images`` with the steward's key. ``timeouts`` bound each call."""

    def __init__(self, access: Access, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._programs = _Programs(access, self._timeouts)

    async def observe(self, pool: str, name: str) -> Present[Image] | Absent | Unknown:
        place = spec(pool, name)
        try:
            ended = await self._programs.ask(f"look at {place}", *render.json("info", place))
            if ended.code == parse.ENOENT and not parse.missing_pool(ended.stderr):
                return Absent()
            if ended.code != 0:
                return Unknown(f"rbd info {place} ended with {ended.code}: {parse.last_words(ended.stderr)}")
            info = parse.parse_info(ended.stdout)
            snapshots: tuple[str, ...] = ()
            if info.snapshot_count:
                listed = await self._programs.answer(f"list {place}", *render.json("snap", "ls", place))
                snapshots = parse.parse_snapshots(listed)
        except GemelError as error:
            return Unknown(str(error))
        return Present(Image(pool, name, info.size, snapshots, info.parent))

    async def names(self, pool: str) -> Present[frozenset[str]] | Unknown:
        try:
            return Present(parse.parse_names(await self._programs.answer(f"list {pool}", *render.json("ls", pool))))
        except GemelError as error:
            return Unknown(str(error))

    async def ensure_base(self, name: str, disk: Path, size: int) -> None:
        place = spec(IMAGES_POOL, name)
        seen = await self._seen(IMAGES_POOL, name)
        if seen is not None and BASE_SNAPSHOT in seen.snapshots:
            return
        if not await asyncio.to_thread(disk.is_file):
            raise Permanent(f"image file {disk} for {place} is missing on this host: copy it there")
        if seen is not None:  # an import that did not come to its end
            await self.remove(IMAGES_POOL, name)
        what = f"import {disk} as {place}"
        long = self._timeouts.rollback
        await self._programs.change(what, "import", "--no-progress", str(disk), place, at_most=long)
        await self._grow(IMAGES_POOL, name, size)
        await self._programs.change(what, "snap", "create", "--no-progress", spec(IMAGES_POOL, name, BASE_SNAPSHOT))
        await self._programs.change(
            what, "snap", "protect", spec(IMAGES_POOL, name, BASE_SNAPSHOT), fine=(parse.EBUSY,)
        )

    async def ensure_empty(self, pool: str, name: str, size: int) -> None:
        place = spec(pool, name)
        words = ("create", place, "--size", render.bytes_size(size))
        code = await self._programs.change(f"create {place}", *words, fine=(parse.EEXIST,))
        if code == parse.EEXIST:
            await self._same_parent(pool, name, None)
            await self._grow(pool, name, size)

    async def ensure_clone(
        self, parent_pool: str, parent: str, snapshot: str, pool: str, name: str, size: int | None = None
    ) -> None:
        origin, place = spec(parent_pool, parent, snapshot), spec(pool, name)
        code = await self._programs.change(f"clone {origin} to {place}", "clone", origin, place, fine=(parse.EEXIST,))
        if code == parse.EEXIST:
            await self._same_parent(pool, name, (parent_pool, parent, snapshot))
        if size is not None:
            await self._grow(pool, name, size)

    async def ensure_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        place = spec(pool, name, snapshot)
        words = ("snap", "create", "--no-progress", "--skip-quiesce", place)
        await self._programs.change(f"take snapshot {place}", *words, fine=(parse.EEXIST,))

    async def remove_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        place = spec(pool, name, snapshot)
        await self._programs.change(
            f"remove snapshot {place}", "snap", "rm", "--no-progress", place, fine=(parse.ENOENT,)
        )

    async def ensure_rolled_back(self, pool: str, name: str, snapshot: str) -> None:
        place = spec(pool, name, snapshot)
        words = ("snap", "rollback", "--no-progress", place)
        await self._programs.change(f"roll back to {place}", *words, at_most=self._timeouts.rollback)

    async def remove(self, pool: str, name: str) -> None:
        """Also with clones that still need it: then it goes to the trash, where it lasts as long as they."""
        seen = await self._seen(pool, name)
        if seen is None:
            return
        place = spec(pool, name)
        for snapshot in seen.snapshots:
            unprotect = ("snap", "unprotect", spec(pool, name, snapshot))
            await self._programs.change(f"remove {place}", *unprotect, fine=(22, parse.ENOENT, parse.EBUSY))
            await self.remove_snapshot(pool, name, snapshot)
        long = self._timeouts.rollback
        fine = (parse.ENOENT, parse.ENOTEMPTY, parse.EBUSY)
        code = await self._programs.change(f"remove {place}", "rm", "--no-progress", place, at_most=long, fine=fine)
        if code in (parse.ENOTEMPTY, parse.EBUSY):
            await self._programs.change(f"move {place} to the trash", "trash", "mv", place, fine=(parse.ENOENT,))

    async def flatten(self, pool: str, name: str) -> None:
        place = spec(pool, name)
        words = ("flatten", "--no-progress", place)
        await self._programs.change(f"flatten {place}", *words, at_most=self._timeouts.rollback, fine=(22,))

    async def changed_bytes(self, pool: str, name: str, since: str, until: str | None) -> int:
        place = spec(pool, name, until)
        words = render.json("diff", *render.since(since), place)
        return parse.parse_extents(await self._programs.answer(f"compare {place} with {since or 'nothing'}", *words))

    async def export_diff(self, pool: str, name: str, since: str, until: str) -> AsyncGenerator[bytes, None]:
        place = spec(pool, name, until)
        what = f"export what changed in {place} since {since or 'its creation'}"
        words = ("export-diff", "--no-progress", *render.since(since), place, "-")
        argv = render.rbd(self._programs.access, self._timeouts.change, *words)
        try:
            async with aclosing(read_stream(argv, self._timeouts.stall)) as chunks:
                async for chunk in chunks:
                    if not isinstance(chunk, Ended):
                        yield chunk
                    elif chunk.code != 0:
                        raise parse.error_of(what, chunk.code, chunk.stderr, self._programs.access.client)
        except TimedOut as error:
            raise Retryable(f"{what}: {error}") from error

    async def import_diff(self, pool: str, name: str, stream: AsyncIterator[bytes]) -> None:
        place = spec(pool, name)
        what = f"import a difference into {place}"
        words = ("import-diff", "--no-progress", "-", place)
        argv = render.rbd(self._programs.access, self._timeouts.change, *words)
        try:
            ended = await write_stream(argv, stream, self._timeouts.stall)
        except TimedOut as error:
            raise OutcomeUnknown(f"{what}: {error}") from error
        if ended.code != 0:
            raise parse.error_of(what, ended.code, ended.stderr, self._programs.access.client)

    async def _seen(self, pool: str, name: str) -> Image | None:
        """As ``observe``, for a change that must know: Unknown raises Retryable."""
        match await self.observe(pool, name):
            case Present(image):
                return image
            case Absent():
                return None
            case Unknown(why):
                raise Retryable(why)

    async def _same_parent(self, pool: str, name: str, parent: tuple[str, str, str] | None) -> None:
        seen = await self._seen(pool, name)
        if seen is None:
            raise Retryable(f"{spec(pool, name)} was there a moment ago and is gone: try again")
        # A parent in the trash, or one that was flattened away, shows another name or none.
        if parent is not None and seen.parent is not None and seen.parent[1] != parent[1]:
            raise Conflict(f"{spec(pool, name)} exists as a clone of {seen.parent}, not of {parent}: remove it first")

    async def _grow(self, pool: str, name: str, size: int) -> None:
        seen = await self._seen(pool, name)
        if seen is not None and seen.size < size:
            place = spec(pool, name)
            words = ("resize", "--no-progress", place, "--size", render.bytes_size(size))
            await self._programs.change(f"grow {place}", *words)


class RbdFence:
    """``storage.ports.Fence`` with a host's key."""

    def __init__(self, access: Access, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._programs = _Programs(access, self._timeouts)

    async def ensure_exclusive(self, pool: str, image: str) -> tuple[str, ...]:
        """Fences the lock's holder and everyone else who has the image open for writing: who holds no lock
        yet would be handed it at his next write."""
        place = spec(pool, image)
        what = f"fence the writers of {place}"
        listed = await self._programs.answer(what, *render.json("lock", "ls", place))
        lockers = parse.parse_lockers(listed)
        watchers = parse.parse_watchers(await self._programs.answer(what, *render.json("status", place)))
        addresses = tuple(sorted({locker.address for locker in lockers} | set(watchers)))
        for address in addresses:
            await self._blocklist(what, address)
        for locker in lockers:
            words = ("lock", "rm", place, locker.cookie, locker.client)
            await self._programs.change(what, *words, fine=(parse.ENOENT,))
        return addresses

    async def _blocklist(self, what: str, address: str) -> None:
        words = ("osd", "blocklist", "add", address, str(BLOCKLIST_SECONDS))
        argv = render.ceph(self._programs.access, self._timeouts.observe, *words)
        try:
            ended = await run(argv, self._timeouts.change + self._timeouts.grace)
        except TimedOut as error:
            raise OutcomeUnknown(f"{what}: {error}") from error
        if ended.code != 0:
            raise Retryable(f"{what}: {address} was not blocklisted: {parse.last_words(ended.stderr)}")
