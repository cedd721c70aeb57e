"""What every host's agent does for storage: hold guests still for the moment of a cut.

A guest is frozen (by its agent) or suspended (where it has none, and several volumes) when a cut in FREEZING
names it and this host executes it. It goes on when the cut was TAKEN or given up, and after three seconds
whatever happens: a guest that hangs costs more than a cut that is only crash consistent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.identity import GuestName, HostName
from gemel.core.outcome import GemelError
from gemel.core.store import Put, Store, unchanged
from gemel.core.view import View
from gemel.storage.kinds import Cut, CutPhase, FreezeAnswer
from gemel.storage.ports import Freezable
from gemel.storage.scene import Kept, Scene, SceneReader

log = structlog.get_logger("gemel.freezer")

FREEZE_AT_MOST = 3.0
"""Seconds from before a guest is asked to freeze until it is thawed: ``writer.FROZEN_FOR`` relies on it."""
THAW_TRIES = 20
THAW_PAUSE = 0.5
LEAVE_ALONE = (60.0, 120.0, 300.0, 600.0)
"""Seconds for which a guest is not frozen after its agent did not answer once, twice ... in a row: a guest that
is too busy to answer is too busy to be held, and its cuts are worth what a crash is until it has recovered."""
TICK = 5.0


@dataclass(frozen=True, slots=True)
class _Held:
    frozen: tuple[GuestName, ...]
    suspended: tuple[GuestName, ...]
    failed: dict[GuestName, str]


class Freezer:
    """``run`` until cancelled, beside the agent's other work. The view must hold ``scene.PREFIXES``."""

    def __init__(self, host: HostName, hypervisor: Freezable, view: View, store: Store, clock: Clock) -> None:
        self._host = host
        self._hypervisor = hypervisor
        self._view = view
        self._store = store
        self._clock = clock
        self._reader = SceneReader()
        self._done: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unwell: dict[GuestName, tuple[int, float]] = {}
        """How often in a row a guest's agent was in trouble, and until when it is left alone."""

    async def run(self) -> None:
        await self._view.ready()
        await self._release_leftovers()
        try:
            while True:
                seen = self._view.changes
                scene = self._scene()
                for application, kept in scene.cuts.items():
                    self._attend(scene, application, kept)
                await self._view.wait_change(TICK, seen)
        finally:
            # Their own end thaws: give them the moment it takes.
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _scene(self) -> Scene:
        return self._reader.read(self._view.items())

    async def _release_leftovers(self) -> None:
        """An agent that died while it held guests left them still."""
        scene = self._scene()
        for kept in scene.cuts.values():
            for guest in self._mine(scene, kept.value):
                await self._release(scene, (guest,), (guest,))

    def _attend(self, scene: Scene, application: str, kept: Kept[Cut]) -> None:
        cut = kept.value
        if cut.phase is not CutPhase.FREEZING or self._done.get(application) == cut.sequence:
            return
        self._done[application] = cut.sequence
        guests = self._mine(scene, cut)
        if guests:
            task = asyncio.create_task(self._hold(scene, kept, guests), name=f"freeze {application} {cut.sequence}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _mine(self, scene: Scene, cut: Cut) -> tuple[GuestName, ...]:
        return tuple(
            guest
            for guest in cut.guests
            if (report := scene.reports.get((self._host, guest))) is not None
            and report.state in ("Running", "Migrating")
        )

    async def _hold(self, scene: Scene, kept: Kept[Cut], guests: tuple[GuestName, ...]) -> None:
        cut, until = kept.value, self._clock.monotonic() + FREEZE_AT_MOST
        now = self._clock.monotonic()
        alone = {guest for guest in guests if self._unwell.get(guest, (0, now))[1] > now}
        asked = tuple(guest for guest in guests if guest not in alone)
        try:
            held = await self._still(scene, cut.application, asked)
            spared = dict.fromkeys(alone, "left alone: its guest agent did not answer lately")
            answer = FreezeAnswer(
                application=cut.application,
                host=self._host,
                sequence=cut.sequence,
                frozen=held.frozen,
                suspended=held.suspended,
                failed={**held.failed, **spared},
            )
            key = layout.frozen(cut.application, self._host)
            as_asked = [unchanged(layout.cut(cut.application), kept.revision)]
            await self._store.commit(as_asked, [Put(key, answer.to_json())])
            await self._wait_over(cut, until)
        except GemelError as error:
            log.warning("cut not answered", application=cut.application, sequence=cut.sequence, error=str(error))
        finally:
            # Everyone who may be held, answered or not: a freeze that timed out may have happened.
            await asyncio.shield(asyncio.ensure_future(self._release(scene, asked, asked)))

    async def _still(self, scene: Scene, application: str, guests: tuple[GuestName, ...]) -> _Held:
        declared = scene.applications.get(application)
        agents = declared.agents if declared else frozenset()
        frozen = [guest for guest in guests if guest in agents]
        others = [guest for guest in guests if guest not in agents]
        failures: dict[GuestName, str] = {}
        await asyncio.gather(
            *(self._try(self._hypervisor.freeze, guest, failures) for guest in frozen),
            *(self._try(self._hypervisor.suspend, guest, failures) for guest in others),
        )
        return _Held(
            tuple(guest for guest in frozen if guest not in failures),
            tuple(guest for guest in others if guest not in failures),
            failures,
        )

    async def _try(
        self, act: Callable[[GuestName], Awaitable[object]], guest: GuestName, failures: dict[GuestName, str]
    ) -> None:
        try:
            await act(guest)
        except GemelError as error:
            failures[guest] = str(error)

    async def _wait_over(self, cut: Cut, until: float) -> None:
        while (left := until - self._clock.monotonic()) > 0:
            seen = self._view.changes
            now = self._scene().cuts.get(cut.application)
            if now is None or (now.value.sequence, now.value.phase) != (cut.sequence, CutPhase.FREEZING):
                return
            await self._view.wait_change(left, seen)

    async def _release(self, scene: Scene, frozen: Iterable[GuestName], suspended: Iterable[GuestName]) -> None:
        agents = {guest for declared in scene.applications.values() for guest in declared.agents}
        acts = [(self._hypervisor.thaw, guest) for guest in frozen if guest in agents]
        resumed = [(self._hypervisor.resume, guest) for guest in suspended if guest not in agents]
        await asyncio.gather(*(self._insist(act, guest) for act, guest in [*acts, *resumed]))

    async def _insist(self, act: Callable[[GuestName], Awaitable[object]], guest: GuestName) -> None:
        for attempt in range(THAW_TRIES):
            try:
                await act(guest)
                self._note(guest, well=attempt == 0)
                return
            except GemelError as error:
                level = log.error if attempt == THAW_TRIES - 1 else log.info
                level("guest not released yet", guest=guest, attempt=attempt + 1, error=str(error))
                await self._clock.sleep(THAW_PAUSE)
        self._note(guest, well=False)

    def _note(self, guest: GuestName, *, well: bool) -> None:
        """Released at once, or only after its agent had been in trouble."""
        if well:
            self._unwell.pop(guest, None)
            return
        times = self._unwell.get(guest, (0, 0.0))[0]
        pause = LEAVE_ALONE[min(times, len(LEAVE_ALONE) - 1)]
        self._unwell[guest] = (times + 1, self._clock.monotonic() + pause)
        log.warning("guest agent in trouble: not frozen for a while", guest=guest, seconds=pause)
