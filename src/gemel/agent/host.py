"""One host's agent, put together: the lease rules, guests and routes follow, the fence is always at hand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gemel.agent.journal import Journal
from gemel.agent.world import HostWorld, Records
from gemel.compute.local import Guests
from gemel.compute.ports import DomainChange, DomainEvent, Executioner, Hypervisor
from gemel.continuity.authority import LeaseTerms
from gemel.continuity.kinds import Ticket
from gemel.continuity.lease import HostLeaseKeeper, Identity, LeaseFile
from gemel.continuity.quarantine import may_release
from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.events import About, Recorder
from gemel.core.identity import Epoch, GuestName, VolumeName
from gemel.core.outcome import GemelError, Present
from gemel.core.signal import Signal
from gemel.core.store import Put, Store, unchanged
from gemel.core.view import View
from gemel.network.local import RouteKeeper
from gemel.storage.kinds import QuarantineRecord, QuarantineState, ReplicaRecord, VolumeRecord

log = structlog.get_logger("gemel.agent")

LOOK_EVERY = 1.0
CONCERNS = (layout.RESOURCES, layout.TICKETS, layout.ASSIGNMENTS, layout.VOLUMES, layout.LEASES)
"""What changes a host's duties at once; the rest (cuts, replicas, reports of others) waits for the next look."""
BEGAN = frozenset({DomainEvent.MIGRATED_IN})
ENDED = frozenset({DomainEvent.MIGRATED_OUT, DomainEvent.STOPPED})


@dataclass(frozen=True, slots=True)
class Engines:
    hypervisor: Hypervisor
    executioner: Executioner
    routes: RouteKeeper


