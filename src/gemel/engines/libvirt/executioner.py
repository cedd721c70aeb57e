"""The last means against a guest: SIGKILL to its QEMU, found by libvirt's pid files.

The watchdog imports this module and nothing else of the room, so it needs the standard library only,
talks to no daemon, and answers in milliseconds when libvirtd, the agent and the store are all hung.

A pid file alone proves nothing (the pid may since belong to another process), so the process is pinned
by a pidfd first, then its command line is compared with the file's name, and the signal goes to the
pidfd: between the look and the blow nobody can take the pid over.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemel.core.identity import GuestName

RUN_DIR = Path("/run/libvirt/qemu")


@dataclass(frozen=True, slots=True)
class _Target:
    name: GuestName
    pid: int
    pidfd: int


def parse_guest_name(command_line: bytes) -> str | None:
    """The guest of a QEMU command line as /proc shows it: ``-name\\0guest=bank,debug-threads=on\\0``."""
    arguments = command_line.split(b"\0")
    for flag, value in pairwise(arguments):
        if flag != b"-name":
            continue
        for part in value.split(b","):
            if part.startswith(b"guest="):
                return part[len(b"guest=") :].decode("utf-8", "replace")
    return None


class PidExecutioner:
    """``run_dir`` is where libvirt keeps ``<guest>.pid``; ``settle`` bounds the wait for the dying, in
    seconds (a killed QEMU needs some 20 ms to give its memory back)."""

    def __init__(self, run_dir: Path = RUN_DIR, proc: Path = Path("/proc"), settle: float = 0.5) -> None:
        self._run_dir = run_dir
        self._proc = proc
        self._settle = settle

    def running(self) -> tuple[GuestName, ...]:
        """Names of the guests whose QEMU lives on this host, as the kernel says, not libvirt."""
        names = []
        for target in self._targets():
            os.close(target.pidfd)
            names.append(target.name)
        return tuple(names)

    def pid(self, name: GuestName) -> int | None:
        """The pid of this guest's QEMU; None when it has none."""
        target = self._target(self._run_dir / f"{name}.pid")
        if target is None:
            return None
        os.close(target.pidfd)
        return target.pid

    def kill(self, name: GuestName) -> bool:
        """Kill this guest's QEMU; True when one was there and was seen to end."""
        target = self._target(self._run_dir / f"{name}.pid")
        if target is None:
            return False
        with suppress(OSError):
            signal.pidfd_send_signal(target.pidfd, signal.SIGKILL)
        return self._wait_gone([target])

    def kill_all(self, keep: frozenset[GuestName] = frozenset()) -> tuple[GuestName, ...]:
        """Kill every QEMU of this host but ``keep``; returns the names of those that were sent SIGKILL,
        after they were seen gone or ``settle`` has passed. A QEMU that is just being started may be missed
        (its pid file names libvirt's child, which is not QEMU yet): a fence calls again until its deadline
        no longer stands. Raises nothing: what cannot be killed must not spare the rest."""
        doomed = [target for target in self._targets() if not self._spared(target, keep)]
        killed = []
        for target in doomed:
            with suppress(OSError):
                signal.pidfd_send_signal(target.pidfd, signal.SIGKILL)
                killed.append(target.name)
        self._wait_gone(doomed)
        return tuple(killed)

    @staticmethod
    def _spared(target: _Target, keep: frozenset[GuestName]) -> bool:
        if target.name not in keep:
            return False
        os.close(target.pidfd)
        return True

    def _targets(self) -> Iterator[_Target]:
        try:
            files = sorted(self._run_dir.glob("*.pid"))
        except OSError:
            return
        for file in files:
            target = self._target(file)
            if target is not None:
                yield target

    def _target(self, file: Path) -> _Target | None:
        """The live QEMU that this pid file names, pinned; None when there is none."""
        try:
            pid = int(file.read_text().strip())
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            return None
        if self._is_qemu_of(pid, file.stem):
            return _Target(file.stem, pid, pidfd)  # type: ignore[arg-type]
        os.close(pidfd)
        return None

    def _is_qemu_of(self, pid: int, name: str) -> bool:
        try:
            comm = (self._proc / str(pid) / "comm").read_text()
            command_line = (self._proc / str(pid) / "cmdline").read_bytes()
        except OSError:
            return False
        return comm.startswith("qemu") and parse_guest_name(command_line) == name

    def _wait_gone(self, doomed: list[_Target]) -> bool:
        """Whether all have ended in time. A pidfd becomes readable when its process has ended (a zombie
        has: it runs nothing)."""
        deadline = time.monotonic() + self._settle
        gone = True
        for target in doomed:
            poll = select.poll()
            poll.register(target.pidfd, select.POLLIN)
            gone &= bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            os.close(target.pidfd)
        return gone
