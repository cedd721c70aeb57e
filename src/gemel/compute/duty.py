"""What a host owes one guest, from the assignment, what exists, and whether it may run. Pure and total."""

from dataclasses import dataclass
from enum import StrEnum

from gemel.compute.kinds import Assignment, GuestState
from gemel.compute.ports import Domain, DomainState
from gemel.core.identity import HostName, Incarnation


class Act(StrEnum):
    NOTHING = "nothing"
    START = "start"
    SHUT_DOWN = "shut-down"
    KILL = "kill"
    MIGRATE = "migrate"


@dataclass(frozen=True, slots=True)
class Duty:
    """``state`` is what to report now, None for nothing to say (and an old report is removed)."""

    act: Act
    state: GuestState | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Self:
    """The host as the assignment must name it."""

    host: HostName
    incarnation: Incarnation


def plan_duty(
    me: Self, assignment: Assignment | None, domain: Domain | None, refusal: str | None, failure: str | None
) -> Duty:
    """``refusal``: why the guest may not run here now (None: it may). ``failure``: what the last act on this
    very generation of the assignment ended with, if it failed."""
    if assignment is None or not _names(me, assignment):
        return Duty(Act.KILL, None, "not granted to this host") if domain else Duty(Act.NOTHING, None)
    if domain is not None and domain.epoch != assignment.epoch:
        return Duty(Act.KILL, GuestState.STOPPING, f"it runs under epoch {domain.epoch}, not {assignment.epoch}")
    if (assignment.target, assignment.target_incarnation) == (me.host, me.incarnation):
        return _plan_target(domain)
    if domain is None:
        return _plan_absent(assignment, refusal, failure)
    return _plan_existing(assignment, domain, refusal, failure)


def _names(me: Self, assignment: Assignment) -> bool:
    as_host = (assignment.host, assignment.incarnation) == (me.host, me.incarnation)
    return as_host or (assignment.target, assignment.target_incarnation) == (me.host, me.incarnation)


def _plan_target(domain: Domain | None) -> Duty:
    """It comes by live migration; this host starts nothing of its own."""
    if domain is not None and domain.state is DomainState.RUNNING:
        return Duty(Act.NOTHING, GuestState.RUNNING, "arrived by live migration")
    return Duty(Act.NOTHING, GuestState.PENDING, "waiting for the live migration")


def _plan_absent(assignment: Assignment, refusal: str | None, failure: str | None) -> Duty:
    if not assignment.running:
        return Duty(Act.NOTHING, GuestState.STOPPED)
    if assignment.target is not None:
        return Duty(Act.NOTHING, GuestState.STOPPED, f"it left for {assignment.target}")
    if refusal is not None:
        return Duty(Act.NOTHING, GuestState.PENDING, refusal)
    if failure is not None:
        return Duty(Act.START, GuestState.FAILED, failure)
    return Duty(Act.START, GuestState.STARTING)


def _plan_existing(assignment: Assignment, domain: Domain, refusal: str | None, failure: str | None) -> Duty:
    if not assignment.running:
        return Duty(Act.SHUT_DOWN, GuestState.STOPPING)
    if refusal is not None:
        return Duty(Act.KILL, GuestState.STOPPING, refusal)
    if domain.state is DomainState.CRASHED:
        return Duty(Act.KILL, GuestState.FAILED, f"crashed: {domain.reason}")
    if assignment.target is not None:
        if failure is not None:
            return Duty(Act.NOTHING, GuestState.FAILED, failure)
        return Duty(Act.MIGRATE, GuestState.MIGRATING, f"to {assignment.target}")
    if domain.state is DomainState.PAUSED and domain.reason == "ioerror":
        return Duty(Act.NOTHING, GuestState.FAILED, "paused by an I/O error of its storage")
    return Duty(Act.NOTHING, GuestState.RUNNING)
