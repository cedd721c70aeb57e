"""libvirt 9.0's words, numbers and complaints."""

import pytest

from gemel.compute.ports import Domain, DomainChange, DomainEvent, DomainState, MigrationResult
from gemel.core.identity import GuestName
from gemel.engines.libvirt.parse import (
    Complaint,
    Grant,
    parse_complaint,
    parse_domain,
    parse_event,
    parse_grant,
    parse_job,
)

# As libvirt 9.0.0 gives it back from virDomainGetXMLDesc: prefixes are its own.
LIVE = """<domain type='qemu' id='3'><name>bank</name><uuid>6d656c67-0000-4000-8000-000000000010</uuid>
<metadata><other xmlns='urn:else' epoch='99'/>
<gemel:guest xmlns:gemel="urn:gemel:guest:1" epoch="12" generation="5"/></metadata>
<memory unit='KiB'>98304</memory></domain>"""
STRANGER = "<domain type='kvm'><name>x</name></domain>"
BANK = GuestName("bank")


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (1, 1, (DomainState.RUNNING, "booted")),
        (1, 2, (DomainState.RUNNING, "migrated")),
        (2, 0, (DomainState.RUNNING, "unknown-0")),
        (3, 1, (DomainState.PAUSED, "user")),
        (3, 2, (DomainState.PAUSED, "migration")),
        (3, 5, (DomainState.PAUSED, "ioerror")),
        (4, 1, (DomainState.SHUTTING_DOWN, "user")),
        (6, 1, (DomainState.CRASHED, "panicked")),
        (3, 99, (DomainState.PAUSED, "unknown-99")),
    ],
)
def test_states(state: int, reason: int, expected: tuple[DomainState, str]) -> None:
    assert parse_domain("bank", state, reason, LIVE, 42) == Domain(BANK, *expected, 12, 5, 42)


def test_what_is_shut_off_is_no_qemu() -> None:
    assert parse_domain("bank", 5, 1, LIVE, None) is None


@pytest.mark.parametrize("xml", [STRANGER, LIVE.replace('epoch="12"', 'epoch="many"')])
def test_a_stranger_has_the_oldest_epoch(xml: str) -> None:
    assert parse_grant(xml) == Grant(0, 0)


@pytest.mark.parametrize(
    ("event", "detail", "expected"),
    [
        (2, 0, (DomainEvent.STARTED, "booted")),
        (2, 1, (DomainEvent.STARTED, "migrated")),
        (3, 0, (DomainEvent.PAUSED, "paused")),
        (3, 1, (DomainEvent.PAUSED, "migrated")),
        (3, 2, (DomainEvent.IO_ERROR, "ioerror")),
        (4, 0, (DomainEvent.RESUMED, "unpaused")),
        (4, 1, (DomainEvent.MIGRATED_IN, "migrated")),
        (5, 3, (DomainEvent.MIGRATED_OUT, "migrated")),
        (5, 5, (DomainEvent.STOPPED, "failed")),
        (8, 0, (DomainEvent.STOPPED, "crashed")),
    ],
)
def test_events(event: int, detail: int, expected: tuple[DomainEvent, str]) -> None:
    assert parse_event("bank", event, detail) == DomainChange(BANK, *expected)


@pytest.mark.parametrize("event", [0, 1, 6, 7])
def test_events_that_change_nothing(event: int) -> None:
    assert parse_event("bank", event, 0) is None


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (42, "Domain not found: no domain with matching name 'x'", Complaint.NO_DOMAIN),
        (9, "operation failed: domain 'x' already exists with uuid 1", Complaint.EXISTS),
        (55, "Requested operation is not valid: domain is already active as 'x'", Complaint.EXISTS),
        (55, "Requested operation is not valid: domain is not running", Complaint.NOT_RUNNING),
        (9, "operation failed: migration out job: unexpectedly failed", Complaint.OTHER),
        (1, "internal error: client socket is closed", Complaint.OTHER),
        (1, "internal error: connection closed due to keepalive timeout", Complaint.DISCONNECTED),
        (86, "Guest agent is not responding: QEMU guest agent is not connected", Complaint.AGENT),
        (67, "unsupported configuration: x", Complaint.MISTAKE),
        (38, "Unable to create tap device g-x: Device or resource busy", Complaint.OTHER),
        (39, "Cannot write data: Broken pipe", Complaint.DISCONNECTED),
    ],
)
def test_complaints(code: int, message: str, expected: Complaint) -> None:
    assert parse_complaint(code, message) is expected


def test_job_figures_and_their_absence() -> None:
    job = {"time_elapsed": 412, "downtime": 18, "memory_processed": 55_000_000, "type": 1, "other": "x"}
    assert parse_job(job) == MigrationResult(18.0, 412.0, 55_000_000)
    assert parse_job({}) == MigrationResult(0.0, 0.0, 0)
