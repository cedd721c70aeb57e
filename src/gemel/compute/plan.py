"""Who runs what: from declared guests, rights, leases and reports to steps, each with its guard.

Pure: no I/O, no clock (``settled`` says which lost hosts were lost long enough ago), no randomness.

A step never takes a guest from a host unless its grant there is *dead* (the lease that it was given to is
gone, compared again in the commit) or the host itself *reported* the guest stopped under that very grant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gemel.compute.kinds import Assignment, GuestReport, GuestState
from gemel.compute.placement import GuestFacts, HostFacts, Load, NoPlace, plan_placement
from gemel.core.identity import Epoch, GuestName, HostName, Incarnation, SiteName


@dataclass(frozen=True, slots=True)
class Right:
    """What a guest's ticket allows: where, under which epoch, and whether it may be started now."""

    site: SiteName
    epoch: Epoch
    open: bool
    ticket_revision: int


@dataclass(frozen=True, slots=True)
class Granted:
    """An assignment as read, with the revision that guards it."""

    assignment: Assignment
    revision: int


@dataclass(frozen=True, slots=True)
class Reported:
    report: GuestReport
    revision: int


@dataclass(frozen=True, slots=True)
class Scene:
    """All that compute decides from, as of one revision of the store."""

    guests: Mapping[GuestName, GuestFacts]
    hosts: Mapping[HostName, HostFacts]
    rights: Mapping[str, Right]
    granted: Mapping[GuestName, Granted]
    reports: Mapping[tuple[HostName, GuestName], Reported]
    wishes: Mapping[GuestName, HostName | None]
    """Migrations that a person asked for; None means anywhere else."""
    settled: frozenset[HostName]
    """Hosts without lease for long enough that their neighbours' leases would have gone too, if they went
    together: restarting beside a dying neighbour only costs another lease time."""


class Verb(StrEnum):
    PLACE = "place"
    RESTART = "restart"
    MIGRATE = "migrate"
    ARRIVED = "arrived"
    STAY = "stay"
    STOP = "stop"
    START = "start"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Step:
    """One change of one assignment. ``after`` None deletes it.

    Guards, all compared in the commit: the assignment and the ticket as read; ``needs`` hosts hold the
    incarnations named; ``dead`` hosts do not; ``reports`` are as read.
    """

    verb: Verb
    guest: GuestName
    before: Granted | None
    after: Assignment | None
    application: str
    ticket_revision: int | None
    needs: tuple[tuple[HostName, Incarnation], ...] = ()
    dead: tuple[tuple[HostName, Incarnation], ...] = ()
    reports: tuple[tuple[HostName, int], ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unplaced:
    guest: GuestName
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...]
    unplaced: tuple[Unplaced, ...]


def alive(scene: Scene, host: HostName, incarnation: Incarnation | None) -> bool:
    facts = scene.hosts.get(host)
    return facts is not None and incarnation is not None and facts.incarnation == incarnation


def _gone(scene: Scene, host: HostName) -> bool:
    """The host is declared and has no lease at all; with another life of its lease it came back instead."""
    facts = scene.hosts.get(host)
    return facts is not None and facts.incarnation is None


def grants(assignment: Assignment) -> tuple[tuple[HostName, Incarnation], ...]:
    """Every host that may be running the guest by this assignment."""
    first = ((assignment.host, assignment.incarnation),)
    if assignment.target is None or assignment.target_incarnation is None:
        return first
    return (*first, (assignment.target, assignment.target_incarnation))


def plan_guests(scene: Scene) -> Plan:
    """At most one step a guest; the next look at the store brings the next."""
    load = _load(scene)
    steps: list[Step] = []
    unplaced: list[Unplaced] = []
    for name in sorted(set(scene.guests) | set(scene.granted)):
        outcome = _plan_guest(scene, name, load)
        if isinstance(outcome, Step):
            steps.append(outcome)
        elif isinstance(outcome, Unplaced):
            unplaced.append(outcome)
    return Plan(tuple(steps), tuple(unplaced))


def _load(scene: Scene) -> dict[HostName, Load]:
    load: dict[HostName, Load] = {name: Load() for name in scene.hosts}
    for name, granted in scene.granted.items():
        guest = scene.guests.get(name)
        if guest is None:
            continue
        for host, incarnation in grants(granted.assignment):
            if alive(scene, host, incarnation):
                load.setdefault(host, Load()).add(guest)
    return load


