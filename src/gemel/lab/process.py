"""Processes inside a node's namespaces: started as an init system would, and known by number and start time."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gemel.core.outcome import OutcomeUnknown, Permanent
from gemel.lab.state import LabFolder, ProcessRecord, StateFile
from gemel.lab.topology import PREFIX

NETNS = Path("/run/netns")
OBSERVER = "observer"
"""Not a node: this machine itself, for what looks at the lab from beside it."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Completed:
    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    def check(self) -> "Completed":
        """Itself, when it succeeded. Raises Permanent with the last lines that it said."""
        if self.returncode != 0:
            said = (self.stderr.strip() or self.stdout.strip())[-600:]
            raise Permanent(f"`{' '.join(self.argv[:8])}` failed with {self.returncode}: {said}")
        return self


async def run(
    argv: Sequence[str], timeout: float = 30.0, stdin: str = "", env: Mapping[str, str] | None = None
) -> Completed:
    """Run to the end. Raises OutcomeUnknown when it had to be killed, Permanent when it cannot be started."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env) if env is not None else None,
        )
    except OSError as error:
        raise Permanent(f"cannot run {argv[0]}: {error}") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), timeout)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise OutcomeUnknown(f"`{' '.join(argv[:8])}` did not end within {timeout:g} s: killed") from error
    return Completed(tuple(argv), process.returncode or 0, out.decode(errors="replace"), err.decode("utf-8", "replace"))


def start_time(pid: int) -> int | None:
    """The kernel's start time of a live process in ticks; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def is_alive(record: ProcessRecord) -> bool:
    return start_time(record.pid) == record.start


def process_state(pid: int) -> str:
    """The kernel's letter (R, S, D, T, Z); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Spawner:
    """Starts processes in nodes and records them. Logs go to ``<region>/logs/<node>/<name>.log``."""

    def __init__(self, folder: LabFolder, state: StateFile) -> None:
        self._folder = folder
        self._state = state
        self._children: list[subprocess.Popen[bytes]] = []

    def entrance(self, node: str, system: bool = True) -> list[str]:
        """The argv before a command that brings it into the node's namespaces. Empty for ``OBSERVER``."""
        if node == OBSERVER:
            return []
        argv = ["nsenter", f"--net={NETNS / (PREFIX + node)}"]
        if system:
            pins = self._folder.pins()
            argv += [f"--mount={pins / (node + '.mnt')}", f"--uts={pins / (node + '.uts')}", "--wdns=/"]
        return [*argv, "--"]

    def spawn(
        self,
        node: str,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        nice: int = 0,
    ) -> int:
        """Start a daemon in its own session; returns its pid. One that runs already is left alone."""
        self.reap()
        known = self._state.read().processes.get(f"{node}/{name}")
        if known and is_alive(known):
            return known.pid
        log = self._folder.logs / node / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [*self.entrance(node), *(("nice", "-n", str(nice)) if nice else ()), *argv]
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": _PATH, "LANG": "C.UTF-8", "HOME": "/root", **(env or {})},
                start_new_session=True,
            )
        self._children.append(child)
        self.record(node, name, child.pid, argv, log, nice, env)
        return child.pid

    def record(
        self,
        node: str,
        name: str,
        pid: int,
        argv: Sequence[str],
        log: Path,
        nice: int = 0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        with self._state.edit() as state:
            state.processes[f"{node}/{name}"] = ProcessRecord(
                node, name, pid, start_time(pid) or 0, tuple(argv), str(log), nice, dict(env or {})
            )

    def forget(self, node: str, name: str) -> None:
        """Take a process that has ended for good off the record."""
        with self._state.edit() as state:
            state.processes.pop(f"{node}/{name}", None)

    async def execute(
        self,
        node: str,
        argv: Sequence[str],
        timeout: float = 30.0,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        system: bool = True,
    ) -> Completed:
        """Run a command in a node to its end."""
        merged = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": "/root", **(env or {})}
        return await run([*self.entrance(node, system), *argv], timeout, stdin, merged)

    def reap(self) -> None:
        """Collect our own dead children, so that a long-lived caller keeps no zombies."""
        self._children = [child for child in self._children if child.poll() is None]


def signal_group(record: ProcessRecord, number: signal.Signals) -> bool:
    """Signal a recorded process and its session's group; False when it is not there any more."""
    if not is_alive(record):
        return False
    try:
        os.killpg(record.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise Permanent(f"cannot signal {record.name} on {record.node}: {error}") from error
    return True
