"""Files of differences on disk: written whole before they are offered, verified whole before they are used.

    sent/<name>.data      what goes over the wire        sent/<name>.json      size, digest, encoding
    received/<name>.part  what has arrived so far        received/<name>.json  what it will be when whole
    received/<name>.data  whole, digest seen right

Names are differences' names with ``/`` written as ``+``.
"""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

import zstandard

from gemel.core.outcome import Permanent, Retryable

CHUNK = 1 << 20
SAMPLE = 4 << 20
LEVEL = 1
PAYS_BELOW = 0.9
"""Compress when the first bytes shrink to less than this."""
_NAME = re.compile(r"^[A-Za-z0-9._/-]+$")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A difference as it travels: ``size`` bytes on the wire with this digest, ``raw`` bytes unpacked."""

    size: int
    sha256: str
    encoding: str
    """``zstd`` or ``identity``."""
    raw: int


def file_name(name: str) -> str:
    if not _NAME.match(name) or ".." in name:
        raise Permanent(f"{name!r} cannot name a difference")
    return name.replace("/", "+")


class Outgoing:
    """Differences that this site offers, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.making"):
            leftover.unlink()

    def find(self, name: str) -> tuple[Parcel, Path] | None:
        stem = file_name(name)
        try:
            parcel = Parcel(**json.loads((self._folder / f"{stem}.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        data = self._folder / f"{stem}.data"
        return (parcel, data) if data.exists() and data.stat().st_size == parcel.size else None

    async def make(self, name: str, contents: AsyncGenerator[bytes, None]) -> Parcel:
        """Spool the contents; the difference is found only when all of them are there."""
        stem = file_name(name)
        making = self._folder / f"{stem}.making"
        writer = _Packer(making)
        try:
            async with aclosing(contents):
                async for chunk in contents:
                    await asyncio.to_thread(writer.write, chunk)
            parcel = await asyncio.to_thread(writer.finish)
        except OSError as error:
            raise Retryable(f"{name} was not spooled to {self._folder}: {error}; is the disk full?", after=5) from error
        finally:
            writer.close()
        making.replace(self._folder / f"{stem}.data")
        _write_json(self._folder / f"{stem}.json", parcel)
        return parcel

    def retain(self, names: frozenset[str]) -> None:
        _sweep(self._folder, names)


class Incoming:
    """Differences that arrive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, name: str, suffix: str) -> Path:
        return self._folder / f"{file_name(name)}.{suffix}"

    def found(self, name: str) -> Parcel | None:
        """Arrived whole before."""
        return self._expected(name) if self._path(name, "data").exists() else None

    def resume_at(self, name: str, parcel: Parcel) -> int:
        """How much of exactly this parcel is here; what is here of another one is dropped."""
        part = self._path(name, "part")
        if self._expected(name) != parcel or not part.exists() or part.stat().st_size > parcel.size:
            part.unlink(missing_ok=True)
            _write_json(self._path(name, "json"), parcel)
            part.touch()
            return 0
        return part.stat().st_size

    def partial(self, name: str) -> tuple[Parcel, int] | None:
        """What has begun to arrive, and how far it is."""
        expected, part = self._expected(name), self._path(name, "part")
        return (expected, part.stat().st_size) if expected and part.exists() else None

    def restart(self, name: str) -> int:
        """The sender starts at the beginning, whatever was asked: 0 bytes are here."""
        self._path(name, "part").write_bytes(b"")
        return 0

    def _expected(self, name: str) -> Parcel | None:
        try:
            return Parcel(**json.loads(self._path(name, "json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def append(self, name: str, chunk: bytes) -> None:
        with self._path(name, "part").open("ab") as file:
            file.write(chunk)

    async def finish(self, name: str, parcel: Parcel) -> None:
        """Verify and accept, or drop and raise Retryable."""
        part = self._path(name, "part")
        digest = await asyncio.to_thread(_digest, part)
        if digest != parcel.sha256:
            part.unlink(missing_ok=True)
            raise Retryable(f"{name} arrived damaged (its digest is {digest[:12]}, not {parcel.sha256[:12]})")
        part.replace(self._path(name, "data"))

    async def contents(self, name: str) -> AsyncGenerator[bytes, None]:
        parcel = self.found(name)
        if parcel is None:
            raise Retryable(f"{name} is not in the spool: fetch it again")
        with self._path(name, "data").open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file) if parcel.encoding == "zstd" else file
            while chunk := await asyncio.to_thread(reader.read, CHUNK):
                yield chunk

    def retain(self, names: frozenset[str]) -> None:
        _sweep(self._folder, names)


class _Packer:
    """Decides by a sample whether compression pays, then streams to a file with a running digest."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._sample = b""
        self._compressor: zstandard.ZstdCompressionObj | None = None
        self._decided = False
        self._digest = hashlib.sha256()
        self._size = self._raw = 0

    def write(self, chunk: bytes) -> None:
        self._raw += len(chunk)
        if self._decided:
            self._put(self._compressor.compress(chunk) if self._compressor else chunk)
            return
        self._sample += chunk
        if len(self._sample) >= SAMPLE:
            self._decide()

    def _decide(self) -> None:
        self._decided = True
        sample, self._sample = self._sample, b""
        compressor = zstandard.ZstdCompressor(level=LEVEL)
        if sample and len(compressor.compress(sample)) < PAYS_BELOW * len(sample):
            self._compressor = compressor.compressobj()
            self._put(self._compressor.compress(sample))
        else:
            self._put(sample)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def finish(self) -> Parcel:
        if not self._decided:
            self._decide()
        if self._compressor is not None:
            self._put(self._compressor.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        return Parcel(self._size, self._digest.hexdigest(), "zstd" if self._compressor else "identity", self._raw)

    def close(self) -> None:
        self._file.close()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, parcel: Parcel) -> None:
    fresh = path.with_suffix(".json.new")
    fresh.write_text(json.dumps(asdict(parcel)))
    fresh.replace(path)


def _sweep(folder: Path, names: frozenset[str]) -> None:
    kept = {file_name(name) for name in names}
    for path in folder.iterdir():
        stem = path.name.removesuffix(".json.new").rsplit(".", 1)[0] if path.suffix != ".new" else ""
        if stem not in kept and path.suffix != ".making":
            path.unlink(missing_ok=True)