def _plan_guest(scene: Scene, name: GuestName, load: dict[HostName, Load]) -> Step | Unplaced | None:
    guest, granted = scene.guests.get(name), scene.granted.get(name)
    if guest is None:
        return _plan_removed(scene, granted) if granted else None
    if granted is not None and granted.assignment.application != guest.application:
        return _plan_regrouped(scene, guest, granted)
    right = scene.rights.get(guest.application)
    if right is None:
        return Unplaced(name, (f"application {guest.application} has no ticket yet",)) if guest.running else None
    if granted is None:
        if not (guest.running and right.open):
            return None
        if waits := tuple(f"waits for {name}" for name in guest.after if not _runs(scene, name)):
            return Unplaced(name, waits)
        return _place(scene, guest, right, load, None, Verb.PLACE, ())
    if granted.assignment.epoch != right.epoch:
        # The move that changed the epoch deletes its assignments: one that is left is a fault to be seen.
        return Unplaced(name, (f"assignment of epoch {granted.assignment.epoch} under ticket {right.epoch}",))
    if not alive(scene, granted.assignment.host, granted.assignment.incarnation):
        return _plan_lost(scene, guest, right, granted, load)
    return _plan_living(scene, guest, right, granted, load)


def _plan_regrouped(scene: Scene, guest: GuestFacts, granted: Granted) -> Step | Unplaced | None:
    """It was granted as part of another application, whose ticket rules it until it has stopped: two tickets
    never rule one run. Changing a label stops nothing, so that is left to a person or to a lost host."""
    assignment = granted.assignment
    if guest.running and assignment.running and any(alive(scene, *each) for each in grants(assignment)):
        why = f"runs as part of {assignment.application}: stop it once, and it starts as part of {guest.application}"
        return Unplaced(guest.name, (why,))
    return _plan_removed(scene, granted, "it belongs to another application now")


def _plan_removed(scene: Scene, granted: Granted, why: str = "no longer declared") -> Step | None:
    """No ticket of now rules this grant: stop the guest, then forget it."""
    assignment = granted.assignment
    stopped = _stopped(scene, assignment)
    living = tuple(each for each in grants(assignment) if alive(scene, *each))
    if assignment.target is not None and living:
        return _plan_migration_end(scene, granted)
    if assignment.running and living:
        after = _next(assignment, running=False, reasons=(why,))
        return _step(Verb.STOP, granted, after, reasons=after.reasons)
    if stopped is not None or not living:
        dead = tuple(each for each in grants(assignment) if each not in living)
        reports = ((assignment.host, stopped),) if stopped is not None else ()
        return _step(Verb.FORGET, granted, None, dead=dead, reports=reports, reasons=(why,))
    return None


def _plan_migration_end(scene: Scene, granted: Granted) -> Step | None:
    """Before it can be stopped it must be known where it is: two hosts may be running it."""
    assignment = granted.assignment
    source, target, life = (assignment.host, assignment.incarnation), assignment.target, assignment.target_incarnation
    if alive(scene, *source):
        return _plan_migrating(scene, None, granted)
    assert target is not None and life is not None
    after = _moved(assignment, target, life, (f"{assignment.host} was lost during the migration",))
    needs = ((target, life),)
    return _step(Verb.ARRIVED, granted, after, needs=needs, dead=(source,), reasons=after.reasons)


def _plan_lost(
    scene: Scene, guest: GuestFacts, right: Right, granted: Granted, load: dict[HostName, Load]
) -> Step | Unplaced | None:
    """The host's lease is gone: that proves its guests are, and another host of the site may start them."""
    assignment = granted.assignment
    lost = (assignment.host, assignment.incarnation)
    target, target_life = assignment.target, assignment.target_incarnation
    if target is not None and target_life is not None and alive(scene, target, target_life):
        # Either it arrived there, and the target adopts it, or it did not, and the target starts it.
        after = _moved(assignment, target, target_life, (f"{assignment.host} was lost during the migration",))
        return _step(
            Verb.RESTART,
            granted,
            after,
            right,
            needs=((target, target_life),),
            dead=(lost,),
            reasons=after.reasons,
        )
    if _gone(scene, assignment.host) and assignment.host not in scene.settled:
        return None
    dead = grants(assignment)
    if not guest.running:
        return _step(Verb.FORGET, granted, None, right, dead=dead, reasons=("its host is gone; it is not to run",))
    if not right.open:
        return _step(Verb.FORGET, granted, None, right, dead=dead, reasons=("its host is gone; the ticket drains",))
    why = f"the lease that {assignment.host} held is gone: restart elsewhere"
    return _place(scene, guest, right, load, granted, Verb.RESTART, (why,), dead=dead)


