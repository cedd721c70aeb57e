"""The watchdog's judgement: only a readable lease of this boot, before its deadline, keeps guests running."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from gemel.agent.watchdog import judge
from gemel.continuity.lease import LeaseFile, Life

LIFE = Life("abc", 7, deadline=106.5, watchdog_deadline=107.5, boot="boot-1", key_revision=12)


def text(**changes: object) -> str:
    return json.dumps({**asdict(LIFE), **changes})


@pytest.mark.parametrize(
    ("lease", "now", "stop"),
    [
        (None, 0.0, True),
        (text(), 100.0, False),
        (text(), 107.0, False),
        (text(), 107.5, True),
        (text(), 1e9, True),
        (text(boot="boot-0"), 100.0, True),
        ("", 100.0, True),
        ("{", 100.0, True),
        ("null", 100.0, True),
        ("[]", 100.0, True),
        ("7", 100.0, True),
        ("{}", 100.0, True),
        (text(watchdog_deadline="soon"), 100.0, True),
        (text(watchdog_deadline=None), 100.0, True),
        (text(watchdog_deadline=float("nan")), 100.0, True),
    ],
)
def test_judgement(lease: str | None, now: float, stop: bool) -> None:
    verdict = judge(lease, now, "boot-1")
    assert verdict.must_stop is stop
    assert bool(verdict.why) is stop


def test_it_reads_what_the_keeper_writes(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    file = LeaseFile(path)
    assert file.read() is None
    file.write(LIFE)
    assert file.read() == LIFE
    assert not judge(path.read_text(), 107.4, "boot-1").must_stop
    assert judge(path.read_text(), 107.6, "boot-1").must_stop
    assert [each.name for each in tmp_path.iterdir()] == ["lease.json"]
    file.remove()
    file.remove()
    assert file.read() is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"lease": 1}'])
def test_a_lease_file_that_cannot_be_read_is_no_lease(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lease.json"
    path.write_text(content)
    assert LeaseFile(path).read() is None
