"""What the programs printed, recorded from ceph 16.2.15."""

from pathlib import Path

import pytest

from gemel.core.outcome import Conflict, GemelError, OutcomeUnknown, Permanent, Retryable
from gemel.engines.ceph import parse

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def test_info() -> None:
    assert parse.parse_info(recorded("info-16.2.15.json")) == parse.Info(67108864, 3, ("images", "deb", "base"))
    assert parse.parse_info('{"size": 1, "snapshot_count": 0}').parent is None


def test_snapshots_come_in_the_order_in_which_they_were_taken() -> None:
    assert parse.parse_snapshots(recorded("snap-ls-16.2.15.json")) == ("e1-0", "e1-1", "salvage")


def test_zeroed_extents_count_as_changed() -> None:
    assert parse.parse_extents(recorded("diff-16.2.15.json")) == 16384


def test_lockers_and_watchers() -> None:
    (locker,) = parse.parse_lockers(recorded("lock-ls-16.2.15.json"))
    assert locker == parse.Locker("client.4339", "auto 140433686578240", "10.77.1.1:0/3758226328")
    assert parse.parse_watchers(recorded("status-16.2.15.json")) == ("10.77.1.1:0/3758226328",)
    assert parse.parse_lockers("[]") == ()


def test_the_stray_list_behind_the_blocklist_is_ignored() -> None:
    assert parse.parse_blocklist(recorded("blocklist-ls-16.2.15.json")) == {"10.77.1.1:0/99"}


def test_what_is_not_json_is_said_to_be_so() -> None:
    with pytest.raises(Permanent, match="not JSON"):
        parse.parse_info("rbd: oops")


def test_a_missing_pool_is_not_a_missing_image() -> None:
    assert parse.missing_pool("rbd: error opening pool 'nopool': (2) No such file or directory")
    assert not parse.missing_pool("rbd: error opening image nope: (2) No such file or directory")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, Permanent),
        (2, Permanent),
        (16, Retryable),
        (17, Conflict),
        (28, Permanent),
        (39, Conflict),
        (108, OutcomeUnknown),
        (110, OutcomeUnknown),
        (255, Permanent),
    ],
)
def test_every_end_has_a_meaning_and_says_to_what(code: int, kind: type[GemelError]) -> None:
    error = parse.error_of("take snapshot guests/v.e1@e1-2", code, recorded("denied-16.2.15.txt"), "client.gemel-host")
    assert type(error) is kind
    assert "guests/v.e1@e1-2" in str(error)
    assert "librbd" not in str(error)


def test_a_denied_key_is_named() -> None:
    error = parse.error_of("x", 1, recorded("denied-16.2.15.txt"), "client.gemel-host")
    assert "client.gemel-host may not" in str(error) and "error opening image v.e1" in str(error)
