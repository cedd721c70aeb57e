"""The steward of a site: one agent of it, elected, does its storage work. Level-triggered from the records.

Each application has at most one act under way. An act is chosen by `next_act`, a pure look at the scene,
and ends in a commit guarded by the steward's election key, the ticket and the records as they were read;
so an act that is interrupted anywhere, or done twice, or done by a steward that is none any more, changes
nothing that it should not.

    the ticket is here:   adopt -> promote -> create -> amend the cut -> take a cut -> prune
    it is elsewhere:      follow (hold back, salvage, start the replica) -> adopt -> receive -> prune, retire
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from gemel.core.clock import Clock
from gemel.core.election import Leadership
from gemel.core.events import Recorder
from gemel.core.identity import HostName, SiteName
from gemel.core.outcome import Conflict, GemelError
from gemel.core.store import Store
from gemel.core.view import View
from gemel.storage import plan
from gemel.storage.backlog import keep_measuring
from gemel.storage.bases import Bases, DigestOf, file_digest
from gemel.storage.desk import Desk, log
from gemel.storage.follower import Follower
from gemel.storage.kinds import GUESTS_POOL, CutPhase
from gemel.storage.neighbours import Phase, TicketReading
from gemel.storage.ports import Difference, Fence, Images, Transport
from gemel.storage.scene import Kept, Scene, SceneReader
from gemel.storage.writer import Case, Writer

TICK = 1.0
"""Seconds between looks when nothing changes: cuts become due by time."""
HURRY = 0.05
"""The same after an act was given up for a newer ticket."""
AUTHORITY_TICK = 0.25
RETIRE_EVERY = 60.0
BACKOFF = (0.5, 1.0, 2.0, 5.0)
"""Seconds before an application is tried again after its first, second ... failure in a row."""

Act = tuple[str, Callable[[], Awaitable[None]]]


@dataclass
class _Memory:
    """What a steward remembers of an application; losing it costs work, never safety."""

    task: asyncio.Task[None] | None = None
    under: tuple[int, str] = (0, "")
    """Epoch and site of the ticket that ``task`` acts under."""
    cut_at: float | None = None
    pruned: tuple[int, int | None] | None = None
    retired_at: float = float("-inf")
    failures: int = 0
    retry_at: float = float("-inf")
    told: str = ""


@dataclass(frozen=True)
class Tools:
    """What a host gives its steward. ``image_folder`` holds the files that Images name."""

    store: Store
    view: View
    images: Images
    fence: Fence
    transport: Transport
    clock: Clock
    image_folder: Path
    digest_of: DigestOf = file_digest


class Steward:
    """``run`` is one term: ``await election.lead(lambda term: steward.run(term, authority))``. The view must
    hold ``scene.PREFIXES``; ``images`` and ``fence`` carry the steward's key."""

    def __init__(self, site: SiteName, host: HostName, tools: Tools) -> None:
        self.site = site
        self.host = host
        self._tools = tools
        self._bases = Bases(tools.images, tools.image_folder, tools.digest_of)
        self._reader = SceneReader()
        self._recorder = Recorder(tools.store, f"steward {site} on {host}", tools.clock)

    async def run(self, term: Leadership, authority: Callable[[], bool]) -> None:
        """Work until cancelled. While ``authority`` is false every act is cancelled and none is begun."""
        await _Term(self, term, authority).run()

    def _desk(self, term: Leadership, authority: Callable[[], bool]) -> Desk:
        tools = self._tools
        return Desk(
            site=self.site,
            host=self.host,
            store=tools.store,
            view=tools.view,
            images=tools.images,
            fence=tools.fence,
            transport=tools.transport,
            bases=self._bases,
            clock=tools.clock,
            recorder=self._recorder,
            term=term,
            authority=authority,
            reader=self._reader,
        )