class HostAgent:
    """``world`` is made by the face from the keeper that this agent owns, hence the factory."""

    def __init__(
        self,
        *,
        store: Store,
        view: View,
        clock: Clock,
        recorder: Recorder,
        terms: LeaseTerms,
        identity: Identity,
        file: LeaseFile,
        journal: Journal,
        engines: Engines,
        world: Callable[[HostLeaseKeeper, Records], HostWorld],
    ) -> None:
        self._store = store
        self._view = view
        self._clock = clock
        self._recorder = recorder
        self._identity = identity
        self._journal = journal
        self._engines = engines
        self._records = Records(view)
        self.keeper = HostLeaseKeeper(store, clock, terms, identity, file, self.fence, self._clean)
        self.world = world(self.keeper, self._records)
        self.guests = Guests(engines.hypervisor, store, clock, self.world)
        self._wake = Signal(clock)
        self.guests.on_done(self._wake.notify)
        self.fences = 0
        self._fresh = True
        """No turn yet in this life: what earlier lives left has to be sorted first."""

    def fence(self, why: str) -> None:
        """At once, and without the event loop's help: every guest killed, every route withdrawn."""
        self.fences += 1
        killed = self._engines.executioner.kill_all()
        self._engines.routes.fence()
        self.guests.abandon()
        self._fresh = True
        for name in killed:
            self._journal.note(name, "fenced", detail=why)
        log.error("fenced", why=why, killed=killed)

    @property
    def fresh_at(self) -> float:
        """Monotonic time of the region store's last word."""
        return self._view.fresh_at

    async def _clean(self) -> None:
        """Return when nothing runs here and nothing is under way that could still start something."""
        while True:
            self._engines.executioner.kill_all()
            observed = await self._engines.hypervisor.observe()
            if isinstance(observed, Present) and not observed.value and not self.guests.busy:
                return
            log.info("not clean yet", observed=str(observed)[:200], busy=self.guests.busy)
            await self._clock.sleep(0.2)

    async def run(self) -> None:
        """Turns, on every change and at least once a second, until cancelled."""
        await self._view.ready()
        watching = [asyncio.create_task(self._forward(signal)) for signal in (self.keeper.changed, None)]
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                seen = self._wake.count
                try:
                    await self._turn()
                except GemelError as error:
                    log.warning("turn not finished", error=str(error))
                await self._wake.wait(seen, LOOK_EVERY)
        finally:
            for task in (*watching, listening):
                task.cancel()

    async def _forward(self, signal: Signal | None) -> None:
        """Changes of the lease, or of the view when ``signal`` is None, wake the turns."""
        while True:
            if signal is None:
                before = self._view.touched(CONCERNS)
                await self._view.wait_change(LOOK_EVERY * 5)
                if self._view.touched(CONCERNS) == before:
                    continue
            else:
                await signal.wait(signal.count)
            self._wake.notify()

    async def _turn(self) -> None:
        me = self.world.me()
        if me is None:
            return
        if self._fresh and self._view.revision < self.keeper.key_revision:
            return  # what is seen is older than this life: it cannot tell what earlier lives left here
        if self._fresh:
            self._engines.routes.unfence()
            await self.guests.forget_reports(me)
            await self._hold_back()
            self._fresh = False
        await self.guests.turn()
        self._remember()
        await self._let_go()

    async def _listen(self) -> None:
        """Events only make things faster: whatever they miss, the next turn puts right."""
        async for change in self._engines.hypervisor.changes():
            self._journal.note(change.name, change.event, detail=change.detail)
            await self._hand_over(change)
            self._wake.notify()

    async def _hand_over(self, change: DomainChange) -> None:
        """The address follows the execution within milliseconds."""
        if change.event not in BEGAN | ENDED:
            return
        guest = self.world.local_guest(change.name, None, executes=change.event in BEGAN)
        if guest is None:
            return
        try:
            if change.event in BEGAN:
                await self._engines.routes.prepare_guest(guest)
                await self._engines.routes.execution_began(guest)
            else:
                await self._engines.routes.execution_ended(guest)
        except GemelError as error:
            log.warning("hand-over of the address left to the next turn", guest=change.name, error=str(error))

    def _remember(self) -> None:
        """Keep on disk which guests run here under which epoch."""
        domains = self.guests.observed
        if domains is not None:
            self._journal.remember({name: Epoch(domain.epoch) for name, domain in domains.items()})

    async def _hold_back(self) -> None:
        """What an earlier life ran under an epoch that is no longer the ticket's is held, and said."""
        for name, epoch in self._journal.ran().items():
            record = self._held(name, epoch)
            if record is None:
                continue
            guard = unchanged(layout.lease(self._identity.host), self.keeper.key_revision)
            key = layout.quarantine(self._identity.site, f"guest.{name}")
            await self._store.commit([guard], [Put(key, record.to_json())])
            about = About(kind="VirtualMachine", name=name)
            await self._recorder.warning(about, "Quarantined", record.reason, epoch)
        self._journal.remember({})

    async def _let_go(self) -> None:
        """Guests held here are released when the site agrees with the tickets again."""
        prefix = layout.quarantine(self._identity.site, "guest.")
        for name, record in self._records.all(prefix, QuarantineRecord).items():
            if record.host != self._identity.host or record.state is not QuarantineState.HELD:
                continue
            ticket = self._records.get(layout.ticket(record.application), Ticket)
            volumes = self._records.all(layout.VOLUMES, VolumeRecord).values()
            ours = [volume for volume in volumes if volume.application == record.application]
            copies = self._records.all(layout.REPLICAS, ReplicaRecord)
            replicas = {VolumeName(volume): replica for volume, replica in copies.items()}
            if not may_release(record, ticket, ours, replicas):
                continue
            guard = unchanged(layout.lease(self._identity.host), self.keeper.key_revision)
            free = record.model_copy(update={"state": QuarantineState.RELEASED})
            await self._store.commit([guard], [Put(prefix + name, free.to_json())])
            about = About(kind="VirtualMachine", name=name)
            await self._recorder.normal(about, "Released", f"{self._identity.site} agrees with the ticket again")

    def _held(self, name: GuestName, epoch: Epoch) -> QuarantineRecord | None:
        application = self.world.application(name)
        ticket = self._records.get(layout.ticket(application), Ticket) if application else None
        if application is None or ticket is None or ticket.epoch <= epoch:
            return None
        return QuarantineRecord(
            name=name,
            what="guest",
            site=self._identity.site,
            host=self._identity.host,
            application=application,
            epoch=epoch,
            state=QuarantineState.HELD,
            reason=f"it ran here under epoch {epoch}; the ticket is at {ticket.site} under epoch {ticket.epoch}",
            since=self._clock.wall(),
        )
