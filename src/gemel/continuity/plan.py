"""Which application runs where: tickets issued, drained, completed, forced. Pure.

A forced move is planned only from Absent leases, never from silence, and its commit compares again that
every host of the losing site holds none. The move deletes the application's assignments in the same
transaction, so nothing of the old epoch is granted after the new one exists.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gemel.compute.kinds import GuestState
from gemel.compute.placement import HostFacts
from gemel.compute.plan import Granted, Reported, alive, grants
from gemel.compute.plan import Scene as ComputeScene
from gemel.continuity import tickets
from gemel.continuity.kinds import Ticket, TicketPhase
from gemel.core.identity import GuestName, HostName, SiteName, VolumeName
from gemel.core.outcome import Permanent
from gemel.storage.kinds import Cut, CutPhase, ReplicaRecord, VolumeRecord


@dataclass(frozen=True, slots=True)
class Held:
    """A ticket as read, with the revision that guards it."""

    ticket: Ticket
    revision: int


@dataclass(frozen=True, slots=True)
class ApplicationFacts:
    """A declared application, or a lone guest under its implicit one (``protected`` False)."""

    name: str
    guests: tuple[GuestName, ...]
    preferred: SiteName
    protected: bool
    automatic: bool


@dataclass(frozen=True, slots=True)
class Scene:
    applications: Mapping[str, ApplicationFacts]
    tickets: Mapping[str, Held]
    compute: ComputeScene
    volumes: Mapping[VolumeName, VolumeRecord]
    replicas: Mapping[VolumeName, ReplicaRecord]
    cuts: Mapping[str, Cut]
    wishes: Mapping[str, SiteName]
    """Moves that a person asked for."""


class Verb(StrEnum):
    ISSUE = "issue"
    DRAIN = "drain"
    CANCEL = "cancel"
    COMPLETE = "complete"
    FORCE = "force"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Step:
    """One change of one ticket. Guards: the ticket and ``deletes`` as read, every ``gone`` host without
    lease, ``reports`` as read. ``settles`` removes the request that asked for it."""

    verb: Verb
    application: str
    before: Held | None
    after: Ticket | None
    deletes: tuple[Granted, ...] = ()
    gone: tuple[HostName, ...] = ()
    reports: tuple[tuple[HostName, GuestName, int], ...] = ()
    settles: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should know, and why nothing is done about it."""

    application: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...]
    alarms: tuple[Alarm, ...]


def plan_tickets(scene: Scene, now: datetime) -> Plan:
    """At most one step an application. ``now`` is only written down, never compared."""
    steps: list[Step] = []
    alarms: list[Alarm] = []
    for name in sorted(scene.applications):
        outcome = _plan_application(scene, scene.applications[name], now)
        if isinstance(outcome, Step):
            steps.append(outcome)
        elif isinstance(outcome, Alarm):
            alarms.append(outcome)
    return Plan(tuple(steps), tuple(alarms))


def _plan_application(scene: Scene, app: ApplicationFacts, now: datetime) -> Step | Alarm | None:
    held = scene.tickets.get(app.name)
    if held is None:
        return _plan_issue(scene, app, now)
    if _site_lost(scene, held.ticket.site):
        return _plan_force(scene, app, held, now)
    if held.ticket.phase is TicketPhase.DRAINING:
        return _plan_recalled(scene, app, held, now) or _plan_drained(scene, app, held, now)
    if app.name in scene.wishes:
        return _plan_drain(scene, app, held, scene.wishes[app.name], now)
    return None


def _living(scene: Scene, site: SiteName) -> list[HostFacts]:
    return [host for host in scene.compute.hosts.values() if host.site == site and host.incarnation is not None]


def _site_lost(scene: Scene, site: SiteName) -> bool:
    """Every host of the site has had no lease for long enough, and the site has hosts at all."""
    hosts = [host for host in scene.compute.hosts.values() if host.site == site]
    return bool(hosts) and all(host.incarnation is None and host.name in scene.compute.settled for host in hosts)