class _Term:
    def __init__(self, steward: Steward, term: Leadership, authority: Callable[[], bool]) -> None:
        self._desk = steward._desk(term, authority)
        self._writer = Writer(self._desk)
        self._follower = Follower(self._desk)
        self._memory: dict[str, _Memory] = {}

    async def run(self) -> None:
        desk = self._desk
        desk.transport.serve(self._export)
        log.info("steward's term began", site=desk.site, host=desk.host, term=desk.term.create_revision)
        watch = asyncio.create_task(self._hold_to_authority(), name=f"authority of {desk.site}'s steward")
        measuring = asyncio.create_task(keep_measuring(desk), name=f"backlog of {desk.site}")
        try:
            await desk.view.ready()
            while True:
                seen = desk.view.changes
                gave_up = desk.authority() and self._turn(desk.scene())
                await desk.view.wait_change(HURRY if gave_up else TICK, seen)
                if watch.done():
                    watch.result()
        finally:
            desk.transport.serve(None)
            await self._stop(watch, measuring)
            log.info("steward's term ended", site=desk.site, host=desk.host, term=desk.term.create_revision)

    async def _hold_to_authority(self) -> None:
        while True:
            await self._desk.clock.sleep(AUTHORITY_TICK)
            if not self._desk.authority():
                for memory in self._memory.values():
                    if memory.task is not None:
                        memory.task.cancel()

    async def _stop(self, *always: asyncio.Task[None]) -> None:
        tasks = [*always, *(memory.task for memory in self._memory.values() if memory.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- choosing ----------------------------------------------------------------------------------------

    def _turn(self, scene: Scene) -> bool:
        """Begin what is due. True when an act was given up, whose end makes room for the next."""
        gave_up = False
        now = self._desk.clock.monotonic()
        for name, declared in scene.applications.items():
            memory = self._memory.setdefault(name, _Memory())
            ticket = scene.tickets.get(name)
            if memory.task is not None:
                gave_up |= self._hold_to_ticket(name, memory, ticket)
                continue
            if ticket is None or now < memory.retry_at:
                continue
            act = self._next_act(Case(scene, declared, ticket), memory, now)
            if act is not None:
                memory.under = (ticket.value.epoch, ticket.value.site)
                memory.task = asyncio.create_task(self._work(name, memory), name=f"steward: {name}")
        return gave_up

    def _hold_to_ticket(self, name: str, memory: _Memory, ticket: Kept[TicketReading] | None) -> bool:
        """What was begun under a ticket that has moved is of no use any more, and may hang for long on a site
        that is lost: the promotion must not wait for it."""
        current = (ticket.value.epoch, ticket.value.site) if ticket else (0, "")
        if memory.task is None or current == memory.under:
            return False
        log.info("an act under an older ticket is given up", application=name, epoch=current[0])
        memory.task.cancel()
        memory.retry_at = float("-inf")
        return True

    def _next_act(self, case: Case, memory: _Memory, now: float) -> Act | None:
        if case.ticket.value.site == self._desk.site:
            return self._own_act(case, memory, now)
        if case.declared.policy is not None and case.scene.other_site(case.ticket.value.site) == self._desk.site:
            return self._copy_act(case, memory, now)
        return None

    def _own_act(self, case: Case, memory: _Memory, now: float) -> Act | None:
        writer, site = self._writer, self._desk.site
        wishes = {wish.volume: wish for wish in case.declared.wishes}
        strangers = tuple(
            kept
            for name, kept in case.scene.volumes.items()
            if kept.value.site == site
            and (name in wishes or kept.value.application == case.name)
            and (kept.value.application, kept.value.epoch) != (case.name, case.epoch)
        )
        if strangers:
            return "adopt", lambda: writer.adopt(case, strangers)
        if any(record.site != site for record in case.records):
            return self._promotion(case)
        missing = [wish for name, wish in sorted(wishes.items()) if name not in case.scene.volumes]
        if missing:
            return f"create {missing[0].volume}", lambda: writer.create(case, missing[0])
        return self._cut_act(case, memory, now)

    def _promotion(self, case: Case) -> Act:
        elsewhere = [record for record in case.records if record.site != self._desk.site]
        chosen = plan.plan_promotion(elsewhere, case.replicas, self._desk.site, case.epoch)
        if isinstance(chosen, plan.Refusal):
            why = "; ".join(chosen.reasons)
            return "refuse", lambda: self._refuse(case, why)
        return "promote", lambda: self._writer.promote(case, chosen)

    async def _refuse(self, case: Case, why: str) -> None:
        memory = self._memory[case.name]
        if memory.told != why:
            await self._desk.tell(case.name, "NotPromoted", why, case.epoch, warning=True)
            memory.told = why
        memory.retry_at = self._desk.clock.monotonic() + BACKOFF[-1]

    def _cut_act(self, case: Case, memory: _Memory, now: float) -> Act | None:
        policy, site = case.declared.policy, self._desk.site
        if policy is None or case.scene.other_site(site) is None or not case.records:
            return None
        cut = case.cut.value if case.cut else None
        if (
            cut
            and cut.epoch == case.epoch
            and cut.phase is CutPhase.TAKEN
            and not plan.cut_complete(cut, case.replicas)
        ):
            amended = plan.plan_amendment(cut, case.records, case.replicas, self._desk.transport.source)
            if amended is not None:
                return "amend the cut", lambda: self._writer.amend(case, amended)
        since = None if memory.cut_at is None else now - memory.cut_at
        pace = plan.Pace(since, policy.recovery_point)
        due = plan.plan_cycle(cut, case.epoch, case.records, case.replicas, pace, draining_of(case))
        if due is not None:
            return f"cut {due.sequence}", lambda: self._cut(case, memory, due)
        if memory.pruned != (case.epoch, case.common):
            return "prune", lambda: self._prune(case, memory, self._writer.prune)
        return None

    async def _cut(self, case: Case, memory: _Memory, due: plan.Due) -> None:
        memory.cut_at = self._desk.clock.monotonic()
        await self._writer.take_cut(case, due)

    async def _prune(self, case: Case, memory: _Memory, prune: Callable[[Case], Awaitable[None]]) -> None:
        await prune(case)
        memory.pruned = (case.epoch, case.common)
        await self._sweep_spools(case.scene)

    def _copy_act(self, case: Case, memory: _Memory, now: float) -> Act | None:
        follower = self._follower
        current = [kept for kept in case.volumes if kept.value.site == case.ticket.value.site]
        for kept in current:
            replica = case.scene.replicas.get(kept.value.volume)
            if replica is None or not plan.follows(replica.value, kept.value):
                return f"follow {kept.value.image}", lambda kept=kept: follower.follow(case, kept)
            of_line = (replica.value.epoch, replica.value.application)
            if of_line != (kept.value.epoch, case.name) and kept.value.epoch == case.epoch:
                return f"adopt {kept.value.image}", lambda replica=replica: follower.adopt(case, replica)
        cut = case.cut.value if case.cut else None
        if cut is not None and cut.epoch == case.epoch and cut.phase is CutPhase.TAKEN and cut.source:
            lines = {kept.value.volume: kept.value.image for kept in current}
            parts = tuple(part for part in plan.outstanding(cut, case.replicas) if lines.get(part.volume) == part.image)
            if parts:
                return f"receive cut {cut.sequence}", lambda: follower.receive(case, cut, parts)
        if len(current) == len(case.volumes) and memory.pruned != (case.epoch, case.common):
            return "prune", lambda: self._prune(case, memory, follower.prune)
        if current and now - memory.retired_at > RETIRE_EVERY:
            return "retire", lambda: self._retire(case, memory)
        return None

    async def _retire(self, case: Case, memory: _Memory) -> None:
        memory.retired_at = self._desk.clock.monotonic()
        await self._follower.retire(case)

    # -- performing --------------------------------------------------------------------------------------

    async def _work(self, application: str, memory: _Memory) -> None:
        """Act after act, each from a fresh look, until nothing is to be done or one fails."""
        desk = self._desk
        try:
            while desk.authority():
                scene = desk.scene()
                declared, ticket = scene.applications.get(application), scene.tickets.get(application)
                if declared is None or ticket is None:
                    return
                memory.under = (ticket.value.epoch, ticket.value.site)
                act = self._next_act(Case(scene, declared, ticket), memory, desk.clock.monotonic())
                if act is None or not await self._perform(application, ticket.value.epoch, memory, act):
                    return
        finally:
            memory.task = None

    async def _perform(self, application: str, epoch: int, memory: _Memory, act: Act) -> bool:
        what, do = act
        bound = log.bind(application=application, epoch=epoch, act=what)
        desk_now = self._desk.clock.monotonic
        try:
            await do()
            memory.failures = 0
            bound.debug("done")
            return desk_now() >= memory.retry_at
        except Conflict as error:
            memory.retry_at = desk_now() + BACKOFF[0]
            bound.info("planned from what has changed", why=str(error))
        except GemelError as error:
            wait = BACKOFF[min(memory.failures, len(BACKOFF) - 1)]
            memory.failures += 1
            memory.retry_at = desk_now() + wait
            bound.warning("failed, to be tried again", error=str(error), after=wait)
        except Exception:
            memory.retry_at = desk_now() + BACKOFF[-1]
            bound.exception("a defect of the steward")
        return False

    # -- serving -----------------------------------------------------------------------------------------

    def _export(self, difference: Difference) -> AsyncGenerator[bytes, None] | None:
        if difference.name not in self._served(self._desk.scene()):
            return None
        images = self._desk.images
        return images.export_diff(GUESTS_POOL, difference.image, difference.since, difference.until)

    def _served(self, scene: Scene) -> frozenset[str]:
        return self._differences(scene, own=True)

    def _differences(self, scene: Scene, own: bool) -> frozenset[str]:
        """Names of the differences that cuts under way still need, sent from here or wanted here."""
        names = set()
        for application, kept in scene.cuts.items():
            ticket = scene.tickets.get(application)
            if ticket is None or ticket.value.epoch != kept.value.epoch or kept.value.phase is not CutPhase.TAKEN:
                continue
            if (ticket.value.site == self._desk.site) is own:
                replicas = {name: replica.value for name, replica in scene.replicas.items()}
                for part in plan.outstanding(kept.value, replicas):
                    names.add(Difference(part.volume, part.image, part.since, part.snapshot).name)
        return frozenset(names)

    async def _sweep_spools(self, scene: Scene) -> None:
        scene = self._desk.scene()
        await self._desk.transport.retain(self._differences(scene, own=True), self._differences(scene, own=False))


def draining_of(case: Case) -> plan.Draining | None:
    """The planned move under way, and whether every guest with an assignment says, under that very
    assignment, that it is stopped."""
    ticket = case.ticket
    if ticket.value.phase is not Phase.DRAINING:
        return None
    stopped = True
    for assignment in case.scene.assignments.values():
        if assignment.application != case.name:
            continue
        report = case.scene.reports.get((assignment.host, assignment.guest))
        current = report is not None and (report.incarnation, report.generation) == (
            assignment.incarnation,
            assignment.generation,
        )
        idle = not assignment.running and assignment.target is None
        stopped = stopped and idle and current and report is not None and report.state == "Stopped"
    return plan.Draining(ticket.revision, stopped)
