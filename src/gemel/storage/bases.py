"""Base images: files on the host become images in the site's Ceph, named by what is in them."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path

from gemel.core.outcome import Absent, Permanent, Present, Retryable, Unknown
from gemel.storage.kinds import IMAGES_POOL
from gemel.storage.neighbours import ImageSpecReading
from gemel.storage.ports import BASE_SNAPSHOT, Images

DIGEST_LETTERS = 12
DigestOf = Callable[[Path], Awaitable[str]]


def base_name(image: str, digest: str) -> str:
    """``<Image>-<start of the digest>``: two sites that hold the same name hold the same contents."""
    return f"{image}-{digest.removeprefix('sha256:')[:DIGEST_LETTERS]}"


def image_of(base: str) -> str:
    """The Image that a base was made from."""
    return base.rpartition("-")[0]


class Bases:
    """``folder`` is the host's image directory."""

    def __init__(self, images: Images, folder: Path, digest_of: DigestOf) -> None:
        self._images = images
        self._folder = folder
        self._digest_of = digest_of
        self._locks: dict[str, asyncio.Lock] = {}
        self._there: set[str] = set()

    async def ensure(self, image: str, spec: ImageSpecReading) -> str:
        """The base's name in the pool ``images``, after it was seen there."""
        async with self._locks.setdefault(image, asyncio.Lock()):
            if spec.digest is not None and await self._present(base_name(image, spec.digest)):
                return base_name(image, spec.digest)
            if spec.disk is None:
                raise Permanent(f"image {image} has no disk to clone a volume from: give it spec.disk")
            path = self._folder / spec.disk
            digest = await self._digest(image, path)
            if spec.digest is not None and digest != spec.digest:
                raise Permanent(
                    f"{path} is not what image {image} declares: its digest is {digest}, declared is {spec.digest}; "
                    f"copy the right file to this host or correct the declaration"
                )
            name = base_name(image, digest)
            if not await self._present(name):
                await self._images.ensure_base(name, path, spec.disk_size or 0)
                self._there.add(name)
            return name

    async def ensure_named(self, base: str, images: dict[str, ImageSpecReading]) -> bool:
        """Have exactly this base; False when this site cannot make it any more."""
        if await self._present(base):
            return True
        spec = images.get(image_of(base))
        if spec is None:
            return False
        try:
            return await self.ensure(image_of(base), spec) == base
        except Permanent:
            return False

    async def _present(self, name: str) -> bool:
        if name in self._there:
            return True
        match await self._images.observe(IMAGES_POOL, name):
            case Present(found) if BASE_SNAPSHOT in found.snapshots:
                self._there.add(name)
                return True
            case Unknown(why):
                raise Retryable(f"cannot tell whether base image {name} is there: {why}")
            case Present() | Absent():
                return False

    async def _digest(self, image: str, path: Path) -> str:
        try:
            return await self._digest_of(path)
        except FileNotFoundError as error:
            raise Permanent(f"image {image} wants {path}, which is not on this host: copy it there") from error


async def file_digest(path: Path) -> str:
    """``sha256:<hex>`` of a file, remembered as long as its size and time of change stay."""
    return await asyncio.to_thread(_remembered_digest, path)


def _remembered_digest(path: Path) -> str:
    found = path.stat()
    return _sha256(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
