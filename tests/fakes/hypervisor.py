"""A hypervisor in memory, with knobs for everything that the real one does wrong.

Guests are rows in a dict, time is the given clock's, nothing sleeps otherwise. Several fakes that share a
``Fabric`` are hosts that can migrate guests to one another; the fabric also keeps the history of who
executed which guest when, from which ``double_runs`` is told.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gemel.compute.ports import (
    Domain,
    DomainChange,
    DomainEvent,
    Domains,
    DomainState,
    GuestPlan,
    MigrationResult,
)
from gemel.core.clock import Clock
from gemel.core.identity import GuestName
from gemel.core.outcome import OutcomeUnknown, Permanent, Present, Retryable, Unknown


@dataclass(slots=True)
class Interval:
    """``host`` executed ``guest`` from ``start`` to ``end`` (None: still does). Seconds of the clock."""

    guest: GuestName
    host: str
    epoch: int
    start: float
    end: float | None = None


class Fabric:
    """The hosts that exist, what they ran, and which of them cannot reach one another."""

    def __init__(self) -> None:
        self.hosts: dict[str, FakeHypervisor] = {}
        self.history: list[Interval] = []
        self.cut: set[frozenset[str]] = set()

    def reachable(self, one: str, other: str) -> bool:
        return frozenset((one, other)) not in self.cut

    def double_runs(self) -> list[tuple[Interval, Interval]]:
        """Pairs of intervals of one guest on two hosts that overlap in time."""
        return list(overlaps(self.history))


def overlaps(history: list[Interval]) -> Iterator[tuple[Interval, Interval]]:
    ordered = sorted(history, key=lambda interval: (interval.guest, interval.start))
    for index, first in enumerate(ordered):
        for second in ordered[index + 1 :]:
            if second.guest != first.guest:
                break
            if first.host != second.host and (first.end is None or second.start < first.end):
                yield first, second


class MigrationFault(StrEnum):
    NONE = "none"
    REFUSED = "refused"  # did not begin: the guest runs on at the source
    LOST_BEFORE = "lost-before"  # the answer was lost, and the guest had not moved
    LOST_AFTER = "lost-after"  # the answer was lost, and the guest had moved


@dataclass(slots=True)
class Faults:
    """``hung``: a stopped libvirtd; every call outlives its timeout and guests run on."""

    hung: bool = False
    start_delay: float = 0.3
    start_fails: dict[str, str] = field(default_factory=dict)
    """Guest to the engine's complaint: Permanent."""
    start_unknown: set[str] = field(default_factory=set)
    """The guest does start, but the caller is told OutcomeUnknown."""
    ignores_shutdown: set[str] = field(default_factory=set)
    shutdown_takes: float = 2.0
    unkillable: set[str] = field(default_factory=set)
    """A QEMU that even SIGKILL does not end (it waits for a device)."""
    agent_dead: set[str] = field(default_factory=set)
    agent_frozen_forever: set[str] = field(default_factory=set)
    """Thawing fails: the guest agent died between freeze and thaw."""
    migration: MigrationFault = MigrationFault.NONE
    migration_takes: float = 0.4
    migration_downtime: float = 0.015
    silent: bool = False
    """Events are lost; only observation tells."""


