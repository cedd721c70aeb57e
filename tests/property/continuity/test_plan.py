"""Ticket plans over generated scenes: the check never refuses them, and a move is always proved."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.compute.generated import APPS, GUESTS, consistent
from tests.unit.compute.scenes import GRA, NOW, PAR
from tests.unit.continuity.scenes import PAR_HOSTS

from gemel.compute.kinds import GuestState
from gemel.compute.plan import alive, grants
from gemel.continuity.guards import transaction
from gemel.continuity.kinds import Ticket, TicketPhase
from gemel.continuity.plan import ApplicationFacts, Held, Scene, Verb, check_plan, plan_tickets
from gemel.core import layout
from gemel.core.identity import Epoch, GuestName, SiteName, VolumeName
from gemel.core.store import absent, unchanged
from gemel.storage.kinds import Cut, CutPhase, CutVolume, ReplicaRecord, ReplicaSnapshot, VolumeRecord

MANY = settings(max_examples=150, deadline=None)
sites = st.sampled_from([PAR, GRA])


def other(site: SiteName) -> SiteName:
    return GRA if site == PAR else PAR


@st.composite
def volume(draw: st.DrawFn, app: str, guest: str, held: Held) -> tuple[VolumeRecord, ReplicaRecord | None]:
    ticket = held.ticket
    name, site = VolumeName(f"{guest}.data"), draw(st.sampled_from([ticket.site, ticket.site, other(ticket.site)]))
    epoch = Epoch(draw(st.sampled_from([ticket.epoch, ticket.epoch, 1])))
    record = VolumeRecord(
        volume=name, guest=GuestName(guest), application=app, size=2**30, site=site, epoch=epoch,
        image=f"{name}.e{epoch}", origin_snapshot=f"e{epoch}-0",
    )  # fmt: skip
    complete = tuple(
        ReplicaSnapshot(snapshot=f"e{epoch}-{n}", sequence=n, taken_at=NOW, final=draw(st.booleans()))
        for n in sorted(draw(st.sets(st.sampled_from([7, 8]))))
    )
    copy = ReplicaRecord(
        volume=name, application=app, site=draw(sites), epoch=epoch, image=record.image, complete=complete
    )
    return record, draw(st.sampled_from([copy, copy, None]))


@st.composite
def cut(draw: st.DrawFn, app: str, held: Held, volumes: list[VolumeRecord]) -> Cut:
    parts = tuple(
        CutVolume(volume=each.volume, image=each.image, snapshot="e1-8", since="e1-7", changed_bytes=1)
        for each in volumes
    )
    return Cut(
        application=app, epoch=held.ticket.epoch, sequence=8, phase=draw(st.sampled_from(CutPhase)),
        volumes=parts, final=draw(st.booleans()), ticket_revision=draw(st.sampled_from([held.revision, 1, None])),
    )  # fmt: skip


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    compute = draw(consistent())
    tickets, volumes, replicas, cuts, applications = {}, {}, {}, {}, {}
    for app in APPS:
        right = compute.rights[app]
        phase = TicketPhase.ACTIVE if right.open else TicketPhase.DRAINING
        to = None if right.open else other(right.site)
        held = Held(Ticket(application=app, site=right.site, epoch=right.epoch, phase=phase, to=to, since=NOW), 30)
        mine = tuple(GuestName(name) for name in GUESTS if compute.guests.get(GuestName(name)) is not None
                     and compute.guests[GuestName(name)].application == app)  # fmt: skip
        applications[app] = ApplicationFacts(app, mine, PAR, draw(st.booleans()), draw(st.booleans()))
        if draw(st.sampled_from([True, True, True, False])):
            tickets[app] = held
        for guest in draw(st.sets(st.sampled_from(mine), max_size=1)) if mine else ():
            record, copy = draw(volume(app, guest, held))
            volumes[record.volume] = record
            if copy is not None:
                replicas[record.volume] = copy
        if draw(st.booleans()):
            cuts[app] = draw(cut(app, held, [each for each in volumes.values() if each.application == app]))
    if draw(st.booleans()):
        dead = {name: replace(each, incarnation=None) for name, each in compute.hosts.items() if name in PAR_HOSTS}
        compute = replace(compute, hosts={**compute.hosts, **dead}, settled=frozenset(dead))
    wishes = draw(st.dictionaries(st.sampled_from(APPS), sites, max_size=2))
    return Scene(applications, tickets, compute, volumes, replicas, cuts, wishes)


@given(scenes())
@MANY
def test_the_check_never_refuses_what_is_planned(scene: Scene) -> None:
    check_plan(scene, plan_tickets(scene, NOW))


@given(scenes())
@MANY
def test_planning_is_deterministic_and_one_thing_an_application(scene: Scene) -> None:
    plan = plan_tickets(scene, NOW)
    turned = replace(
        scene,
        applications=dict(reversed(list(scene.applications.items()))),
        tickets=dict(reversed(list(scene.tickets.items()))),
        volumes=dict(reversed(list(scene.volumes.items()))),
    )
    assert plan_tickets(turned, NOW) == plan
    named = [each.application for each in (*plan.steps, *plan.alarms)]
    assert len(named) == len(set(named))


@given(scenes())
@MANY
def test_a_move_is_proved_and_leaves_nothing_of_the_old_epoch(scene: Scene) -> None:
    for step in plan_tickets(scene, NOW).steps:
        compares, writes = transaction(step)
        assert unchanged(layout.ticket(step.application), step.before.revision if step.before else 0) in compares
        if step.verb not in (Verb.FORCE, Verb.COMPLETE):
            assert not step.deletes
            continue
        assert step.before is not None
        assert step.after is not None
        assert step.after.epoch == step.before.ticket.epoch + 1
        for name, held in scene.compute.granted.items():
            if held.assignment.application != step.application:
                continue
            assert unchanged(layout.assignment(name), held.revision) in compares
            assert layout.assignment(name) in {write.key for write in writes}
            for host, life in grants(held.assignment):
                word = scene.compute.reports.get((host, name))
                said = word is not None and unchanged(layout.report(host, name), word.revision) in compares
                stopped = said and word is not None and word.report.state is GuestState.STOPPED
                dead = absent(layout.lease(host)) in compares and not alive(scene.compute, host, life)
                assert stopped or dead


@given(scenes())
@MANY
def test_silence_moves_nothing(scene: Scene) -> None:
    """While one host of a site holds a lease, or has only just lost it, nothing is forced away from the site."""
    for step in plan_tickets(scene, NOW).steps:
        if step.verb is Verb.FORCE:
            assert step.before is not None
            there = [each for each in scene.compute.hosts.values() if each.site == step.before.ticket.site]
            assert all(each.incarnation is None and each.name in scene.compute.settled for each in there)
