"""What the lab remembers between commands: which process is which, and what is cut.

The file is a convenience, not the truth: `down` works without it, and a process in it counts only while the
kernel shows the same start time under its number.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gemel.core.outcome import Permanent

LAB_ROOT = Path("/var/lib/gemel-lab")
DEFAULT_REGION = "lab"
LOCKS = Path("/run/lock")


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process that the lab started. ``start`` is the kernel's start time in ticks since boot, so that a
    number taken by another process since is not mistaken for it."""

    node: str
    name: str
    pid: int
    start: int
    argv: tuple[str, ...]
    log: str
    nice: int = 0
    env: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class LabState:
    region: str
    stage: str = ""
    """The last stage that `up` completed."""
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    """By ``node/name``."""
    cuts: list[str] = field(default_factory=list)
    down_hosts: list[str] = field(default_factory=list)
    """Hosts whose power is off: `kill host` without `start host`."""

    def processes_of(self, node: str) -> tuple[ProcessRecord, ...]:
        return tuple(record for record in self.processes.values() if record.node == node)

    def process(self, node: str, name: str) -> ProcessRecord:
        """Raises KeyError that names the node's processes."""
        record = self.processes.get(f"{node}/{name}")
        if record is None:
            names = ", ".join(sorted(r.name for r in self.processes_of(node))) or "none"
            raise KeyError(f"no process {name!r} on {node}; the lab started: {names}")
        return record


@dataclass(frozen=True, slots=True)
class LabFolder:
    """Where a region of the lab lives on this machine."""

    region: str = DEFAULT_REGION
    root: Path = LAB_ROOT

    @property
    def path(self) -> Path:
        return self.root / self.region

    def host(self, node: str) -> Path:
        """A node's private file system: its /run is ``host(node)/run``."""
        return self.path / "hosts" / node

    def pins(self) -> Path:
        """Where mount and UTS namespaces are pinned."""
        return self.path / "ns"

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def history(self) -> Path:
        """What the recorder writes: `lab.history` reads it."""
        return self.path / "history.jsonl"

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"


class StateFile:
    """The state on disk. Every change reads, changes and writes under a lock, so commands may overlap."""

    def __init__(self, folder: LabFolder) -> None:
        self._folder = folder

    def read(self) -> LabState:
        try:
            return _decode(json.loads(self._folder.state_file.read_text()), self._folder.region)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return LabState(self._folder.region)  # lost or half-written by another version: start from nothing

    @contextmanager
    def edit(self) -> Iterator[LabState]:
        self._folder.path.mkdir(parents=True, exist_ok=True)
        with (self._folder.path / ".state.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read()
            yield state
            temporary = self._folder.state_file.with_suffix(".new")
            temporary.write_text(json.dumps(asdict(state), indent=1))
            temporary.replace(self._folder.state_file)


@contextmanager
def only_one(folder: LabFolder, what: str) -> Iterator[None]:
    """Hold the lab's turn while ``up`` or ``down`` is at work. Raises Permanent, with the number of the process
    that has it. A process that dies gives it back."""
    path = LOCKS / f"gemel-lab-{folder.region}.lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise Permanent(f"cannot {what}: {holder} is at work on the lab; wait for it, or end it") from error
        lock.truncate(0)
        lock.write(f"`gemel lab {what}` (process {os.getpid()})")
        lock.flush()
        yield


def _decode(raw: dict[str, Any], region: str) -> LabState:
    processes = {
        key: ProcessRecord(**{**record, "argv": tuple(record["argv"])}) for key, record in raw["processes"].items()
    }
    return LabState(region, raw["stage"], processes, list(raw["cuts"]), list(raw["down_hosts"]))
