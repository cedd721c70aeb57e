"""A host's lease under virtual time: when it ends, what ends with it, and how the next life begins."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address

import pytest
from tests.simulation.outside import DistantStore
from tests.simulation.region import QuickLeaseFile
from tests.simulation.virtual import VirtualClock, run

from gemel.compute.kinds import HostLease
from gemel.continuity.authority import LeaseTerms
from gemel.continuity.lease import HostLeaseKeeper, Identity, Life
from gemel.core import layout
from gemel.core.identity import HostName, SiteName
from gemel.core.outcome import Permanent
from gemel.core.store import Lease
from gemel.store.memory import MemoryStore, Region

TERMS = LeaseTerms()
KEY = layout.lease("par1-1")


class Host:
    """A host whose guests are one flag: ``runs``."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.region = Region(self.clock)
        self.store = DistantStore("par1-1", self.region)
        self.admin = MemoryStore(self.clock, self.region)
        self.file = QuickLeaseFile()
        self.boot = "boot-1"
        self.runs = False
        self.fenced: list[tuple[float, str]] = []
        self.cleaned = 0
        self.keeper: HostLeaseKeeper
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        identity = Identity(HostName("par1-1"), SiteName("par1"), IPv4Address("198.18.1.1"), self.boot)
        self.keeper = HostLeaseKeeper(self.store, self.clock, TERMS, identity, self.file, self._fence, self._clean)
        self.task = asyncio.create_task(self.keeper.run())

    def _fence(self, why: str) -> None:
        self.fenced.append((self.clock.monotonic(), why))
        self.runs = False

    async def _clean(self) -> None:
        while self.runs:
            await self.clock.sleep(0.1)
        self.cleaned += 1

    async def kill(self) -> None:
        """The process ends at once."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, seen: Callable[[], object], within: float = 30.0) -> None:
        deadline = self.clock.monotonic() + within
        while not seen():
            assert self.clock.monotonic() < deadline, "not seen in time"
            await self.clock.sleep(0.01)

    async def held(self) -> str:
        await self.until(lambda: self.keeper.holder)
        assert self.keeper.holder is not None
        return self.keeper.holder.incarnation

    async def record(self) -> HostLease | None:
        found = await self.admin.get(KEY)
        return HostLease.model_validate_json(found.value) if found else None


def simulate(scenario: Callable[[Host], Awaitable[None]]) -> None:
    async def main() -> None:
        host = Host()
        host.start()
        await scenario(host)
        if host.task is not None and host.task.done():
            host.task.result()

    run(main())


def test_a_life_begins_with_a_clean_host_and_a_record() -> None:
    async def scenario(host: Host) -> None:
        life = await host.held()
        assert host.cleaned == 1
        record = await host.record()
        assert record is not None
        assert (record.host, record.incarnation, record.boot_id) == ("par1-1", life, "boot-1")
        found = await host.admin.get(KEY)
        assert found is not None
        assert host.keeper.key_revision == found.mod_revision
        written = host.file.read()
        assert written is not None
        assert (written.incarnation, written.boot) == (life, "boot-1")
        assert written.watchdog_deadline - written.deadline == pytest.approx(TERMS.watchdog_grace)

    simulate(scenario)


def test_no_lease_is_asked_for_while_something_runs() -> None:
    async def scenario(host: Host) -> None:
        host.runs = True
        await host.clock.sleep(60)
        assert host.keeper.holder is None
        assert await host.record() is None
        host.runs = False
        await host.held()

    simulate(scenario)


def test_it_is_renewed_for_as_long_as_the_store_answers() -> None:
    async def scenario(host: Host) -> None:
        life = await host.held()
        await host.clock.sleep(600)
        assert await host.held() == life
        assert not host.fenced

    simulate(scenario)


@pytest.mark.parametrize("how", ["hung", "deaf"])
def test_the_deadline_counts_from_the_last_renewal_that_was_sent_and_answered(how: str) -> None:
    async def scenario(host: Host) -> None:
        await host.held()
        await host.clock.sleep(20)
        assert host.keeper.holder is not None
        deadline = host.keeper.holder.deadline
        host.store.link.up, host.store.deaf = how == "deaf", how == "deaf"
        await host.until(lambda: host.fenced)
        at, why = host.fenced[0]
        assert deadline <= at < deadline + 0.05
        assert "before the deadline" in why
        assert host.file.read() is None
        assert host.keeper.holder is None
        assert await host.record() is not None, "the store must not have forgotten the lease before the fence"

    simulate(scenario)


def test_a_renewal_that_hangs_does_not_outlast_the_deadline() -> None:
    async def scenario(host: Host) -> None:
        await host.held()
        host.store.link.up, host.store.link.patience = False, 1000.0
        assert host.keeper.holder is not None
        deadline = host.keeper.holder.deadline
        await host.until(lambda: host.fenced)
        assert host.fenced[0][0] < deadline + 0.05

    simulate(scenario)


def test_answers_that_are_late_count_from_when_they_were_asked_for() -> None:
    async def scenario(host: Host) -> None:
        await host.held()
        host.store.late = 1.5
        await host.clock.sleep(30)
        assert host.keeper.holder is not None
        left = host.keeper.holder.deadline - host.clock.monotonic()
        assert left <= TERMS.ttl - TERMS.margin
        assert not host.fenced
        host.store.late = 2.5  # later than a renewal may take
        await host.until(lambda: host.fenced)

    simulate(scenario)


def test_a_short_silence_costs_nothing() -> None:
    async def scenario(host: Host) -> None:
        life = await host.held()
        for _ in range(5):
            host.store.link.up = False
            await host.clock.sleep(3.5)
            host.store.link.up = True
            await host.clock.sleep(2.5)
        assert not host.fenced
        assert await host.held() == life

    simulate(scenario)


def test_what_the_store_has_forgotten_ends_at_once() -> None:
    async def scenario(host: Host) -> None:
        life = await host.held()
        found = await host.admin.get(KEY)
        assert found is not None
        host.runs = True
        gone_at = host.clock.monotonic()
        await host.admin.revoke(found.lease)
        await host.until(lambda: host.fenced)
        at, why = host.fenced[0]
        assert at - gone_at <= TERMS.renew_every + 0.05
        assert "forgotten" in why
        assert await host.held() != life

    simulate(scenario)


def test_an_agent_that_restarts_before_the_deadline_continues_its_life() -> None:
    async def scenario(host: Host) -> None:
        life = await host.held()
        host.runs = True
        await host.kill()
        await host.clock.sleep(5.0)
        host.start()
        assert await host.held() == life
        await host.clock.sleep(60)
        assert host.runs
        assert host.cleaned == 1

    simulate(scenario)


@pytest.mark.parametrize("why", ["too late", "another boot"])
def test_else_it_begins_a_new_life_when_nothing_runs(why: str) -> None:
    async def scenario(host: Host) -> None:
        life = await host.held()
        host.runs = True
        await host.kill()
        if why == "too late":
            await host.clock.sleep(TERMS.ttl - TERMS.margin + 0.1)
        else:
            host.boot = "boot-2"
        host.start()
        await host.clock.sleep(1.0)
        assert host.keeper.holder is None
        record = await host.record()
        assert record is None or record.incarnation == life
        host.runs = False
        assert await host.held() != life
        assert host.cleaned == 2

    simulate(scenario)


def test_an_earlier_life_is_ended_rather_than_waited_for() -> None:
    """Its guests were seen to be gone a moment ago, so nobody has to wait for the store to forget it."""

    async def scenario(host: Host) -> None:
        await host.held()
        await host.kill()
        host.file.remove()
        killed = host.clock.monotonic()
        host.start()
        await host.held()
        assert host.clock.monotonic() - killed < 1.0

    simulate(scenario)


def test_a_life_whose_record_s_answer_was_lost_is_found_or_ended() -> None:
    async def scenario(host: Host) -> None:
        await host.held()
        await host.kill()
        host.file.remove()
        host.store.link.lose_answers = 2
        host.start()
        life = await host.held()
        record = await host.record()
        assert record is not None
        assert record.incarnation == life

    simulate(scenario)


def test_a_store_that_grants_less_time_than_asked_gets_no_trust() -> None:
    class Stingy(DistantStore):
        async def grant(self, ttl: float) -> Lease:
            lease = await super().grant(ttl / 2)
            return Lease(lease.id, ttl / 2)

    async def main() -> None:
        host = Host()
        host.store = Stingy("par1-1", host.region)
        host.start()
        await host.clock.sleep(60)
        assert host.keeper.holder is None
        assert host.file.read() is None

    run(main())


def test_unsafe_terms_are_refused_when_the_process_starts() -> None:
    async def main() -> None:
        host = Host()
        identity = Identity(HostName("par1-1"), SiteName("par1"), IPv4Address("198.18.1.1"), "b")
        with pytest.raises(Permanent, match="unsafe"):
            HostLeaseKeeper(
                host.store, host.clock, LeaseTerms(margin=1.0), identity, host.file, host._fence, host._clean
            )

    run(main())


def test_two_lives_never_share_an_incarnation_or_overlap() -> None:
    async def scenario(host: Host) -> None:
        lives: list[Life] = []
        for _ in range(6):
            await host.held()
            written = host.file.read()
            assert written is not None
            lives.append(written)
            host.store.link.up = False
            await host.until(lambda: host.keeper.holder is None)
            host.store.link.up = True
        assert len({life.incarnation for life in lives}) == 6
        assert len({life.lease for life in lives}) == 6
        assert sorted(life.key_revision for life in lives) == [life.key_revision for life in lives]

    simulate(scenario)