def _plan_issue(scene: Scene, app: ApplicationFacts, now: datetime) -> Step | Alarm:
    if not _living(scene, app.preferred):
        return Alarm(app.name, f"waits for its first ticket: no host of {app.preferred} holds a lease")
    reasons = (f"first ticket, at the preferred site {app.preferred}",)
    return Step(Verb.ISSUE, app.name, None, tickets.issue(app.name, app.preferred, now, reasons), reasons=reasons)


def _plan_force(scene: Scene, app: ApplicationFacts, held: Held, now: datetime) -> Step | Alarm:
    ticket = held.ticket
    lost = sorted(host.name for host in scene.compute.hosts.values() if host.site == ticket.site)
    deletes = _assignments(scene, app)
    holders = [each for granted in deletes for each in grants(granted.assignment)]
    if living := sorted({host for host, life in holders if alive(scene.compute, host, life)}):
        where = ", ".join(living)
        return Alarm(app.name, f"site {ticket.site} is lost, but {where}, declared elsewhere, may run guests of it")
    if not app.protected:
        return Alarm(app.name, f"is down: site {ticket.site} is lost and the application is not protected")
    wish = scene.wishes.get(app.name)
    if not app.automatic and wish is None:
        why = f"is down: site {ticket.site} is lost and its policy says failover: manual; ask for a move to decide it"
        return Alarm(app.name, why)
    refusals: list[str] = []
    others = {host.site for host in scene.compute.hosts.values()} - {ticket.site}
    for site in sorted(others if app.automatic else others & {wish}):
        refusal = _refuses_takeover(scene, app, site)
        if refusal is None:
            reasons = (f"site {ticket.site} is lost: no lease is left of {', '.join(lost)}",)
            after = tickets.force(ticket, site, now, reasons)
            return Step(
                Verb.FORCE,
                app.name,
                held,
                after,
                deletes=deletes,
                gone=tuple(sorted({*lost, *(host for host, _ in holders)})),
                settles=app.name in scene.wishes,
                reasons=reasons,
            )
        refusals.append(f"{site}: {refusal}")
    return Alarm(
        app.name, f"is down: site {ticket.site} is lost, and {'; '.join(refusals) or 'there is no other site'}"
    )


def _refuses_takeover(scene: Scene, app: ApplicationFacts, site: SiteName) -> str | None:
    """Why ``site`` cannot run the application; None when it can."""
    if not _living(scene, site):
        return "no host there holds a lease"
    for volume in _volumes(scene, app):
        if volume.site == site:
            continue  # a promotion elsewhere never finished: this site's image is the newest there is
        replica = scene.replicas.get(volume.volume)
        if replica is None or replica.site != site or not replica.complete:
            return f"it has no complete replica of {volume.volume}"
    return None


def _plan_drain(scene: Scene, app: ApplicationFacts, held: Held, to: SiteName, now: datetime) -> Step:
    refusal = _refuses_drain(scene, app, held.ticket, to)
    if refusal is not None:
        return Step(Verb.REFUSE, app.name, held, None, settles=True, reasons=(f"not moved to {to}: {refusal}",))
    reasons = (f"planned move from {held.ticket.site} to {to}",)
    after = tickets.drain(held.ticket, to, now, reasons)
    return Step(Verb.DRAIN, app.name, held, after, settles=True, reasons=reasons)


def _refuses_drain(scene: Scene, app: ApplicationFacts, ticket: Ticket, to: SiteName) -> str | None:
    if to == ticket.site:
        return "it is there already"
    if not app.protected:
        return "it is not protected, so nothing of it exists there"
    for volume in _volumes(scene, app):
        if (volume.site, volume.epoch) != (ticket.site, ticket.epoch):
            return f"{volume.volume} has not been promoted under epoch {ticket.epoch} yet"
        replica = scene.replicas.get(volume.volume)
        if replica is not None and replica.epoch != ticket.epoch:
            return f"the replica of {volume.volume} does not follow epoch {ticket.epoch} yet"
    return _refuses_takeover(scene, app, to)


