"""The pure parts of the etcd room: ranges, failures, the members' command line, the roles' rights."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.core import layout
from gemel.core.outcome import Permanent
from gemel.core.store import Compare, Delete, Field, Is, LeaseLost, Put, absent
from gemel.store.etcd.roles import Role, plan_grants
from gemel.store.etcd.server import Place, Server, render_argv
from gemel.store.etcd.translate import Verdict, parse_failure, refusal, render_range, render_transaction
from gemel.store.etcd.wire import message, message_class

PLACES = (Place("a", "10.0.0.1"), Place("b", "10.0.0.2"), Place("w", "10.0.0.3"))
SERVER = Server(PLACES[0], PLACES, Path("/d"), Path("/t/ca.crt"), Path("/t/etcd.crt"), Path("/t/etcd.key"))


@given(st.text(min_size=1, max_size=8), st.text(max_size=8))
def test_a_range_holds_exactly_the_keys_with_its_prefix(prefix: str, other: str) -> None:
    spot = render_range(prefix)
    for key in (prefix, prefix + other, other):
        inside = spot["key"] <= key.encode() < spot["range_end"]
        assert inside == key.startswith(prefix)


def test_the_empty_prefix_is_everything() -> None:
    assert render_range("") == {"key": b"\0", "range_end": b"\0"}


def test_a_transaction_on_the_wire() -> None:
    """Written out by hand from the field numbers of etcd's rpc.proto, told in the comments."""
    sent = render_transaction([absent("k")], [Put("k", b"v", 7), Delete("d")]).SerializeToString()
    compare = b"\x0a\x05" + b"\x1a\x01k" + b"\x20\x00"  # 1: {3: "k", 4: 0}; result and target are 0
    put = b"\x12\x0a" + b"\x12\x08" + b"\x0a\x01k" + b"\x12\x01v" + b"\x18\x07"  # 2: {2: {1, 2, 3}}
    delete = b"\x12\x05" + b"\x1a\x03" + b"\x0a\x01d"  # 2: {3: {1}}
    assert sent == compare + put + delete


def test_an_operand_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(Permanent):
        render_transaction([Compare("k", Field.MOD, Is.EQUAL, b"1")], [])


def test_unknown_fields_of_newer_etcds_are_skipped() -> None:
    newer = message("WatchResponse", watch_id=3).SerializeToString() + b"\xf8\x07\x01"  # field 127
    assert message_class("WatchResponse").FromString(newer).watch_id == 3


@pytest.mark.parametrize(
    ("code", "details", "verdict"),
    [
        ("UNAVAILABLE", "etcdserver: no leader", Verdict.ELSEWHERE),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: refused", Verdict.ELSEWHERE),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", Verdict.ELSEWHERE),
        ("UNAVAILABLE", "etcdserver: request timed out", Verdict.UNKNOWN),
        ("UNAVAILABLE", "etcdserver: leader changed", Verdict.UNKNOWN),
        ("UNAVAILABLE", "Socket closed", Verdict.UNKNOWN),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", Verdict.UNKNOWN),
        ("SOMETHING_NEW", "", Verdict.UNKNOWN),
        ("PERMISSION_DENIED", "etcdserver: permission denied", Verdict.REFUSED),
        ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request", Verdict.REFUSED),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", Verdict.REFUSED),
    ],
)
def test_what_a_failure_tells_about_a_request(code: str, details: str, verdict: Verdict) -> None:
    assert parse_failure(code, details) is verdict


def test_refusals_tell_what_to_do() -> None:
    assert isinstance(refusal("write k", "NOT_FOUND", "etcdserver: requested lease not found"), LeaseLost)
    assert "quota" in str(refusal("write k", "RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded"))
    assert "role" in str(refusal("write k", "PERMISSION_DENIED", "etcdserver: permission denied"))


def test_a_members_command_line() -> None:
    argv = render_argv(SERVER)
    assert argv[0] == "etcd" and len(set(argv)) == len(argv)
    options = dict(option.removeprefix("--").split("=", 1) for option in argv[1:])
    assert options["listen-client-urls"] == "https://10.0.0.1:2379"
    assert options["initial-cluster"].split(",")[2] == "w=https://10.0.0.3:2380"
    assert (options["heartbeat-interval"], options["election-timeout"]) == ("200", "2000")
    assert options["client-cert-auth"] == options["peer-client-cert-auth"] == options["pre-vote"] == "true"
    assert options["peer-cert-allowed-cn"] == "etcd"
    assert not any("checkpoint" in option for option in argv), "renewal stands on full ttls after an election"
    assert "initial-cluster-state=existing" in "".join(render_argv(dataclasses.replace(SERVER, joins=True)))


@pytest.mark.parametrize("members", [PLACES[:2], (*PLACES[1:], Place("x", "10.0.0.9")), (*PLACES[:2], PLACES[0])])
def test_members_that_cannot_form_a_cluster_are_refused(members: tuple[Place, ...]) -> None:
    with pytest.raises(Permanent):
        render_argv(dataclasses.replace(SERVER, members=members))


def test_roles_write_no_more_than_their_keys() -> None:
    def may_write(role: Role, key: str) -> bool:
        spot = key.encode()
        rights = [grant for grant in plan_grants(role) if grant.kind == 2]
        return any(g.key == spot or (g.range_end and g.key <= spot < g.range_end) for g in rights)

    assert may_write(Role.CONTROLLER, layout.CONTROLLERS)
    assert not may_write(Role.CONTROLLER, layout.steward("a"))
    assert may_write(Role.AGENT, layout.steward("a")) and not may_write(Role.AGENT, layout.CONTROLLERS)
    for role in (Role.API, Role.AGENT, Role.VIEWER):
        assert not may_write(role, layout.ticket("x")) and not may_write(role, layout.assignment("x"))
    assert not any(may_write(Role.VIEWER, key) for key in (layout.event("x"), layout.request("a", "b")))
