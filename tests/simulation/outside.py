"""What an agent talks to, as it is between machines: requests that go on without their sender, answers that
are lost or late, engines that take their time to start and to die."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from gemel.compute.guest import tap_name
from gemel.compute.ports import DomainEvent, Domains, GuestPlan, MigrationResult
from gemel.core.clock import Clock
from gemel.core.identity import GuestName
from gemel.core.outcome import OutcomeUnknown
from gemel.core.store import Batch, Committed, Compare, KeyValue, Lease, Listing, StoreUnavailable, Write
from gemel.store.memory import MemoryStore, Region
from tests.fakes.hypervisor import Fabric, FakeHypervisor
from tests.simulation.pausing import detached


class DistantStore(MemoryStore):
    """``deaf``: requests arrive and are carried out, no answer comes back (an asymmetric cut). ``late``:
    seconds by which every answer is late."""

    def __init__(self, who: str, region: Region) -> None:
        super().__init__(region.clock, region)  # leases end by the store's clock, not by their holder's
        self.link.patience = 1.0
        self.who = who
        self.deaf = False
        self.late = 0.0

    async def get(self, key: str) -> KeyValue | None:
        found = await detached(super().get(key))
        await self._way_back(f"read {key}")
        return found

    async def list(self, prefix: str) -> Listing:
        found = await detached(super().list(prefix))
        await self._way_back(f"list {prefix}")
        return found

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Write]) -> Committed:
        done = await detached(super().commit(compares, writes), self.who)
        if self.deaf:
            await self._clock.sleep(self.link.patience)
            raise OutcomeUnknown("commit: the answer was lost; read again before repeating it")
        await self._way_back("commit")
        return done

    async def grant(self, ttl: float) -> Lease:
        lease = await detached(super().grant(ttl))
        await self._way_back("grant a lease")
        return lease

    async def keep_alive(self, lease_id: int) -> float:
        ttl = await detached(super().keep_alive(lease_id))
        await self._way_back(f"renew lease {lease_id:x}")
        return ttl

    async def revoke(self, lease_id: int) -> None:
        await detached(super().revoke(lease_id), self.who)
        await self._way_back(f"revoke lease {lease_id:x}")

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Batch]:
        async for batch in super().watch(prefix, after):
            while self.deaf:
                await self._clock.sleep(0.5)
            if self.late:
                await self._clock.sleep(self.late)
            yield batch

    async def _way_back(self, what: str) -> None:
        if self.late:
            await self._clock.sleep(self.late)
        if self.deaf:
            await self._clock.sleep(self.link.patience)
            raise StoreUnavailable(f"cannot {what}: no answer within {self.link.patience:g} s")


class Daemon(FakeHypervisor):
    """libvirtd and its QEMUs: processes of their own. ``start_lag``: seconds from the request to a QEMU that
    can be seen; ``kill_takes``: from SIGKILL to its end."""

    def __init__(self, host: str, clock: Clock, fabric: Fabric) -> None:
        super().__init__(host, clock, fabric)
        self.start_lag = 0.0
        self.kill_takes = 0.0
        self.taps: set[str] = set()
        self._power = 0
        self._dying: set[int] = set()

    async def observe(self) -> Domains:
        return await detached(super().observe())

    async def ensure_running(self, plan: GuestPlan) -> None:
        await detached(self._start(plan, self._power))

    async def _start(self, plan: GuestPlan, power: int) -> None:
        if self.start_lag:
            await asyncio.sleep(self.start_lag)
        if power != self._power:
            raise OutcomeUnknown(f"{self.host} lost its power: nobody answers")
        await super().ensure_running(plan)

    async def shut_down(self, name: GuestName, within: float) -> bool:
        return await detached(super().shut_down(name, within))

    async def ensure_stopped(self, name: GuestName) -> None:
        await detached(super().ensure_stopped(name))

    async def migrate(self, name: GuestName, to_uri: str, to_host: str) -> MigrationResult:
        return await detached(super().migrate(name, to_uri, to_host))

    def power_off(self) -> None:
        self._power += 1
        super().power_off()

    def kill_all(self, keep: frozenset[GuestName] = frozenset()) -> tuple[GuestName, ...]:
        if not self.kill_takes:
            return super().kill_all(keep)
        doomed = tuple(name for name in sorted(self.domains) if name not in keep)
        for name in doomed:
            pid = self.domains[name].pid or 0
            if pid not in self._dying:
                self._dying.add(pid)
                asyncio.get_running_loop().call_later(self.kill_takes, self._died, name, pid)
        return doomed

    def _died(self, name: GuestName, pid: int) -> None:
        if name in self.domains and self.domains[name].pid == pid:
            self._end(name, DomainEvent.STOPPED, "failed")

    def _drop(self, name: GuestName) -> bool:
        self.taps.add(tap_name(name))  # the kernel removes a tap's routes with the tap
        return super()._drop(name)
