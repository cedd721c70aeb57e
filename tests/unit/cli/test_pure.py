"""The pure parts: cells, words, failures, differences, server-sent events, the glance."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.catalog.kind import CellType
from gemel.catalog.registry import KINDS, VIRTUAL_MACHINE
from gemel.cli.cells import NOTHING, render_cell, render_span, render_table, value_at
from gemel.cli.difference import plan_diff
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.failure import InvalidDocuments, failure_of, render_problem
from gemel.cli.glance import render_status
from gemel.cli.sse import ListAgain, Message, parse_change, split_messages
from gemel.cli.words import parse_one, parse_wanted

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (None, CellType.TEXT, NOTHING),
        ("", CellType.SIZE, NOTHING),
        ([], CellType.LIST, NOTHING),
        (0, CellType.NUMBER, "0"),
        (False, CellType.FLAG, "no"),
        ("4Gi", CellType.SIZE, "4 GiB"),
        (1536, CellType.SIZE, "1.5 KiB"),
        ("vast", CellType.SIZE, "vast"),
        (3.14, CellType.SECONDS, "3.1s"),
        ("20s", CellType.SECONDS, "20s"),
        (400, CellType.SECONDS, "6m40s"),
        ((NOW - timedelta(minutes=3)).isoformat(), CellType.MOMENT, "3m"),
        ("2026-01-02T03:04:00Z", CellType.MOMENT, "5s"),
        ("yesterday", CellType.MOMENT, "yesterday"),
        (["a", "b"], CellType.LIST, "a,b"),
        ({"b": 1, "a": 2}, CellType.LIST, "a=2,b=1"),
        ("two\nlines", CellType.TEXT, "two lines"),
    ],
)
def test_cells(value: Any, kind: CellType, shown: str) -> None:
    assert render_cell(value, kind, NOW) == shown


@given(st.floats(min_value=0, max_value=1e9))
def test_a_span_is_short_and_within_a_twentieth(seconds: float) -> None:
    factors = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    text, total, number = render_span(seconds), 0, ""
    for letter in text:
        if letter in factors:
            total, number = total + int(number) * factors[letter], ""
        else:
            number += letter
    assert len(text) <= 7 and abs(total - seconds) <= max(1, seconds / 2 if text.endswith("d") else seconds / 10)


@given(st.lists(st.lists(st.text("abc", min_size=1, max_size=9), min_size=3, max_size=3), max_size=5))
def test_every_column_of_a_table_begins_at_one_place(rows: list[list[str]]) -> None:
    table = render_table(["ONE", "TWO", "THREE"], rows).splitlines()
    second, third = table[0].index("TWO"), table[0].index("THREE")
    for row, line in zip(rows, table[1:], strict=True):
        assert line[second:].startswith(row[1]) and line[third:].startswith(row[2])


def test_a_path_that_leads_nowhere_is_nothing() -> None:
    assert value_at({"a": {"b": 1}}, "a.b") == 1
    assert value_at({"a": 3}, "a.b.c") is None


def test_every_word_of_every_kind_finds_it() -> None:
    for kind in KINDS:
        for word in kind.words:
            assert parse_wanted([word])[0].kind is kind
            assert parse_one([f"{word}/x"]) == (kind, "x") == parse_one([word.upper(), "x"])


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["vm/"], ["vm/a/b"], ["vm/a", "b"], ["all", "x"], ["vm,vol", "x"], ["vm", "vm/x"]]
)
def test_words_that_mean_nothing_are_refused(words: list[str]) -> None:
    with pytest.raises(CommandFailed) as raised:
        parse_wanted(words)
    assert raised.value.code is Exit.USAGE


def test_pairs_may_be_of_several_kinds() -> None:
    found = parse_wanted(["vm/a", "vol/a.root"])
    assert [(each.kind.name, each.names) for each in found] == [("VirtualMachine", ("a",)), ("Volume", ("a.root",))]


def test_a_frameworks_own_errors_become_words() -> None:
    body = {"detail": [{"loc": ["body", "to"], "msg": "Field required"}]}
    failure = failure_of(422, body)
    assert (failure.code, failure.message) == (Exit.USAGE, "body.to: Field required")


@pytest.mark.parametrize("body", [None, "", "<html>gateway</html>", [], 3, {"message": None}])
def test_any_body_makes_an_error_with_words(body: Any) -> None:
    assert failure_of(502, body).message


def test_problems_are_kept_apart() -> None:
    failure = failure_of(422, {"message": "no", "problems": [{"file": "a"}]})
    assert isinstance(failure, InvalidDocuments) and failure.problems == ({"file": "a"},)


def test_problem_line() -> None:
    assert render_problem("a.yaml", 3, 1, "spec.cpu", "too many", "1 to 256") == (
        "a.yaml:3: document 2: spec.cpu: too many (expected 1 to 256)"
    )
    assert render_problem("-", None, 0, "", "not YAML", "") == "-: document 1: not YAML"


LIVE = {
    "apiVersion": "gemel/v1",
    "kind": "VirtualMachine",
    "metadata": {"name": "a", "uid": "…", "generation": 7, "resourceVersion": 9, "labels": {}},
    "spec": {"cpu": 1, "memory": "1Gi", "boot": {"image": "tiny"}, "running": False},
    "status": {"phase": "Stopped"},
}


def wanted(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gemel/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "a"},
        "spec": {"memory": "1024Mi", "boot": {"image": "tiny"}} | spec,
    }


def test_no_difference_is_made_by_defaults_equal_units_or_what_a_verb_set() -> None:
    assert plan_diff(LIVE, wanted(), VIRTUAL_MACHINE) == []


def test_a_difference_is_what_an_apply_would_change() -> None:
    lines = plan_diff(LIVE, wanted(running=True), VIRTUAL_MACHINE)
    assert [line for line in lines if line[0] in "+-" and line[1] == " "] == ["-  running: false", "+  running: true"]


async def _lines(*lines: str) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def test_messages_end_at_empty_lines_and_comments_pass_by() -> None:
    lines = _lines(": alive", "", "event: change", "data: 1", "data:2", "", "data: cut off")
    assert [message async for message in split_messages(lines)] == [Message("change", "1\n2")]


def test_changes() -> None:
    found = parse_change(Message("message", '{"type": "ADDED", "object": {"a": 1}, "revision": 5}'))
    assert (found.type, found.object, found.revision) == ("ADDED", {"a": 1}, 5)
    progress = parse_change(Message("progress", '{"revision": 6}'))
    assert (progress.type, progress.revision) == ("PROGRESS", 6)
    with pytest.raises(ListAgain):
        parse_change(Message("error", '{"type": "ERROR", "code": 410, "message": "compacted"}'))
    for data in ("{", "[]", "3"):
        with pytest.raises(CommandFailed):
            parse_change(Message("message", data))


REPORT: dict[str, Any] = {
    "health": "CRITICAL",
    "region": "lab",
    "controller": "gra1-1",
    "alarms": [
        {"severity": "CRITICAL", "kind": "Site", "name": "par1", "message": "no host holds a lease", "hint": "look"}
    ],
    "sites": [
        {
            "name": "par1",
            "hostsAlive": 0,
            "hostsTotal": 2,
            "guestsRunning": 0,
            "leases": [{"host": "par1-1", "alive": False}, {"host": "par1-2", "alive": False, "schedulable": False}],
        },
        {"name": "gra1", "hostsAlive": 3, "hostsTotal": 3, "guestsRunning": 3, "steward": "gra1-2"},
    ],
    "applications": [
        {
            "name": "bank",
            "site": "gra1",
            "preferredSite": "par1",
            "epoch": 2,
            "guestsRunning": 3,
            "guestsTotal": 3,
            "protected": True,
            "recoveryPointSeconds": 20.0,
            "replicaAgeSeconds": 12.5,
            "unshippedBytes": 2**20,
        },
        {"name": "vm.lone", "guestsRunning": 0, "guestsTotal": 1, "protected": False},
    ],
    "guests": {"running": 3, "wanted": 4, "total": 4},
    "replicas": {"volumes": 1, "protected": 1, "oldestAgeSeconds": 12.5, "unshippedBytes": 2**20},
    "quarantine": {"held": 1, "salvaged": 0, "divergedBytes": 4096},
    "store": {
        "revision": 99,
        "members": [{"name": "par1", "healthy": False}, {"name": "wit", "healthy": True, "leader": True}],
    },
}


def test_the_glance_shows_what_matters_in_a_loss() -> None:
    text = " ".join(render_status(REPORT).split())
    for part in (
        "health: CRITICAL",
        "!! Site/par1: no host holds a lease",
        "controller: gra1-1",
        "1/2 members, leader wit, revision 99",
        "no lease: par1-1, par1-2; drained: par1-2",
        "at gra1 (prefers par1) epoch 2 replica 12s of 20s old, 1 MiB not yet there",
        "at nowhere no ticket not protected",
        "3 running, 4 wanted",
        "1 held, 0 salvaged, 4 KiB diverged",
    ):
        assert part in text


def test_the_glance_is_coloured_only_where_asked_and_survives_an_empty_region() -> None:
    assert "\x1b" not in render_status(REPORT)
    assert "\x1b[1;31mCRITICAL" in render_status(REPORT, coloured=True)
    assert "nobody leads" in render_status({"health": "OK", "region": "new"})