class FakeHypervisor:
    """Implements ``compute.ports.Hypervisor``. ``timeout`` is what a hung call costs its caller."""

    def __init__(self, host: str, clock: Clock, fabric: Fabric | None = None, timeout: float = 5.0) -> None:
        self.host = host
        self.faults = Faults()
        self.fabric = fabric if fabric is not None else Fabric()
        self.fabric.hosts[host] = self
        self.domains: dict[GuestName, Domain] = {}
        self.plans: dict[GuestName, GuestPlan] = {}
        self.frozen: set[GuestName] = set()
        self.calls: list[str] = []
        self._clock = clock
        self._timeout = timeout
        self._listeners: list[asyncio.Queue[DomainChange | None]] = []
        self._pids = 1000

    # What the port asks.

    async def observe(self) -> Domains:
        if self.faults.hung:
            await self._clock.sleep(self._timeout)
            return Unknown(f"libvirt of {self.host} did not answer within {self._timeout:g} s")
        return Present(dict(self.domains))

    async def ensure_running(self, plan: GuestPlan) -> None:
        await self._answers("start", plan.name)
        if plan.name in self.domains:
            return
        if plan.name in self.faults.start_fails:
            raise Permanent(f"cannot start {plan.name} on {self.host}: {self.faults.start_fails[plan.name]}")
        self._begin(plan)
        if self.faults.start_delay:
            await self._clock.sleep(self.faults.start_delay)
        if plan.name in self.faults.start_unknown:
            raise OutcomeUnknown(f"starting {plan.name} on {self.host} was not answered: observe it")

    async def shut_down(self, name: GuestName, within: float) -> bool:
        await self._answers("shut down", name)
        if name not in self.domains:
            return True
        takes = self.faults.shutdown_takes
        if name in self.faults.ignores_shutdown or takes > within:
            await self._clock.sleep(within)
            return name not in self.domains
        await self._clock.sleep(takes)
        self._end(name, DomainEvent.STOPPED, "shutdown")
        return True

    async def ensure_stopped(self, name: GuestName) -> None:
        await self._answers("destroy", name)
        if name in self.faults.unkillable and name in self.domains:
            raise OutcomeUnknown(f"{name} on {self.host} was told to end and still exists: observe it")
        self._end(name, DomainEvent.STOPPED, "destroyed")

    async def migrate(self, name: GuestName, to_uri: str, to_host: str) -> MigrationResult:
        """``to_host`` is the name of another fake of the same fabric."""
        await self._answers("migrate", name)
        domain = self._existing(name, "migrate")
        fault = self.faults.migration
        target = self.fabric.hosts.get(to_host)
        if target is None or target.faults.hung or not self.fabric.reachable(self.host, to_host):
            raise Retryable(f"{name} stays on {self.host}: {to_host} cannot be reached at {to_uri}", after=5)
        if fault is MigrationFault.REFUSED or name in target.domains:
            raise Retryable(f"{name} stays on {self.host}: {to_host} refused it", after=5)
        lost = OutcomeUnknown(f"the end of {name}'s migration to {to_host} was not seen: observe both")
        incoming = replace(domain, state=DomainState.PAUSED, reason="migration", pid=target._next_pid())
        target.domains[name] = incoming
        await self._clock.sleep(self.faults.migration_takes)
        if fault is MigrationFault.LOST_BEFORE or name not in self.domains or name not in target.domains:
            target.domains.pop(name, None)
            raise lost
        self._hand_over(name, incoming, target)
        if fault is MigrationFault.LOST_AFTER:
            raise lost
        return MigrationResult(
            self.faults.migration_downtime * 1000, self.faults.migration_takes * 1000, domain.pid or 0
        )

    async def freeze(self, name: GuestName) -> int:
        await self._answers("freeze", name)
        self._existing(name, "freeze")
        if name in self.faults.agent_dead or not self.plans[name].guest_agent:
            raise Retryable(f"{name} cannot be frozen: its guest agent did not answer within 2 s")
        self.frozen.add(name)
        return max(1, len(self.plans[name].disks))

    async def thaw(self, name: GuestName) -> int:
        await self._answers("thaw", name)
        self._existing(name, "thaw")
        if name in self.faults.agent_frozen_forever:
            raise Retryable(f"{name} cannot be thawed: its guest agent did not answer within 2 s")
        thawed = name in self.frozen
        self.frozen.discard(name)
        return int(thawed)

    async def suspend(self, name: GuestName) -> None:
        await self._answers("suspend", name)
        self._pause(name, "user", DomainEvent.PAUSED)

    async def resume(self, name: GuestName) -> None:
        await self._answers("resume", name)
        self.domains[name] = replace(self._existing(name, "resume"), state=DomainState.RUNNING, reason="unpaused")
        self._tell(name, DomainEvent.RESUMED, "unpaused")

    async def changes(self) -> AsyncIterator[DomainChange]:
        queue: asyncio.Queue[DomainChange | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._listeners.remove(queue)

    async def close(self) -> None:
        for queue in self._listeners:
            queue.put_nowait(None)

    # What befalls a host, for tests.

    def crash(self, name: GuestName) -> None:
        """The guest's QEMU died."""
        self._end(name, DomainEvent.STOPPED, "failed")

    def io_error(self, name: GuestName) -> None:
        """Its volume refused a write (a fence): QEMU pauses it."""
        self._pause(name, "ioerror", DomainEvent.IO_ERROR)

    def power_off(self) -> None:
        """The host is gone: its guests end, and nobody is told."""
        for name in list(self.domains):
            self._drop(name)
        self.faults.hung = True

    def power_on(self) -> None:
        self.faults = Faults()

    def kill_all(self, keep: frozenset[GuestName] = frozenset()) -> tuple[GuestName, ...]:
        """Implements ``compute.ports.Executioner``: works also while libvirt is hung."""
        doomed = tuple(name for name in sorted(self.domains) if name not in keep and name not in self.faults.unkillable)
        for name in doomed:
            self._end(name, DomainEvent.STOPPED, "failed")
        return doomed

    # Inside.

    async def _answers(self, verb: str, name: GuestName) -> None:
        self.calls.append(f"{verb} {name}")
        if self.faults.hung:
            await self._clock.sleep(self._timeout)
            raise OutcomeUnknown(
                f"libvirt of {self.host} did not answer within {self._timeout:g} s ({verb} {name}): observe it"
            )

    def _existing(self, name: GuestName, verb: str) -> Domain:
        if name not in self.domains:
            raise Permanent(f"cannot {verb} {name}: it does not exist on {self.host}")
        return self.domains[name]

    def _next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def _begin(self, plan: GuestPlan) -> None:
        self.plans[plan.name] = plan
        self.domains[plan.name] = Domain(
            plan.name, DomainState.RUNNING, "booted", plan.epoch, plan.generation, self._next_pid()
        )
        self.fabric.history.append(Interval(plan.name, self.host, plan.epoch, self._clock.monotonic()))
        self._tell(plan.name, DomainEvent.STARTED, "booted")

    def _drop(self, name: GuestName) -> bool:
        """The QEMU is no more: true at this instant, whoever is told."""
        self.frozen.discard(name)
        now = self._clock.monotonic()
        for interval in self.fabric.history:
            if (interval.guest, interval.host, interval.end) == (name, self.host, None):
                interval.end = now
        return self.domains.pop(name, None) is not None

    def _end(self, name: GuestName, event: DomainEvent, detail: str) -> None:
        if self._drop(name):
            self._tell(name, event, detail)

    def _pause(self, name: GuestName, reason: str, event: DomainEvent) -> None:
        self.domains[name] = replace(self._existing(name, reason), state=DomainState.PAUSED, reason=reason)
        self._tell(name, event, reason)

    def _hand_over(self, name: GuestName, incoming: Domain, target: "FakeHypervisor") -> None:
        self._end(name, DomainEvent.MIGRATED_OUT, "migrated")
        target.domains[name] = replace(incoming, state=DomainState.RUNNING, reason="migrated")
        target.plans[name] = self.plans[name]
        now = self._clock.monotonic()
        self.fabric.history.append(Interval(name, target.host, incoming.epoch, now))
        target._tell(name, DomainEvent.MIGRATED_IN, "migrated")

    def _tell(self, name: GuestName, event: DomainEvent, detail: str) -> None:
        if self.faults.silent or self.faults.hung:
            return
        for queue in self._listeners:
            queue.put_nowait(DomainChange(name, event, detail))
