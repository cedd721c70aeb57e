"""What a host writes down of its runs."""

import json
from pathlib import Path

import pytest

from gemel.agent.journal import Journal
from gemel.core.clock import SystemClock
from gemel.core.identity import Epoch, GuestName

RAN = {GuestName("db"): Epoch(3)}


def journal(folder: Path) -> Journal:
    return Journal(folder, "par1-1", SystemClock())


def test_what_ran_outlives_the_process(tmp_path: Path) -> None:
    assert journal(tmp_path).ran() == {}
    journal(tmp_path).remember(RAN)
    assert journal(tmp_path).ran() == RAN


def test_it_is_written_on_change_only(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.remember(RAN)
    before = (tmp_path / "ran.json").stat().st_ino
    book.remember(dict(RAN))
    assert (tmp_path / "ran.json").stat().st_ino == before
    book.remember({})
    assert book.ran() == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "7"])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "ran.json").write_text(content)
    assert journal(tmp_path).ran() == {}


def test_runs_are_lines_with_monotonic_times(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.note("db", "started", epoch=3)
    book.note("db", "fenced", detail="no renewal")
    first, second = (json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines())
    assert (first["guest"], first["event"], first["epoch"], first["host"]) == ("db", "started", 3, "par1-1")
    assert second["detail"] == "no renewal"
    assert first["at"] <= second["at"]


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    """A fence notes what it killed: it must not fail over the note."""
    book = journal(tmp_path)
    (tmp_path / "runs.jsonl").mkdir()
    (tmp_path / "ran.new").mkdir()
    book.note("db", "fenced")
    book.remember(RAN)
    assert book.ran() == {}
