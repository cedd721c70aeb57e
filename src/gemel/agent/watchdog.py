"""The watchdog: outside the agent, standard library only, it asks nobody.

Ten times a second it reads when this host must have stopped. From then on, and whenever nothing says
that the host may run guests, it kills every QEMU and withdraws every guest route, again and again: a
start that libvirt was still busy with must not survive either.

In production it also feeds the machine's hardware watchdog, so that a kernel that no longer runs this
process resets the host.
"""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from gemel.engines.iproute.withdraw import withdraw_all
from gemel.engines.libvirt.executioner import PidExecutioner

LEASE_FILE = Path("/run/gemel/lease.json")
HEARTBEAT = Path("/run/gemel/watchdog.beat")
HARDWARE = Path("/dev/watchdog")
EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether this host must run no guest now, and why."""

    must_stop: bool
    why: str


def judge(lease: str | None, now: float, boot: str) -> Verdict:
    """From the lease file's text (None: no file) and the monotonic time. Pure; what cannot be read refuses."""
    if lease is None:
        return Verdict(True, "no lease is held")
    try:
        fields = json.loads(lease)
        deadline, of_boot = float(fields["watchdog_deadline"]), str(fields["boot"])
    except (ValueError, KeyError, TypeError):
        return Verdict(True, "the lease file is not readable")
    if of_boot != boot:
        return Verdict(True, "the lease file is of an earlier boot")
    if not now < deadline:  # also when the deadline is not a number
        return Verdict(True, f"the lease was not renewed: {now - deadline:.2f} s past the watchdog's deadline")
    return Verdict(False, "")


def boot_identity() -> str:
    """This boot of the machine; what stands in ``/run`` does not outlive it either."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _say(message: str, **fields: object) -> None:
    line = {"process": "watchdog", "monotonic": round(time.monotonic(), 3), "message": message, **fields}
    print(json.dumps(line), file=sys.stderr, flush=True)


def _read() -> str | None:
    try:
        return LEASE_FILE.read_text()
    except OSError:
        return None


def _enforce(executioner: PidExecutioner, why: str) -> None:
    killed = executioner.kill_all()
    try:
        withdrawn = withdraw_all()
    except OSError as error:
        withdrawn = ()
        _say("routes could not be withdrawn", error=str(error))
    if killed or withdrawn:
        _say("fenced", why=why, killed=list(killed), withdrawn=[str(address) for address in withdrawn])


def main(config: Path) -> int:
    """Until SIGTERM. Stopping it properly does not stop guests; nobody notices its absence yet
    but systemd, which starts it again (docs/failures.md)."""
    del config  # what it needs, the lease file says; the argument is there because every process has it
    executioner, boot = PidExecutioner(), boot_identity()
    stopping: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopping.append(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    hardware = os.open(HARDWARE, os.O_WRONLY) if os.environ.get("GEMEL_HARDWARE_WATCHDOG") else None
    _say("watching", lease=str(LEASE_FILE))
    HEARTBEAT.parent.mkdir(parents=True, exist_ok=True)
    while not stopping:
        verdict = judge(_read(), time.monotonic(), boot)
        if verdict.must_stop:
            _enforce(executioner, verdict.why)
        if hardware is not None:
            os.write(hardware, b"\0")
        HEARTBEAT.write_text(str(time.monotonic()))
        time.sleep(EVERY)
    if hardware is not None:
        os.write(hardware, b"V")  # the magic close: an orderly stop must not reset the machine
        os.close(hardware)
    return 0
