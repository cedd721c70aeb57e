"""Command lines of the `rbd` and `ceph` programs: pure.

Every call carries the client's own timeouts, so that a program that cannot reach its cluster ends by
itself; the caller's hard kill comes only after them.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster, as whom. ``launcher`` is put before each program (``nice -n 5``, say)."""

    conf: Path
    client: str
    launcher: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.client.removeprefix("client.")


def rbd(access: Access, timeout: float, *words: str) -> list[str]:
    seconds = str(max(1, int(timeout)))
    argv = [*access.launcher, "rbd", "-c", str(access.conf), "--id", access.id]
    argv += ["--client-mount-timeout", seconds, "--rados-osd-op-timeout", seconds, "--rados-mon-op-timeout", seconds]
    return [*argv, *words]


def ceph(access: Access, timeout: float, *words: str) -> list[str]:
    argv = [*access.launcher, "ceph", "-c", str(access.conf), "--id", access.id]
    return [*argv, "--connect-timeout", str(max(1, int(timeout))), *words]


def spec(pool: str, name: str, snapshot: str | None = None) -> str:
    return f"{pool}/{name}" if snapshot is None else f"{pool}/{name}@{snapshot}"


def json(*words: str) -> tuple[str, ...]:
    return (*words, "--format", "json")


def since(snapshot: str) -> tuple[str, ...]:
    """The starting point of a difference; an empty name means from nothing."""
    return ("--from-snap", snapshot) if snapshot else ()


def bytes_size(size: int) -> str:
    return f"{size}B"
