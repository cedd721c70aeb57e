"""What a host owes one guest: the table, and that every combination has an answer."""

from itertools import product

import pytest
from tests.unit.compute.scenes import granted, life

from gemel.compute.duty import Act, Duty, Self, plan_duty
from gemel.compute.kinds import Assignment, GuestState
from gemel.compute.ports import Domain, DomainState
from gemel.core.identity import GuestName, HostName

ME = Self(HostName("par1-1"), life("par1-1"))
HERE = granted("db", "par1-1").assignment
STOP = granted("db", "par1-1", running=False).assignment
LEAVING = granted("db", "par1-1", to="par1-2").assignment
COMING = granted("db", "par1-2", to="par1-1").assignment
ELSEWHERE = granted("db", "par1-2").assignment
EARLIER = granted("db", "par1-1", number=7).assignment


def domain(state: DomainState = DomainState.RUNNING, reason: str = "booted", epoch: int = 1) -> Domain:
    return Domain(GuestName("db"), state, reason, epoch, 1)


RUNS, PAUSED = domain(), domain(DomainState.PAUSED, "migration")


@pytest.mark.parametrize(
    ("assignment", "exists", "refusal", "failure", "act", "state"),
    [
        (None, None, None, None, Act.NOTHING, None),
        (None, RUNS, None, None, Act.KILL, None),
        (ELSEWHERE, RUNS, None, None, Act.KILL, None),
        (ELSEWHERE, None, None, None, Act.NOTHING, None),
        (EARLIER, RUNS, None, None, Act.KILL, None),
        (EARLIER, None, None, None, Act.NOTHING, None),
        (HERE, None, None, None, Act.START, GuestState.STARTING),
        (HERE, None, "why", None, Act.NOTHING, GuestState.PENDING),
        (HERE, None, None, "no memory", Act.START, GuestState.FAILED),
        (HERE, RUNS, None, None, Act.NOTHING, GuestState.RUNNING),
        (HERE, RUNS, "why", None, Act.KILL, GuestState.STOPPING),
        (HERE, domain(epoch=9), None, None, Act.KILL, GuestState.STOPPING),
        (HERE, domain(DomainState.CRASHED, "panicked"), None, None, Act.KILL, GuestState.FAILED),
        (HERE, domain(DomainState.PAUSED, "ioerror"), None, None, Act.NOTHING, GuestState.FAILED),
        (HERE, domain(DomainState.PAUSED, "user"), None, None, Act.NOTHING, GuestState.RUNNING),
        (STOP, RUNS, None, None, Act.SHUT_DOWN, GuestState.STOPPING),
        (STOP, RUNS, "why", None, Act.SHUT_DOWN, GuestState.STOPPING),
        (STOP, None, None, None, Act.NOTHING, GuestState.STOPPED),
        (LEAVING, RUNS, None, None, Act.MIGRATE, GuestState.MIGRATING),
        (LEAVING, RUNS, None, "refused", Act.NOTHING, GuestState.FAILED),
        (LEAVING, RUNS, "why", None, Act.KILL, GuestState.STOPPING),
        (LEAVING, None, None, None, Act.NOTHING, GuestState.STOPPED),
        (COMING, None, None, None, Act.NOTHING, GuestState.PENDING),
        (COMING, PAUSED, None, None, Act.NOTHING, GuestState.PENDING),
        (COMING, RUNS, None, None, Act.NOTHING, GuestState.RUNNING),
        (COMING, domain(epoch=9), None, None, Act.KILL, GuestState.STOPPING),
    ],
)
def test_the_table(
    assignment: Assignment | None,
    exists: Domain | None,
    refusal: str | None,
    failure: str | None,
    act: Act,
    state: GuestState | None,
) -> None:
    duty = plan_duty(ME, assignment, exists, refusal, failure)
    assert (duty.act, duty.state) == (act, state)


ASSIGNMENTS = (None, HERE, STOP, LEAVING, COMING, ELSEWHERE, EARLIER)
DOMAINS = (
    None,
    *(domain(state, reason, epoch) for state in DomainState for reason in ("x", "ioerror") for epoch in (1, 2)),
)


def every() -> list[tuple[Assignment | None, Domain | None, str | None, str | None, Duty]]:
    return [
        (assignment, exists, refusal, failure, plan_duty(ME, assignment, exists, refusal, failure))
        for assignment, exists, refusal, failure in product(ASSIGNMENTS, DOMAINS, (None, "why"), (None, "failed"))
    ]


def test_nothing_starts_without_the_right_or_twice() -> None:
    for assignment, exists, refusal, _, duty in every():
        if duty.act is Act.START:
            assert exists is None
            assert refusal is None
            assert assignment is HERE


def test_what_is_not_granted_here_never_stays() -> None:
    for assignment, exists, _, _, duty in every():
        if exists is not None and assignment in (None, ELSEWHERE, EARLIER):
            assert duty.act is Act.KILL


def test_another_epoch_never_stays() -> None:
    for _, exists, _, _, duty in every():
        if exists is not None and exists.epoch != 1:
            assert duty.act is Act.KILL


def test_stopped_is_only_said_of_what_is_not_there() -> None:
    for _, exists, _, _, duty in every():
        if duty.state is GuestState.STOPPED:
            assert exists is None
