"""Compute plans over generated scenes: sound, without surprise, and leading to rest."""

from dataclasses import replace

from hypothesis import given, settings
from tests.property.compute.generated import consistent, scenes
from tests.unit.compute.scenes import NOW

from gemel.compute.guards import transaction
from gemel.compute.kinds import Assignment, GuestReport, GuestState
from gemel.compute.plan import Granted, Plan, Reported, Scene, Step, Verb, alive, check_plan, grants, plan_guests
from gemel.core import layout
from gemel.core.identity import Epoch, GuestName, HostName, Incarnation
from gemel.core.store import Field, absent, unchanged

MANY = settings(max_examples=150, deadline=None)
FEWER = settings(max_examples=60, deadline=None)


def sound(scene: Scene) -> Plan:
    """A step that the check refuses is dropped, as the leader drops it."""
    plan = plan_guests(scene)
    kept = []
    for step in plan.steps:
        try:
            check_plan(scene, [step])
            kept.append(step)
        except AssertionError:
            continue
    return replace(plan, steps=tuple(kept))


@given(consistent())
@MANY
def test_the_check_never_refuses_what_is_planned(scene: Scene) -> None:
    check_plan(scene, plan_guests(scene).steps)


@given(scenes())
@MANY
def test_planning_is_total_and_deterministic(scene: Scene) -> None:
    again = replace(
        scene,
        guests=dict(reversed(list(scene.guests.items()))),
        hosts=dict(reversed(list(scene.hosts.items()))),
        granted=dict(reversed(list(scene.granted.items()))),
        reports=dict(reversed(list(scene.reports.items()))),
    )
    assert plan_guests(scene) == plan_guests(again)


@given(scenes())
@MANY
def test_no_step_takes_a_guest_from_a_host_without_proof(scene: Scene) -> None:
    """Proof: its lease is not that life's any more, or its own word under that very grant; compared in the
    commit either way. The end of a migration is told by either of its two hosts."""
    for step in sound(scene).steps:
        if step.before is None:
            continue
        before = step.before.assignment
        keeps = {(step.after.host, step.after.incarnation)} if step.after else set()
        if step.after is not None and step.after.target and step.after.target_incarnation:
            keeps.add((step.after.target, step.after.target_incarnation))
        compares, _ = transaction(step, scene.hosts)
        for host, life in set(grants(before)) - keeps:
            assert proved(scene, step, host, life), (step.verb, host)
        assert unchanged(layout.assignment(step.guest), step.before.revision) in compares


def proved(scene: Scene, step: Step, host: HostName, life: Incarnation) -> bool:
    compares, _ = transaction(step, scene.hosts)
    if not alive(scene, host, life):
        lease = layout.lease(host)
        facts = scene.hosts.get(host)
        seen = facts.lease_revision if facts is not None and facts.incarnation is not None else 0
        if (unchanged(lease, seen) if seen else absent(lease)) in compares:
            return True
    assert step.before is not None
    for where, revision in step.reports:
        word = scene.reports[where, step.guest].report
        current = (word.generation, unchanged(layout.report(where, step.guest), revision) in compares)
        if current != (step.before.assignment.generation, True):
            return False
        if word.state is GuestState.STOPPED and where == host:
            return True
        ends = {Verb.ARRIVED: (GuestState.RUNNING, GuestState.STOPPED), Verb.STAY: (GuestState.FAILED,)}
        if word.state in ends.get(step.verb, ()):
            return True
    return False


@given(scenes())
@MANY
def test_every_grant_compares_ticket_and_lease(scene: Scene) -> None:
    for step in sound(scene).steps:
        if step.verb not in (Verb.PLACE, Verb.RESTART, Verb.MIGRATE):
            continue
        assert step.after is not None
        compares, _ = transaction(step, scene.hosts)
        assert unchanged(layout.ticket(step.application), scene.rights[step.application].ticket_revision) in compares
        for host, _ in grants(step.after):
            assert unchanged(layout.lease(host), scene.hosts[host].lease_revision) in compares
        assert all(compare.field in (Field.MOD, Field.VERSION) for compare in compares)


@given(scenes())
@MANY
def test_memory_is_never_promised_twice(scene: Scene) -> None:
    placed: dict[HostName, int] = {}
    for step in plan_guests(scene).steps:
        if step.verb is Verb.PLACE and step.after is not None:
            placed[step.after.host] = placed.get(step.after.host, 0) + scene.guests[step.guest].memory
    for host, memory in placed.items():
        assert memory <= scene.hosts[host].memory


class Ideal:
    """A world in which every commit holds and every host does its duty at once."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.revision = 1000

    def take(self, steps: tuple[Step, ...]) -> None:
        granted = dict(self.scene.granted)
        wishes = dict(self.scene.wishes)
        for step in steps:
            self.revision += 1
            if step.after is None:
                del granted[step.guest]
            else:
                granted[step.guest] = Granted(step.after, self.revision)
            if step.verb is Verb.MIGRATE:
                wishes.pop(step.guest, None)
        away = frozenset(name for name, each in self.scene.hosts.items() if each.incarnation is None)
        self.scene = replace(self.scene, granted=granted, wishes=wishes, settled=away, reports=self._said(granted))

    def _said(self, granted: dict[GuestName, Granted]) -> dict[tuple[HostName, GuestName], Reported]:
        said: dict[tuple[HostName, GuestName], Reported] = {}
        for held in granted.values():
            assignment = held.assignment
            if assignment.target and assignment.target_incarnation:
                self._say(said, assignment, assignment.host, assignment.incarnation, GuestState.STOPPED)
                self._say(said, assignment, assignment.target, assignment.target_incarnation, GuestState.RUNNING)
                continue
            state = GuestState.RUNNING if assignment.running else GuestState.STOPPED
            self._say(said, assignment, assignment.host, assignment.incarnation, state)
        return said

    def _say(
        self,
        said: dict[tuple[HostName, GuestName], Reported],
        assignment: Assignment,
        host: HostName,
        life: Incarnation,
        state: GuestState,
    ) -> None:
        if not alive(self.scene, host, life):
            return
        word = GuestReport(
            guest=assignment.guest, host=host, incarnation=life, generation=assignment.generation,
            state=state, epoch=Epoch(assignment.epoch), since=NOW,
        )  # fmt: skip
        said[host, assignment.guest] = Reported(word, self.revision)


@given(consistent())
@FEWER
def test_an_ideal_world_comes_to_rest(scene: Scene) -> None:
    world = Ideal(scene)
    world.take(())
    for _ in range(12):
        plan = plan_guests(world.scene)
        check_plan(world.scene, plan.steps)
        if not plan.steps:
            break
        world.take(plan.steps)
    assert not plan_guests(world.scene).steps, "it never rests"
    unplaced = {each.guest for each in plan_guests(world.scene).unplaced}
    for name, guest in world.scene.guests.items():
        right, held = world.scene.rights[guest.application], world.scene.granted.get(name)
        runs = held is not None and held.assignment.running and alive(
            world.scene, held.assignment.host, held.assignment.incarnation
        )  # fmt: skip
        assert runs == (guest.running and right.open) or name in unplaced
    for name, held in world.scene.granted.items():
        assert name in world.scene.guests, "a guest that is not declared is forgotten"
        assert held.assignment.target is None or name in unplaced
