"""What an agent does for guests on its host: make what runs agree with what is granted. Level-triggered.

Each guest has at most one act under way, in a task of its own, so that a slow shutdown holds nobody up.
The right to run is asked again at the last moment before a start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from gemel.compute.duty import Act, Duty, Self, plan_duty
from gemel.compute.kinds import Assignment, GuestReport, GuestState
from gemel.compute.ports import Domain, GuestPlan, Hypervisor, MigrationResult
from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.identity import Epoch, GuestName, HostName
from gemel.core.outcome import GemelError, OutcomeUnknown, Permanent, Present, Retryable
from gemel.core.store import Delete, Put, Store, unchanged

log = structlog.get_logger("gemel.guests")

SHUTDOWN_WITHIN = 20.0
"""Seconds that a guest gets to stop by itself before its power is cut."""
KEEP_FIGURES = 15.0
"""Seconds that the source of a migration keeps its last report."""
RETRY = 2.0
"""Seconds between attempts to start a guest whose last start failed."""


class World(Protocol):
    """What the face knows and the reconciler asks: rights, plans, and the way to other hosts."""

    def me(self) -> Self | None:
        """This host's life; None without lease."""
        ...

    def report_guard(self) -> int:
        """The revision of this host's lease key: reports of an earlier life must not be written."""
        ...

    def assignments(self) -> Mapping[GuestName, Assignment]: ...

    def refusal(self, assignment: Assignment, starting: bool) -> str | None:
        """Why the guest may not run here at this moment. A guest that is ``starting`` also needs its volumes
        under the assignment's epoch; one that runs opened them under it."""
        ...

    def plan(self, assignment: Assignment) -> GuestPlan | str:
        """What to start, or why it cannot be said yet."""
        ...

    async def fence_volumes(self, plan: GuestPlan) -> None:
        """Make sure that nobody else writes the guest's volumes."""
        ...

    def migration_uri(self, host: HostName) -> str | None: ...

    async def executing(self, domains: Mapping[GuestName, Domain]) -> None:
        """Told after every complete observation: what exists here now (addresses follow from it)."""
        ...


@dataclass
class _Case:
    """What this process remembers of a guest: the act under way, and how the last one ended."""

    task: asyncio.Task[None] | None = None
    act: Act | None = None
    doubtful: bool = False
    """The engine was asked for a start and did not say how it ended: the guest may still appear."""
    generation: int = 0
    failure: str | None = None
    retry_at: float = 0.0
    migration: MigrationResult | None = None
    reported: GuestReport | None = field(default=None)
    keep_report_until: float = float("-inf")
    """A migration's figures stay where people look for a while; to the leader the report is of an older grant."""

    @property
    def may_appear(self) -> bool:
        """A start is under way or in doubt: that the guest is not seen does not mean that it is stopped."""
        return self.doubtful or (self.task is not None and self.act is Act.START)


