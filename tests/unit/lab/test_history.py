"""What counts as a double run: examples, and properties over generated histories."""

import itertools
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from gemel.lab.history import Interval, Record, What, check_coverage, double_runs, parse_record, runs
from gemel.lab.recorder import parse_command_line, parse_event

HEARD = [Record(What.LISTENING, 0.0, host) for host in ("a", "b")]


def start(at: float, host: str, pid: int, incoming: bool = False) -> Record:
    return Record(What.START, at, host, "db", pid, incoming)


def end(at: float, host: str, pid: int) -> Record:
    return Record(What.END, at, host, "db", pid)


def event(what: What, at: float, host: str) -> Record:
    return Record(what, at, host, "db")


def migration(stop: float, resume: float) -> list[Record]:
    return [
        *HEARD,
        start(1, "a", 10),
        start(5, "b", 11, incoming=True),
        event(What.STOP, stop, "a"),
        event(What.RESUME, resume, "b"),
        end(7, "a", 10),
        end(20, "b", 11),
    ]


def test_two_starts_at_once_are_a_double_run() -> None:
    found = double_runs([*HEARD, start(1, "a", 10), start(4, "b", 11), end(6, "a", 10), end(9, "b", 11)])
    assert [(d.guest, d.begin, d.seconds) for d in found] == [("db", 4, 2)]
    assert (found[0].first.host, found[0].second.host) == ("a", "b")


def test_one_after_the_other_is_none() -> None:
    assert double_runs([*HEARD, start(1, "a", 10), end(4, "a", 10), start(4, "b", 11)]) == []


def test_live_migration_is_none() -> None:
    assert double_runs(migration(stop=6.0, resume=6.1)) == []


def test_target_that_resumes_before_the_source_stops_is_one() -> None:
    found = double_runs(migration(stop=6.2, resume=6.1))
    assert len(found) == 1
    assert abs(found[0].seconds - 0.1) < 1e-9


def test_source_that_resumes_after_a_migration_is_one() -> None:
    assert len(double_runs([*migration(6.0, 6.1), event(What.RESUME, 6.5, "a")])) == 1


def test_migration_that_was_given_up_is_none() -> None:
    assert double_runs([*HEARD, start(1, "a", 10), start(5, "b", 11, incoming=True), end(6, "b", 11)]) == []


def test_what_nobody_heard_counts_against_us() -> None:
    unheard = [record for record in migration(6.0, 6.1) if record.what is not What.LISTENING]
    assert [d.begin for d in double_runs(unheard)] == [5]


def test_deafness_makes_a_stopped_qemu_count_again() -> None:
    (run,) = runs([*HEARD, start(1, "a", 10), event(What.STOP, 2, "a"), Record(What.DEAF, 3, "a"), end(5, "a", 10)])
    assert run.executed == (Interval(1, 2), Interval(3, 5))


def test_a_run_that_did_not_end_lasts() -> None:
    (run,) = runs([start(1, "a", 10)])
    assert run.executed == (Interval(1, inf),)


def test_other_guests_do_not_matter() -> None:
    assert double_runs([start(1, "a", 10), Record(What.START, 1, "b", "web", 11)]) == []


def test_gaps_of_the_recorder_are_told() -> None:
    alive = [Record(What.ALIVE, at) for at in (1, 2, 9)]
    assert check_coverage(alive, 1, 9.5) == ["the recorder did not look for 7.0 s from 2.0"]
    assert check_coverage(alive, 1, 2) == []
    assert check_coverage([], 0, 10) == ["the recorder did not look for 10.0 s from 0.0"]


records = st.lists(
    st.builds(
        lambda what, at, host, pid, incoming: Record(what, at, host, "db", pid, incoming),
        st.sampled_from([What.START, What.END, What.STOP, What.RESUME, What.LISTENING, What.DEAF]),
        st.floats(0, 100),
        st.sampled_from(["a", "b"]),
        st.integers(1, 4),
        st.booleans(),
    ),
    max_size=14,
    unique_by=lambda record: (record.what, record.host, record.pid, record.at),
)


@given(records)
def test_execution_lies_within_life_and_never_overlaps_itself(found: list[Record]) -> None:
    for run in runs(found):
        spans = run.executed
        assert all(run.life.begin <= s.begin < s.end <= run.life.end for s in spans)
        assert all(a.end <= b.begin for a, b in itertools.pairwise(spans))


@given(records)
def test_order_of_lines_does_not_matter(found: list[Record]) -> None:
    times = [record.at for record in found]
    if len(set(times)) == len(times):
        assert double_runs(list(reversed(found))) == double_runs(found)


@given(records, st.floats(0, 100))
def test_a_guest_started_twice_for_good_is_always_found(found: list[Record], at: float) -> None:
    """Whatever else was recorded: nobody hears events of hosts y and z, so they count for all their life."""
    mine = [Record(What.START, at, "y", "other", 1), Record(What.START, at + 1, "z", "other", 2)]
    assert [d.guest for d in double_runs([*found, *mine]) if d.guest == "other"] == ["other"]


@given(records)
def test_hearing_less_never_hides_a_double_run(found: list[Record]) -> None:
    starts = [record for record in found if record.what in (What.START, What.END)]
    if double_runs(found):
        assert double_runs(starts), "without any event every life counts in full"


def test_records_are_read_as_written() -> None:
    line = {"what": "start", "at": 1.5, "host": "a", "guest": "db", "pid": 7, "incoming": True}
    assert parse_record(line) == Record(What.START, 1.5, "a", "db", 7, True)


def test_qemu_command_lines() -> None:
    running = b"/usr/bin/qemu-system-x86_64\0-name\0guest=bank-db,debug-threads=on\0-S\0"
    assert parse_command_line(running) == ("bank-db", False)
    assert parse_command_line(running + b"-incoming\0defer\0") == ("bank-db", True)
    assert parse_command_line(b"qemu-system-x86_64\0-name\0plain\0") == ("plain", False)
    assert parse_command_line(b"qemu-system-x86_64\0-machine\0none,accel=tcg\0") is None


def test_lines_of_virsh() -> None:
    line = "event STOP at 1790000000.654321 for domain 'bank-db': <null>"
    assert parse_event(line) == (What.STOP, 1790000000.654321, "bank-db")
    assert parse_event("event RTC_CHANGE at 1790000000.6 for domain 'bank-db': {}") is None
    assert parse_event("") is None
