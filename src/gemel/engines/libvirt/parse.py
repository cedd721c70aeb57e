"""What libvirt says, in the words of ``compute.ports``. Pure: plain numbers and XML in, records out.

The numbers are libvirt's stable ABI (virDomainState and its reasons, virDomainEventType and its details,
virErrorNumber), written out so that this module needs no binding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from xml.etree import ElementTree

from gemel.compute.ports import Domain, DomainChange, DomainEvent, DomainState, MigrationResult
from gemel.core.identity import GuestName
from gemel.engines.libvirt.render import NAMESPACE

_STATES = {
    0: DomainState.RUNNING,  # nostate: it exists, and may execute
    1: DomainState.RUNNING,
    2: DomainState.RUNNING,  # blocked
    3: DomainState.PAUSED,
    4: DomainState.SHUTTING_DOWN,
    6: DomainState.CRASHED,
    7: DomainState.PAUSED,  # suspended by the guest itself
}
_SHUTOFF = 5

_REASONS: Mapping[int, tuple[str, ...]] = {
    1: (
        "unknown", "booted", "migrated", "restored", "from-snapshot", "unpaused", "migration-canceled",
        "save-canceled", "wakeup", "crashed", "postcopy", "postcopy-failed",
    ),
    3: (
        "unknown", "user", "migration", "save", "dump", "ioerror", "watchdog", "from-snapshot",
        "shutting-down", "snapshot", "crashed", "starting-up", "postcopy", "postcopy-failed",
    ),
    4: ("unknown", "user"),
    6: ("unknown", "panicked"),
}  # fmt: skip

_STARTED, _SUSPENDED, _RESUMED, _STOPPED, _SHUTDOWN, _CRASHED = 2, 3, 4, 5, 6, 8
_STOPPED_DETAILS = ("shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from-snapshot")
_SUSPENDED_DETAILS = (
    "paused", "migrated", "ioerror", "watchdog", "restored", "from-snapshot", "api-error", "postcopy",
    "postcopy-failed",
)  # fmt: skip
_STARTED_DETAILS = ("booted", "migrated", "restored", "from-snapshot", "wakeup")
_RESUMED_DETAILS = ("unpaused", "migrated", "from-snapshot", "postcopy", "postcopy-failed")
_MIGRATED = "migrated"


class Complaint(Enum):
    """What an error of libvirt asks of us."""

    NO_DOMAIN = auto()
    EXISTS = auto()
    NOT_RUNNING = auto()
    DISCONNECTED = auto()
    AGENT = auto()
    TIMEOUT = auto()
    MISTAKE = auto()  # what was asked for will never work
    OTHER = auto()


_COMPLAINTS = {
    42: Complaint.NO_DOMAIN,
    55: Complaint.NOT_RUNNING,
    6: Complaint.DISCONNECTED,
    39: Complaint.DISCONNECTED,  # RPC
    8: Complaint.MISTAKE,  # invalid argument
    27: Complaint.MISTAKE,  # XML error
    28: Complaint.EXISTS,
    35: Complaint.MISTAKE,  # XML detail
    67: Complaint.MISTAKE,  # unsupported configuration
    74: Complaint.MISTAKE,  # unsupported argument
    86: Complaint.AGENT,  # unresponsive
    97: Complaint.AGENT,  # out of step
    68: Complaint.TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Grant:
    """What the guest was started under, from the domain's metadata; zeros for a stranger."""

    epoch: int
    generation: int


def parse_grant(domain_xml: str) -> Grant:
    """A domain without our metadata is a stranger: epoch 0 is older than any ticket."""
    root = ElementTree.fromstring(domain_xml)
    ours = root.find(f"metadata/{{{NAMESPACE}}}guest")
    if ours is None:
        return Grant(0, 0)
    try:
        return Grant(int(ours.get("epoch", "0")), int(ours.get("generation", "0")))
    except ValueError:
        return Grant(0, 0)


def parse_domain(name: str, state: int, reason: int, domain_xml: str, pid: int | None) -> Domain | None:
    """None for a domain that libvirt knows and that does not run: it is no QEMU."""
    if state == _SHUTOFF:
        return None
    grant = parse_grant(domain_xml)
    word = _word(_REASONS.get(state, ()), reason)
    return Domain(GuestName(name), _STATES[state], word, grant.epoch, grant.generation, pid)


def parse_event(name: str, event: int, detail: int) -> DomainChange | None:
    """A lifecycle event as a change; None for those that change nothing for us (defined, undefined).

    A live migration shows as: at the target STARTED, then MIGRATED_IN when the guest executes there; at the
    source PAUSED (``migrated``) when it has stopped executing, then MIGRATED_OUT when its QEMU is gone. One
    that failed after the pause ends with RESUMED at the source.
    """
    guest = GuestName(name)
    if event == _STARTED:
        return DomainChange(guest, DomainEvent.STARTED, _word(_STARTED_DETAILS, detail))
    if event == _SUSPENDED:
        word = _word(_SUSPENDED_DETAILS, detail)
        return DomainChange(guest, DomainEvent.IO_ERROR if word == "ioerror" else DomainEvent.PAUSED, word)
    if event == _RESUMED:
        word = _word(_RESUMED_DETAILS, detail)
        moved = word in (_MIGRATED, "postcopy")
        return DomainChange(guest, DomainEvent.MIGRATED_IN if moved else DomainEvent.RESUMED, word)
    if event == _STOPPED:
        word = _word(_STOPPED_DETAILS, detail)
        moved = word == _MIGRATED
        return DomainChange(guest, DomainEvent.MIGRATED_OUT if moved else DomainEvent.STOPPED, word)
    if event == _CRASHED:
        return DomainChange(guest, DomainEvent.STOPPED, "crashed")
    return None


def parse_complaint(code: int, message: str) -> Complaint:
    if code in (9, 55) and "already" in message:
        return Complaint.EXISTS
    if code == 1 and "connection" in message and "clos" in message:
        return Complaint.DISCONNECTED
    return _COMPLAINTS.get(code, Complaint.OTHER)


def parse_job(statistics: Mapping[str, object]) -> MigrationResult:
    """Of a completed migration job. Times in ms; an absent figure is 0."""

    def number(key: str) -> int:
        value = statistics.get(key, 0)
        return value if isinstance(value, int) else 0

    return MigrationResult(
        downtime_ms=float(number("downtime")),
        total_ms=float(number("time_elapsed")),
        bytes_transferred=number("memory_processed"),
    )


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if 0 <= number < len(words) else f"unknown-{number}"
