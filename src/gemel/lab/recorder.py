"""An observer beside the lab: writes down every QEMU's life on all hosts, in real time. `python -m
gemel.lab.recorder FILE`; JSON lines as `lab.history` reads them.

It asks gemel nothing. Processes are found in /proc every 50 ms, their ends are told by pidfd at the moment
they happen, and QEMU's own STOP and RESUME events are heard through a `virsh` on each host.
"""

import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from gemel.lab.history import Record, What
from gemel.lab.namespaces import observe_namespaces
from gemel.lab.process import Spawner, start_time
from gemel.lab.state import LabFolder, StateFile
from gemel.lab.topology import PREFIX, plan_topology

LOOK_EVERY = 0.05
_LISTEN_AGAIN = 1.0
_SETTLED = 3.0
"""Seconds after which a `virsh` that has not failed is taken to have registered; it does not say so."""
_YOUNG = 5.0
"""Seconds for which a process that is not QEMU is looked at again: libvirt forks first and executes later."""
_EVENT = re.compile(r"event (STOP|RESUME) at (\d+)\.(\d+) for domain '?([^':]+)'?")
_LISTEN = ["stdbuf", "-oL", "virsh", "-k", "2", "-K", "3", "-c", "qemu:///system"]
_TICKS = os.sysconf("SC_CLK_TCK")


def parse_command_line(raw: bytes) -> tuple[str, bool] | None:
    """(guest, incoming) of a QEMU's /proc/PID/cmdline; None for one that runs no guest (libvirt's probes)."""
    words = raw.decode(errors="replace").split("\0")
    for flag, value in itertools.pairwise(words):
        if flag == "-name":
            fields = dict(part.partition("=")[::2] for part in value.split(","))
            return fields.get("guest", value.split(",")[0]), "-incoming" in words
    return None


def parse_event(line: str) -> tuple[What, float, str] | None:
    """(what, wall time, guest) of a line that `virsh qemu-monitor-event` prints."""
    found = _EVENT.search(line)
    if found is None:
        return None
    return What(found[1].lower()), int(found[2]) + int(found[3]) / 10 ** len(found[3]), found[4]


@dataclass(slots=True)
class _Listener:
    host: str
    process: "subprocess.Popen[bytes] | None" = None
    partial: bytes = b""
    again: float = 0.0
    since: float = 0.0
    hears: bool = False


class Recorder:
    """One loop over /proc, pidfds and listeners; no threads."""

    def __init__(self, output: Path, spawner: Spawner, hosts: tuple[str, ...], run_folders: dict[str, Path]) -> None:
        self._file = output.open("a", buffering=1)
        self._spawner = spawner
        self._poll = select.poll()
        self._guests: dict[int, Record] = {}  # by pidfd
        self._watched: set[int] = set()
        self._young: dict[int, float] = {}
        self._old: set[int] = set()
        self._listeners = {host: _Listener(host) for host in hosts}
        self._pipes: dict[int, _Listener] = {}
        self._run_folders = run_folders
        self._next_alive = 0.0
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            self._look()
            self._listen()
            now = time.monotonic()
            if now >= self._next_alive:
                self._write(Record(What.ALIVE, now))
                self._next_alive = now + 1.0
            for descriptor, _ in self._poll.poll(LOOK_EVERY * 1000):
                if descriptor in self._guests:
                    self._ended(descriptor)
                elif descriptor in self._pipes:
                    self._heard(self._pipes[descriptor], descriptor)
        for listener in self._listeners.values():
            if listener.process:
                listener.process.kill()

    def _write(self, record: Record) -> None:
        self._file.write(json.dumps(asdict(record)) + "\n")

    # -- processes ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - 20 times a second
        self._old &= pids
        self._watched &= pids
        now = time.monotonic()
        for pid in pids - self._old - self._watched:
            self._consider(pid, now)
        self._young = {pid: since for pid, since in self._young.items() if pid in pids}

    def _consider(self, pid: int, now: float) -> None:
        try:
            is_qemu = Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system")
            found = parse_command_line(Path(f"/proc/{pid}/cmdline").read_bytes()) if is_qemu else None
            if found:
                self._began(pid, *found)
                return
        except OSError:
            return
        if now - self._young.setdefault(pid, now) > _YOUNG:
            self._old.add(pid)
            del self._young[pid]

    def _began(self, pid: int, guest: str, incoming: bool) -> None:
        host = observe_namespaces().get(Path(f"/proc/{pid}/ns/net").stat().st_ino)
        ticks = start_time(pid)
        if host is None or ticks is None:  # another's QEMU on this machine, or one that ended just now
            self._old.add(pid) if host is None else None
            return
        descriptor = os.pidfd_open(pid)
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        begin = ticks / _TICKS - since_boot
        record = Record(What.START, begin, host.removeprefix(PREFIX), guest, pid, incoming)
        self._guests[descriptor] = record
        self._watched.add(pid)
        self._poll.register(descriptor, select.POLLIN)
        self._write(record)

    def _ended(self, descriptor: int) -> None:
        now = time.monotonic()
        start = self._guests.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        self._watched.discard(start.pid)
        self._old.add(start.pid)  # a zombie still has its name
        self._write(Record(What.END, now, start.host, start.guest, start.pid, start.incoming))

    # -- QEMU's own events -------------------------------------------------------------------------------

    def _listen(self) -> None:
        """A listener on each host that has a libvirtd; one that ended is started again."""
        now = time.monotonic()
        for listener in self._listeners.values():
            if listener.process and not listener.hears and now - listener.since > _SETTLED:
                listener.hears = True
                self._write(Record(What.LISTENING, now, listener.host))
            if listener.process is None and now >= listener.again:
                listener.again = now + _LISTEN_AGAIN
                if (self._run_folders[listener.host] / "libvirt/libvirt-sock").exists():
                    self._start_listener(listener)

    def _start_listener(self, listener: _Listener) -> None:
        argv = [*self._spawner.entrance(listener.host), *_LISTEN, "qemu-monitor-event", "--loop"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        listener.process, listener.since = process, time.monotonic()
        self._pipes[process.stdout.fileno()] = listener
        self._poll.register(process.stdout.fileno(), select.POLLIN)

    def _heard(self, listener: _Listener, descriptor: int) -> None:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        if not data:
            self._lost(listener, descriptor)
            return
        *lines, listener.partial = (listener.partial + data).split(b"\n")
        offset = time.monotonic() - time.time()
        for line in lines:
            event = parse_event(line.decode(errors="replace"))
            if event:
                what, wall, guest = event
                self._write(Record(what, wall + offset, listener.host, guest))

    def _lost(self, listener: _Listener, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._pipes[descriptor]
        if listener.process and listener.process.stdout:
            listener.process.stdout.close()
            listener.process.kill()
            listener.process.wait()
        if listener.hears:
            self._write(Record(What.DEAF, time.monotonic(), listener.host))
        listener.process, listener.partial, listener.hears = None, b"", False


def main(output: Path, folder: LabFolder) -> None:
    """Until SIGTERM."""
    hosts = tuple(host.name for host in plan_topology().hosts())
    spawner = Spawner(folder, StateFile(folder))
    recorder = Recorder(output, spawner, hosts, {host: folder.host(host) / "run" for host in hosts})

    def stop(_number: int, _frame: object) -> None:
        recorder.stopping = True

    signal.signal(signal.SIGTERM, stop)
    recorder.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), LabFolder(sys.argv[2]) if len(sys.argv) > 2 else LabFolder())
