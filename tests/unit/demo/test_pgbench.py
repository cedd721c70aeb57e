"""What pgbench 15.14 said, recorded."""

import pytest

from gemel.demo.loadplan import LoadPlan, Page, parse_plan, render_plan
from gemel.demo.pgbench import (
    Database,
    GaveUp,
    Tick,
    parse_line,
    render_initialise,
    render_load,
    render_passfile,
    render_session,
)

DATABASE = Database("198.19.1.10", "bank", "bank")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("progress: 1.0 s, 9.0 tps, lat 6.286 ms stddev 0.953, 0 failed, lag 1.021 ms", Tick(9.0, 0)),
        ("progress: 12.0 s, 0.0 tps, lat 0.000 ms stddev 0.000, 0 failed, lag 0.000 ms", Tick(0.0, 0)),
        ("progress: 3.0 s, 10.5 tps, lat 5.1 ms stddev 0.6, 2 failed", Tick(10.5, 2)),
        ("pgbench (15.14 (Debian 15.14-0+deb12u1))", None),
        ("number of failed transactions: 0 (0.000%)", None),
    ],
)
def test_lines_of_progress(line: str, expected: Tick | None) -> None:
    assert parse_line(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "pgbench: error: client 0 aborted in command 4 (SQL) of script 0; perhaps the backend died while processing",
        "pgbench: error: Run was aborted; the above results are incomplete.",
        'pgbench: error: connection to server at "198.19.1.10", port 5432 failed: FATAL:  the database system is '
        "starting up",
    ],
)
def test_lines_of_giving_up(line: str) -> None:
    assert isinstance(parse_line(line), GaveUp)


def test_a_load_never_empties_the_history() -> None:
    """Without -n each start of pgbench truncates pgbench_history, and the sums could not agree."""
    argv = render_load(DATABASE, 2, 10.0, 60)
    assert "-n" in argv and argv[argv.index("-R") + 1] == "10"


def test_no_password_on_any_command_line() -> None:
    for argv in (render_load(DATABASE, 2, 10.0, 60), render_initialise(DATABASE, 1), render_session(DATABASE)):
        assert not any("password" in word.lower() for word in argv)


def test_the_password_file_escapes_what_separates_its_fields() -> None:
    assert render_passfile(DATABASE, r"a:b\c") == "198.19.1.10:5432:bank:bank:a\\:b\\\\c\n"


def test_a_silent_server_is_noticed_soon() -> None:
    words = dict(word.split("=") for word in DATABASE.conninfo().split())
    assert words["connect_timeout"] == "2" and words["tcp_user_timeout"] == "5000"
    idle, every, count = (int(words[f"keepalives_{name}"]) for name in ("idle", "interval", "count"))
    assert idle + every * count <= 8


def test_a_plan_survives_its_file() -> None:
    plan = LoadPlan("out", 9.0, (Page("web", "10.0.0.1"),), ("10.0.0.1",), "10.0.0.2", DATABASE, "pass")
    assert parse_plan(render_plan(plan)) == plan
