"""What each ticket's step compares in its commit is what it was planned from."""

from tests.unit.compute.scenes import GRA
from tests.unit.continuity.scenes import PAR_HOSTS, plan, scene
from tests.unit.continuity.test_plan import TestComplete, TestDrain, TestForce

from gemel.continuity.guards import MOVE, transaction
from gemel.core import layout
from gemel.core.store import Delete, Put, absent, unchanged

TICKET = unchanged(layout.ticket("bank"), 30)


def test_a_first_ticket_only_where_there_is_none() -> None:
    compares, writes = transaction(plan(scene()).steps[0])
    assert compares == [unchanged(layout.ticket("bank"), 0)]
    assert [type(write) for write in writes] == [Put]


def test_a_drain_compares_the_ticket_and_takes_the_request_away() -> None:
    compares, writes = transaction(plan(TestDrain().wished()).steps[0])
    assert compares == [TICKET]
    assert Delete(layout.request(MOVE, "bank")) in writes


def test_a_refusal_only_takes_the_request_away() -> None:
    compares, writes = transaction(plan(TestDrain().wished(replicas=[])).steps[0])
    assert compares == [TICKET]
    assert writes == [Delete(layout.request(MOVE, "bank"))]


def test_a_completed_move_compares_ticket_assignments_and_words() -> None:
    compares, writes = transaction(plan(TestComplete().drained()).steps[0])
    assert set(compares) == {
        TICKET,
        unchanged(layout.assignment("db"), 50),
        unchanged(layout.report("par1-1", "db"), 77),
    }
    assert Delete(layout.assignment("db")) in writes
    assert any(isinstance(write, Put) and write.key == layout.ticket("bank") for write in writes)


def test_a_forced_move_compares_that_every_lease_of_the_site_is_absent() -> None:
    compares, writes = transaction(plan(TestForce().fallen()).steps[0])
    assert set(compares) == {
        TICKET,
        unchanged(layout.assignment("db"), 50),
        *(absent(layout.lease(name)) for name in PAR_HOSTS),
    }
    assert Delete(layout.assignment("db")) in writes
    assert not any(write.key.startswith(layout.REQUESTS) for write in writes)


def test_a_forced_move_that_was_asked_for_takes_the_request_away() -> None:
    _, writes = transaction(plan(TestForce().fallen(wish=GRA)).steps[0])
    assert Delete(layout.request(MOVE, "bank")) in writes