class Guests:
    """Reconciles the guests of one host. Call ``turn`` whenever something may have changed."""

    def __init__(self, hypervisor: Hypervisor, store: Store, clock: Clock, world: World) -> None:
        self._hypervisor = hypervisor
        self._store = store
        self._clock = clock
        self._world = world
        self._cases: dict[GuestName, _Case] = {}
        self.observed: Mapping[GuestName, Domain] | None = None
        """What existed here at the last turn; None when that was not known."""
        self._wake: Callable[[], None] = lambda: None

    def on_done(self, wake: Callable[[], None]) -> None:
        """Called when an act has ended, so that the next turn comes at once."""
        self._wake = wake

    @property
    def busy(self) -> bool:
        """Acts are under way whose outcome is not known yet: a start may still bring a guest up."""
        return any(case.task is not None for case in self._cases.values())

    def states(self) -> Iterator[GuestState]:
        """Of every guest, the state last reported."""
        return (case.reported.state for case in self._cases.values() if case.reported is not None)

    def abandon(self) -> None:
        """The lease is lost: acts under way are cancelled, but for starts. The engine goes on with a start
        whose caller has left, so its end is waited for: ``busy`` until then, and no new life begins."""
        for case in self._cases.values():
            if case.task is not None and case.act is not Act.START:
                case.task.cancel()
            case.reported = None

    async def turn(self) -> None:
        """One look at what is granted and what exists, and the acts that follow."""
        appearing = frozenset(name for name, case in self._cases.items() if case.may_appear)
        observed = await self._hypervisor.observe()
        self.observed = observed.value if isinstance(observed, Present) else None
        me = self._world.me()
        if not isinstance(observed, Present) or me is None:
            return  # Unknown decides nothing, and without lease the fence rules
        domains = observed.value
        await self._world.executing(domains)
        assignments = self._world.assignments()
        for name in sorted(set(domains) | set(assignments) | set(self._cases)):
            await self._attend(me, name, assignments.get(name), domains.get(name), name in appearing)

    async def _attend(
        self, me: Self, name: GuestName, assignment: Assignment | None, domain: Domain | None, appearing: bool
    ) -> None:
        """``appearing``: a start was under way when the observation began, so absence proves nothing."""
        case = self._cases.setdefault(name, _Case())
        case.doubtful = case.doubtful and domain is None
        if assignment is not None and assignment.generation != case.generation:
            case.generation, case.failure, case.retry_at = assignment.generation, None, 0.0
        refusal = self._world.refusal(assignment, starting=domain is None) if assignment else None
        duty = plan_duty(me, assignment, domain, refusal, case.failure)
        if appearing and domain is None and duty.state is GuestState.STOPPED:
            # Whoever reads "stopped" may start it elsewhere: say so only when it cannot appear any more.
            duty = Duty(Act.KILL, GuestState.STOPPING, "a start was under way whose end was not seen yet")
        if case.task is None and self._due(duty, case):
            self._begin(name, case, duty, assignment)
        elif case.task is not None and duty.act is Act.KILL and domain is not None and case.act is not Act.MIGRATE:
            # A migration is let end: the target may say that it runs before the source has finished handing over.
            case.task.cancel()  # what it was doing is no longer granted; the next turn kills
        await self._report(me, name, case, duty, assignment)
        if duty.state is None and domain is None and case.task is None and case.reported is None:
            del self._cases[name]

    def _due(self, duty: Duty, case: _Case) -> bool:
        return duty.act is not Act.NOTHING and self._clock.monotonic() >= case.retry_at

    def _begin(self, name: GuestName, case: _Case, duty: Duty, assignment: Assignment | None) -> None:
        act = self._act(name, duty.act, assignment, case)
        case.act = duty.act
        log.info("act", guest=name, act=duty.act, epoch=assignment.epoch if assignment else None, why=duty.message)
        case.task = asyncio.create_task(self._finish(name, case, duty.act, act), name=f"{duty.act} {name}")

    async def _finish(self, name: GuestName, case: _Case, act: Act, work: Awaitable[None]) -> None:
        try:
            await work
            case.failure = None
        except OutcomeUnknown as error:
            log.warning("outcome unknown, observing", guest=name, act=act, error=str(error))
            case.retry_at = self._clock.monotonic() + RETRY
        except GemelError as error:
            log.warning("failed", guest=name, act=act, error=str(error))
            if act is Act.MIGRATE:
                # On a drained host the leader answers a failed migration with the next one at once.
                await self._clock.sleep(max(RETRY, error.after if isinstance(error, Retryable) else 0.0))
            case.failure = f"{act}: {error}"
            case.retry_at = self._clock.monotonic() + RETRY
        finally:
            case.task = None
            self._wake()

    async def _act(self, name: GuestName, act: Act, assignment: Assignment | None, case: _Case) -> None:
        if act is Act.KILL:
            await self._hypervisor.ensure_stopped(name)
            case.doubtful = False
        elif act is Act.SHUT_DOWN:
            if not await self._hypervisor.shut_down(name, SHUTDOWN_WITHIN):
                log.warning("did not stop by itself, power cut", guest=name)
                await self._hypervisor.ensure_stopped(name)
        elif assignment is not None and act is Act.START:
            await self._start(assignment, case)
        elif assignment is not None and act is Act.MIGRATE:
            await self._migrate(assignment, case)

    async def _start(self, assignment: Assignment, case: _Case) -> None:
        plan = self._world.plan(assignment)
        if isinstance(plan, str):
            raise OutcomeUnknown(f"{assignment.guest} cannot be started yet: {plan}")
        if plan.disks:
            await self._world.fence_volumes(plan)
        current = self._world.assignments().get(assignment.guest)
        refusal = self._world.refusal(assignment, starting=True)
        if current != assignment or refusal is not None:
            raise OutcomeUnknown(f"{assignment.guest} is not started: {refusal or 'its assignment changed meanwhile'}")
        case.doubtful = True
        try:
            await self._hypervisor.ensure_running(plan)
        except (Retryable, Permanent):
            case.doubtful = False  # the engine says that it did not happen
            raise
        case.doubtful = False

    async def _migrate(self, assignment: Assignment, case: _Case) -> None:
        assert assignment.target is not None
        uri = self._world.migration_uri(assignment.target)
        if uri is None:
            raise OutcomeUnknown(f"{assignment.target} holds no lease: nothing is known of the way there")
        result = await self._hypervisor.migrate(assignment.guest, uri, assignment.target)
        case.migration = result
        log.info(
            "migrated",
            guest=assignment.guest,
            epoch=assignment.epoch,
            to=assignment.target,
            downtime_ms=result.downtime_ms,
            total_ms=result.total_ms,
        )
        # Said at once: the target's own report may end this assignment before the next turn.
        me = self._world.me()
        if me is not None:
            message = f"it left for {assignment.target}"
            duty = Duty(Act.NOTHING, GuestState.STOPPED, message)
            await self._report(me, assignment.guest, case, duty, assignment)

    async def _report(self, me: Self, name: GuestName, case: _Case, duty: Duty, assignment: Assignment | None) -> None:
        """Written on change only, and only while this very life of the lease lasts."""
        if duty.state is None or assignment is None:
            await self._unreport(me, name, case)
            return
        message = case.failure if duty.state is GuestState.STARTING and case.failure else duty.message
        moved = case.migration if assignment.target or duty.state is GuestState.STOPPED else None
        report = GuestReport(
            guest=name,
            host=me.host,
            incarnation=me.incarnation,
            generation=assignment.generation,
            state=duty.state,
            message=message,
            epoch=Epoch(assignment.epoch),
            since=self._clock.wall(),
            migration_downtime_ms=moved.downtime_ms if moved else None,
            migration_total_ms=moved.total_ms if moved else None,
        )
        if case.reported is not None and report == case.reported.model_copy(update={"since": report.since}):
            return
        if await self._write(me, name, report.to_json()):
            case.reported = report
            if moved is not None:
                case.keep_report_until = self._clock.monotonic() + KEEP_FIGURES

    async def _unreport(self, me: Self, name: GuestName, case: _Case) -> None:
        if self._clock.monotonic() < case.keep_report_until:
            return
        if case.reported is not None and await self._write(me, name, None):
            case.reported = None

    async def _write(self, me: Self, name: GuestName, value: bytes | None) -> bool:
        key = layout.report(me.host, name)
        guard = unchanged(layout.lease(me.host), self._world.report_guard())
        try:
            done = await self._store.commit([guard], [Delete(key) if value is None else Put(key, value)])
        except GemelError as error:
            log.warning("report not written, again at the next turn", guest=name, error=str(error))
            return False
        return done.succeeded

    async def forget_reports(self, me: Self) -> None:
        """At the start of a life: reports of earlier lives say nothing any more."""
        guard = unchanged(layout.lease(me.host), self._world.report_guard())
        await self._store.commit([guard], [Delete(layout.report(me.host, ""), prefix=True)])
