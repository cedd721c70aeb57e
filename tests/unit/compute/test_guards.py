"""What each step compares in its commit is what it was planned from."""

import pytest
from tests.unit.compute.scenes import granted, guest, host, life, lost, report, scene

from gemel.compute.guards import compares_dead, transaction
from gemel.compute.kinds import GuestState
from gemel.compute.plan import Scene, Verb, plan_guests
from gemel.compute.requests import MIGRATE
from gemel.core import layout
from gemel.core.identity import HostName
from gemel.core.store import Compare, Delete, Put, Write, absent, unchanged

ASSIGNMENT, TICKET = layout.assignment("db"), layout.ticket("bank")
RUNNING, STOPPED, FAILED = GuestState.RUNNING, GuestState.STOPPED, GuestState.FAILED


def done(of: Scene, verb: Verb) -> tuple[set[Compare], list[Write]]:
    step = plan_guests(of).steps[0]
    assert step.verb is verb
    compares, writes = transaction(step, of.hosts)
    assert len(compares) == len(set(compares))
    return set(compares), writes


def lease(name: str, revision: int = 10) -> Compare:
    return unchanged(layout.lease(name), revision)


def test_place() -> None:
    compares, writes = done(scene(guests=[guest("db")]), Verb.PLACE)
    assert compares == {unchanged(ASSIGNMENT, 0), unchanged(TICKET, 30), lease("par1-1")}
    assert [write.key for write in writes] == [ASSIGNMENT]


def test_restart_compares_that_the_lost_lease_is_absent() -> None:
    of = scene(guests=[guest("db")], hosts=[lost("par1-1")], grants=[granted("db", "par1-1")], settled=["par1-1"])
    compares, _ = done(of, Verb.RESTART)
    assert compares == {
        unchanged(ASSIGNMENT, 50),
        unchanged(TICKET, 30),
        absent(layout.lease("par1-1")),
        lease("par1-2"),
    }


def test_restart_beside_a_host_that_came_back_compares_its_new_life() -> None:
    back = host("par1-1", incarnation=life("par1-1", 2), lease_revision=44, memory=0)
    compares, _ = done(scene(guests=[guest("db")], hosts=[back], grants=[granted("db", "par1-1")]), Verb.RESTART)
    assert lease("par1-1", 44) in compares


def test_migrate_needs_both_hosts_and_takes_the_wish_away() -> None:
    told = report("db", "par1-1", RUNNING)
    of = scene(guests=[guest("db")], grants=[granted("db", "par1-1")], reports=[told], wishes={"db": "par1-2"})
    compares, writes = done(of, Verb.MIGRATE)
    assert compares == {unchanged(ASSIGNMENT, 50), unchanged(TICKET, 30), lease("par1-1"), lease("par1-2")}
    assert Delete(layout.request(MIGRATE, "db")) in writes


@pytest.mark.parametrize(
    ("said", "verb"),
    [
        (report("db", "par1-2", RUNNING, generation=2), Verb.ARRIVED),
        (report("db", "par1-1", STOPPED, generation=2), Verb.ARRIVED),
        (report("db", "par1-1", FAILED, generation=2), Verb.STAY),
    ],
)
def test_the_end_of_a_migration_compares_the_word_that_it_rests_on(said: object, verb: Verb) -> None:
    moving = granted("db", "par1-1", to="par1-2", generation=2)
    compares, _ = done(scene(guests=[guest("db")], grants=[moving], reports=[said]), verb)  # type: ignore[list-item]
    where = said[0][0]  # type: ignore[index]
    assert unchanged(layout.report(where, "db"), 70) in compares
    assert {unchanged(ASSIGNMENT, 50), unchanged(TICKET, 30)} <= compares
    if verb is Verb.ARRIVED:
        assert lease("par1-2") in compares


def test_the_end_of_a_migration_by_the_source_s_loss_compares_its_absence() -> None:
    moving = granted("db", "par1-1", to="par1-2", generation=2)
    compares, _ = done(scene(guests=[guest("db")], hosts=[lost("par1-1")], grants=[moving]), Verb.RESTART)
    assert {absent(layout.lease("par1-1")), lease("par1-2")} <= compares


def test_stop() -> None:
    compares, writes = done(scene(guests=[guest("db", running=False)], grants=[granted("db", "par1-1")]), Verb.STOP)
    assert compares == {unchanged(ASSIGNMENT, 50), unchanged(TICKET, 30)}
    assert [type(write) for write in writes] == [Put]


def test_forget_compares_the_word() -> None:
    still = granted("db", "par1-1", running=False)
    of = scene(guests=[guest("db")], grants=[still], reports=[report("db", "par1-1", STOPPED)])
    compares, writes = done(of, Verb.FORGET)
    assert unchanged(layout.report("par1-1", "db"), 70) in compares
    assert writes == [Delete(ASSIGNMENT)]


def test_forget_of_a_deleted_guest_compares_the_lost_lease() -> None:
    compares, _ = done(scene(hosts=[lost("par1-1")], grants=[granted("db", "par1-1")]), Verb.FORGET)
    assert absent(layout.lease("par1-1")) in compares


def test_a_dead_grant_of_a_host_that_is_not_declared_is_compared_as_absent() -> None:
    assert compares_dead([(HostName("gone"), life("gone"))], {}) == [absent(layout.lease("gone"))]
