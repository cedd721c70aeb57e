"""What the elected leader does, again and again: observe, plan, check, commit. Level-triggered.

The plans are pure and the commits guarded, so a leader that was paused, lost its election or read an old
view commits nothing: it observes anew.
"""

from collections.abc import Callable
from dataclasses import replace

import structlog

from gemel.compute import guards as compute_guards
from gemel.compute import plan as compute
from gemel.compute.requests import MIGRATE
from gemel.continuity import guards as continuity_guards
from gemel.continuity import plan as continuity
from gemel.continuity.observe import Observed, observe
from gemel.control.settling import Settling
from gemel.control.status import render_status
from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.election import Leadership
from gemel.core.events import About, Recorder
from gemel.core.outcome import OutcomeUnknown, Retryable
from gemel.core.store import Compare, Delete, Put, Store, Write
from gemel.core.view import View

log = structlog.get_logger("gemel.control")


class Leader:
    """One term of leadership. ``run`` until the term is over; the next term starts from nothing."""

    def __init__(
        self,
        store: Store,
        view: View,
        clock: Clock,
        recorder: Recorder,
        leadership: Callable[[], Leadership | None],
        settle: float = 2.0,
        look_every: float = 1.0,
    ) -> None:
        self._store = store
        self._view = view
        self._clock = clock
        self._recorder = recorder
        self._leadership = leadership
        self._settling = Settling(settle)
        self._look_every = look_every
        self._said: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Returns when the term is over."""
        await self._view.ready()
        while (term := self._leadership()) is not None:
            seen = self._view.changes
            try:
                await self.turn(term)
            except (Retryable, OutcomeUnknown) as error:
                log.warning("turn not finished, observing anew", error=str(error))
            await self._view.wait_change(self._wait(), seen)

    def _wait(self) -> float:
        settles = self._settling.next_at()
        if settles is None:
            return self._look_every
        return min(self._look_every, max(0.02, settles - self._clock.monotonic()))

    async def turn(self, term: Leadership) -> bool:
        """One look at the store and what follows from it. True when something was committed."""
        observed = self._observe()
        for bad in observed.unreadable:
            await self._say("Record", layout.leaf(bad.key), "Unreadable", f"{bad.key} is left alone: {bad.why}")
        scene = observed.scene
        tickets = await self._checked_tickets(scene)
        guests = await self._checked_guests(scene)
        changed = False
        for ticket_step in tickets.steps:
            changed |= await self._commit_ticket(term, ticket_step)
        if not changed:  # a moved ticket changes what guests may do: plan them from the next look
            for step in guests.steps:
                changed |= await self._commit_guest(term, scene, step)
        await self._refuse_wishes(term, scene, guests)
        for alarm in tickets.alarms:
            await self._say("Application", alarm.application, "Alarm", alarm.message)
        await self._show(term, scene, guests, tickets)
        return changed

    async def _checked_tickets(self, scene: continuity.Scene) -> continuity.Plan:
        """A step that the check refuses is dropped and said: one strange record must not stop the region."""
        plan = continuity.plan_tickets(scene, self._clock.wall())
        sound = []
        for step in plan.steps:
            try:
                continuity.check_plan(scene, replace(plan, steps=(step,)))
                sound.append(step)
            except AssertionError as error:
                await self._say("Application", step.application, "PlanRefused", f"{step.verb} is not done: {error}")
        return replace(plan, steps=tuple(sound))

    async def _checked_guests(self, scene: continuity.Scene) -> compute.Plan:
        """As for tickets."""
        plan = compute.plan_guests(scene.compute)
        sound = []
        for step in plan.steps:
            try:
                compute.check_plan(scene.compute, [step])
                sound.append(step)
            except AssertionError as error:
                await self._say("VirtualMachine", step.guest, "PlanRefused", f"{step.verb} is not done: {error}")
        return replace(plan, steps=tuple(sound))

    def _observe(self) -> Observed:
        items = self._view.items(layout.ROOT)
        first = observe(items, frozenset())
        lost = [host.name for host in first.scene.compute.hosts.values() if host.incarnation is None]
        settled = self._settling.settled(lost, self._clock.monotonic())
        return observe(items, settled) if settled else first

    async def _commit(self, term: Leadership, compares: list[Compare], writes: list[Write]) -> bool:
        return (await self._store.commit([term.guard(), *compares], writes)).succeeded

    async def _commit_ticket(self, term: Leadership, step: continuity.Step) -> bool:
        compares, writes = continuity_guards.transaction(step)
        done = await self._commit(term, compares, writes)
        epoch = step.after.epoch if step.after else None
        log.info("ticket", application=step.application, verb=step.verb, epoch=epoch, done=done, reasons=step.reasons)
        if done:
            about = About(kind="Application", name=step.application)
            pen = self._recorder.warning if step.verb is continuity.Verb.FORCE else self._recorder.normal
            await pen(about, f"Ticket{step.verb.title()}", "; ".join(step.reasons), epoch)
        return done

    async def _commit_guest(self, term: Leadership, scene: continuity.Scene, step: compute.Step) -> bool:
        compares, writes = compute_guards.transaction(step, scene.compute.hosts)
        done = await self._commit(term, compares, writes)
        epoch = step.after.epoch if step.after else None
        log.info("guest", guest=step.guest, verb=step.verb, epoch=epoch, done=done, reasons=step.reasons)
        if done:
            where = f" on {step.after.host}" if step.after else ""
            message = f"{step.verb}{where}: {'; '.join(step.reasons)}"
            await self._recorder.normal(
                About(kind="VirtualMachine", name=step.guest), step.verb.title(), message, epoch
            )
        return done

    async def _refuse_wishes(self, term: Leadership, scene: continuity.Scene, plan: compute.Plan) -> None:
        """A migration that cannot be is refused at once, rather than kept for a surprise later."""
        for each in plan.unplaced:
            if each.guest not in scene.compute.wishes:
                continue
            await self._commit(term, [], [Delete(layout.request(MIGRATE, each.guest))])
            about = About(kind="VirtualMachine", name=each.guest)
            await self._recorder.warning(about, "MigrationRefused", "; ".join(each.reasons))

    async def _show(
        self, term: Leadership, scene: continuity.Scene, guests: compute.Plan, tickets: continuity.Plan
    ) -> None:
        """Write what changed of the status, and remove what has no object any more."""
        wanted = render_status(scene, guests, tickets)
        have = self._view.items(layout.STATUS)
        writes: list[Write] = [
            Put(key, value) for key, value in wanted.items() if key not in have or have[key].value != value
        ]
        ours = tuple(layout.status(kind, "") for kind in ("VirtualMachine", "Application", "Host"))
        writes += [Delete(key) for key in have if key.startswith(ours) and key not in wanted]
        for start in range(0, len(writes), 100):  # etcd takes 128 operations a transaction
            await self._commit(term, [], writes[start : start + 100])

    async def _say(self, kind: str, name: str, reason: str, message: str) -> None:
        """A warning that stands for as long as its cause is said once a term."""
        if (name, message) not in self._said:
            self._said.add((name, message))
            await self._recorder.warning(About(kind=kind, name=name), reason, message)