def _plan_recalled(scene: Scene, app: ApplicationFacts, held: Held, now: datetime) -> Step | None:
    """A wish to go where it is, while it drains, calls the move off; until the commit that is always safe."""
    ticket, wish = held.ticket, scene.wishes.get(app.name)
    if wish is None:
        return None
    if wish != ticket.site:
        return Step(Verb.REFUSE, app.name, held, None, settles=True, reasons=(f"it is on its way to {ticket.to}",))
    reasons = (f"the move to {ticket.to} was called off: it stays at {ticket.site}",)
    return Step(Verb.CANCEL, app.name, held, tickets.cancel(ticket, now, reasons), settles=True, reasons=reasons)


def _plan_drained(scene: Scene, app: ApplicationFacts, held: Held, now: datetime) -> Step | None:
    ticket = held.ticket
    assert ticket.to is not None
    if not _living(scene, ticket.to):
        reasons = (f"the move to {ticket.to} is cancelled: no host there holds a lease any more",)
        return Step(Verb.CANCEL, app.name, held, tickets.cancel(ticket, now, reasons), reasons=reasons)
    deletes = _assignments(scene, app)
    reports: list[tuple[HostName, GuestName, int]] = []
    for granted in deletes:
        proof = _stopped(scene, granted)
        if proof is None:
            return None
        reports.append((granted.assignment.host, granted.assignment.guest, proof.revision))
    if not _final_cut_complete(scene, app, held):
        return None
    reasons = (f"planned move from {ticket.site}: stopped, and complete at {ticket.to}",)
    try:
        after = tickets.complete(ticket, now, reasons)
    except Permanent:
        return None
    return Step(Verb.COMPLETE, app.name, held, after, deletes=deletes, reports=tuple(reports), reasons=reasons)


def _stopped(scene: Scene, granted: Granted) -> Reported | None:
    """The host's own word, under this very grant, that the guest is stopped."""
    assignment = granted.assignment
    reported = scene.compute.reports.get((assignment.host, assignment.guest))
    if assignment.running or assignment.target is not None or reported is None:
        return None
    report = reported.report
    current = (report.incarnation, report.generation) == (assignment.incarnation, assignment.generation)
    return reported if current and report.state is GuestState.STOPPED else None


def _final_cut_complete(scene: Scene, app: ApplicationFacts, held: Held) -> bool:
    """The cut that was taken for this very draining is complete, for every volume, where it goes."""
    ticket, cut = held.ticket, scene.cuts.get(app.name)
    volumes = _volumes(scene, app)
    if not volumes:
        return True
    if cut is None or not cut.final or cut.phase is not CutPhase.TAKEN:
        return False
    if cut.epoch != ticket.epoch or cut.ticket_revision != held.revision:
        return False
    if {each.volume for each in cut.volumes} != {volume.volume for volume in volumes}:
        return False
    for volume in volumes:
        replica = scene.replicas.get(volume.volume)
        if replica is None or replica.site != ticket.to or replica.epoch != ticket.epoch:
            return False
        if not any(each.final and each.sequence == cut.sequence for each in replica.complete):
            return False
    return True


def _volumes(scene: Scene, app: ApplicationFacts) -> list[VolumeRecord]:
    return [record for _, record in sorted(scene.volumes.items()) if record.application == app.name]


def _assignments(scene: Scene, app: ApplicationFacts) -> tuple[Granted, ...]:
    found = (granted for _, granted in sorted(scene.compute.granted.items()))
    return tuple(granted for granted in found if granted.assignment.application == app.name)


def check_plan(scene: Scene, plan: Plan) -> None:
    """What must hold of every plan, whatever made it. Raises AssertionError."""
    for step in plan.steps:
        before, after = step.before, step.after
        if after is None or before is None:
            continue
        moved = after.site != before.ticket.site
        assert after.epoch == before.ticket.epoch + moved, f"{step.application}: epoch and site must change together"
        if not moved:
            continue
        for granted in _assignments(scene, scene.applications[step.application]):
            assert granted in step.deletes, f"{step.application}: a move leaves {granted.assignment.guest} granted"
            for host, incarnation in grants(granted.assignment):
                stopped = any(name == host for name, _, _ in step.reports)
                dead = host in step.gone and not alive(scene.compute, host, incarnation)
                assert stopped or dead, f"{step.application}: nothing proves that {host} stopped"