def _plan_living(
    scene: Scene, guest: GuestFacts, right: Right, granted: Granted, load: dict[HostName, Load]
) -> Step | Unplaced | None:
    assignment = granted.assignment
    if assignment.target is not None:
        return _plan_migrating(scene, right, granted)
    wanted = guest.running and right.open
    if assignment.running and not wanted:
        reason = "declared not running" if not guest.running else "the ticket drains"
        return _step(Verb.STOP, granted, _next(assignment, running=False, reasons=(reason,)), right, reasons=(reason,))
    if not assignment.running:
        return _plan_stopped(scene, right, granted) if wanted else None
    host = scene.hosts[assignment.host]
    leave = not host.schedulable or guest.name in scene.wishes
    if not leave or _state(scene, assignment) is not GuestState.RUNNING:
        return None
    return _plan_migration(scene, guest, right, granted, load)


def _plan_stopped(scene: Scene, right: Right, granted: Granted) -> Step | None:
    """It is to run again: forget the old grant once the guest was observed stopped, then place it afresh."""
    stopped = _stopped(scene, granted.assignment)
    if stopped is None:
        return None
    reports = ((granted.assignment.host, stopped),)
    return _step(Verb.FORGET, granted, None, right, reports=reports, reasons=("to be started again",))


def _plan_migration(
    scene: Scene, guest: GuestFacts, right: Right, granted: Granted, load: dict[HostName, Load]
) -> Step | Unplaced:
    assignment = granted.assignment
    wish = scene.wishes.get(guest.name)
    hosts: Iterable[HostFacts] = scene.hosts.values()
    if wish is not None:
        hosts = [each for each in hosts if each.name == wish]
    placed = plan_placement(guest, right.site, hosts, load, avoid=frozenset({assignment.host}))
    if isinstance(placed, NoPlace):
        return Unplaced(guest.name, ("cannot be migrated", *placed.reasons))
    target, life = placed.host.name, placed.host.incarnation
    assert life is not None  # plan_placement refuses hosts without lease
    load.setdefault(target, Load()).add(guest)
    why = f"asked to leave {assignment.host}" if guest.name in scene.wishes else f"{assignment.host} is drained"
    after = assignment.model_copy(
        update={
            "target": target,
            "target_incarnation": life,
            "generation": assignment.generation + 1,
            "reasons": (why, *placed.reasons),
        }
    )
    needs = ((target, life), (assignment.host, assignment.incarnation))
    return _step(Verb.MIGRATE, granted, after, right, needs=needs, reasons=after.reasons)


def _plan_migrating(scene: Scene, right: Right | None, granted: Granted) -> Step | None:
    """The target says running, or the source says gone, or the source says failed; silence decides nothing."""
    assignment = granted.assignment
    source, target = (assignment.host, assignment.incarnation), (assignment.target, assignment.target_incarnation)
    assert target[0] is not None and target[1] is not None
    arrived = _current(scene, assignment, target[0], target[1])
    left = _current(scene, assignment, *source)
    reached = alive(scene, target[0], target[1])
    if reached and arrived is not None and arrived.report.state is GuestState.RUNNING:
        return _arrive(granted, right, target[0], target[1], (target[0], arrived.revision))
    if left is None:
        return None
    proof = (assignment.host, left.revision)
    if left.report.state is GuestState.STOPPED:
        if reached:  # it arrived and the target adopts it, or it did not and the target starts it
            return _arrive(granted, right, target[0], target[1], proof)
        why = f"{target[0]} was lost just after the migration"
        dead = ((target[0], target[1]),)
        return _step(Verb.FORGET, granted, None, right, dead=dead, reports=(proof,), reasons=(why,))
    if left.report.state is GuestState.FAILED:
        why = f"migration to {target[0]} failed: {left.report.message}"
        after = _next(assignment, running=assignment.running, reasons=(why,))
        return _step(Verb.STAY, granted, after, right, reports=(proof,), reasons=(why,))
    return None


def _arrive(
    granted: Granted, right: Right | None, host: HostName, life: Incarnation, proof: tuple[HostName, int]
) -> Step:
    after = _moved(granted.assignment, host, life, (f"migrated from {granted.assignment.host}",))
    return _step(Verb.ARRIVED, granted, after, right, needs=((host, life),), reports=(proof,), reasons=after.reasons)


def _current(scene: Scene, assignment: Assignment, host: HostName, life: Incarnation) -> Reported | None:
    """What this host says of the guest under this very assignment; None when it has not said."""
    reported = scene.reports.get((host, assignment.guest))
    if reported is None or reported.report.incarnation != life:
        return None
    return reported if reported.report.generation == assignment.generation else None


def _fresh_generation(scene: Scene, guest: GuestName) -> int:
    """Above every generation that a report still tells of: a word about a grant that was forgotten must never
    be taken for a word about a later one."""
    told = (each.report.generation for (_, name), each in scene.reports.items() if name == guest)
    return max(told, default=0) + 1


def _place(
    scene: Scene,
    guest: GuestFacts,
    right: Right,
    load: dict[HostName, Load],
    granted: Granted | None,
    verb: Verb,
    reasons: tuple[str, ...],
    dead: tuple[tuple[HostName, Incarnation], ...] = (),
) -> Step | Unplaced:
    placed = plan_placement(guest, right.site, scene.hosts.values(), load)
    if isinstance(placed, NoPlace):
        return Unplaced(guest.name, (*reasons, *placed.reasons))
    life = placed.host.incarnation
    assert life is not None  # plan_placement refuses hosts without lease
    load.setdefault(placed.host.name, Load()).add(guest)
    after = Assignment(
        guest=guest.name,
        application=guest.application,
        epoch=right.epoch,
        host=placed.host.name,
        incarnation=life,
        generation=granted.assignment.generation + 1 if granted else _fresh_generation(scene, guest.name),
        reasons=(*reasons, *placed.reasons),
    )
    return Step(
        verb,
        guest.name,
        granted,
        after,
        guest.application,
        right.ticket_revision,
        needs=((placed.host.name, life),),
        dead=dead,
        reasons=after.reasons,
    )


def _step(
    verb: Verb,
    granted: Granted,
    after: Assignment | None,
    right: Right | None = None,
    *,
    needs: tuple[tuple[HostName, Incarnation], ...] = (),
    dead: tuple[tuple[HostName, Incarnation], ...] = (),
    reports: tuple[tuple[HostName, int], ...] = (),
    reasons: tuple[str, ...] = (),
) -> Step:
    revision = right.ticket_revision if right else None
    before = granted.assignment
    return Step(verb, before.guest, granted, after, before.application, revision, needs, dead, reports, reasons)


def _next(assignment: Assignment, *, running: bool, reasons: tuple[str, ...]) -> Assignment:
    """The same grant on the same host, no migration."""
    return assignment.model_copy(
        update={
            "running": running,
            "target": None,
            "target_incarnation": None,
            "generation": assignment.generation + 1,
            "reasons": reasons,
        }
    )


def _moved(assignment: Assignment, host: HostName, incarnation: Incarnation, reasons: tuple[str, ...]) -> Assignment:
    return _next(assignment, running=assignment.running, reasons=reasons).model_copy(
        update={"host": host, "incarnation": incarnation}
    )


def _state(scene: Scene, assignment: Assignment) -> GuestState | None:
    reported = _current(scene, assignment, assignment.host, assignment.incarnation)
    return reported.report.state if reported else None


def _runs(scene: Scene, guest: GuestName) -> bool:
    granted = scene.granted.get(guest)
    states = (GuestState.RUNNING, GuestState.MIGRATING)
    return granted is not None and _state(scene, granted.assignment) in states


def _stopped(scene: Scene, assignment: Assignment) -> int | None:
    """The revision of the report that says it is stopped under this grant, which must itself say stop."""
    reported = _current(scene, assignment, assignment.host, assignment.incarnation)
    if assignment.running or reported is None or reported.report.state is not GuestState.STOPPED:
        return None
    return reported.revision


def check_plan(scene: Scene, steps: Sequence[Step]) -> None:
    """Refuse a plan that breaks what must hold, whatever made it. Raises AssertionError."""
    seen: set[GuestName] = set()
    for step in steps:
        assert step.guest not in seen, f"two steps for {step.guest}"
        seen.add(step.guest)
        before = step.before.assignment if step.before else None
        if step.after is not None:
            _check_after(scene, step, step.after)
        if before is None:
            continue
        kept = {step.after.host, step.after.target} if step.after else set()
        for host, incarnation in grants(before):
            if host in kept:
                continue
            proved = (host, incarnation) in step.dead or any(name == host for name, _ in step.reports)
            arrived = step.verb in (Verb.ARRIVED, Verb.STAY) and bool(step.reports)
            assert proved or arrived, f"{step.verb} takes {step.guest} from {host} without proof that it stopped"
        for host, incarnation in step.dead:
            assert not alive(scene, host, incarnation), f"{step.verb} of {step.guest}: {host} is alive"


def _check_after(scene: Scene, step: Step, after: Assignment) -> None:
    right = scene.rights.get(step.application)
    if step.verb is Verb.ARRIVED:
        granted = grants(step.before.assignment) if step.before else ()
        assert (after.host, after.incarnation) in granted, f"{step.guest} arrived where it was not granted"
    if step.verb in (Verb.PLACE, Verb.RESTART, Verb.MIGRATE):
        assert right is not None, f"{step.guest} is granted without a ticket"
        assert after.epoch == right.epoch, f"{step.guest} is granted under epoch {after.epoch}"
        for host, incarnation in grants(after):
            assert scene.hosts[host].site == right.site, f"{step.guest} is granted at the wrong site"
            assert alive(scene, host, incarnation) or (host, incarnation) in step.dead, f"{host} has no lease"
