"""The fake hypervisor does to its caller what the real one does."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fakes.hypervisor import Fabric, FakeHypervisor, MigrationFault

from gemel.compute.ports import DomainEvent, DomainState, Executioner, GuestPlan, Hypervisor
from gemel.core.identity import GuestName
from gemel.core.outcome import OutcomeUnknown, Permanent, Present, Retryable, Unknown

BANK = GuestName("bank")


class Ticking:
    """Time passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def plan(name: str = "bank", epoch: int = 1) -> GuestPlan:
    return GuestPlan(
        name=GuestName(name),
        uuid="6d656c67-0000-4000-8000-000000000001",
        epoch=epoch,
        generation=1,
        cpu=1,
        memory=2**26,
        kernel=Path("/k"),
        initrd=None,
        command_line="",
        disks=(),
        ceph=None,
        addresses=(),
        mac="02:00:00:00:00:01",
        tap="t",
        guest_agent=True,
    )


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def fabric() -> Fabric:
    return Fabric()


@pytest.fixture
def one(clock: Ticking, fabric: Fabric) -> FakeHypervisor:
    return FakeHypervisor("one", clock, fabric)


@pytest.fixture
def two(clock: Ticking, fabric: Fabric) -> FakeHypervisor:
    return FakeHypervisor("two", clock, fabric)


def test_it_is_what_it_stands_for(one: FakeHypervisor) -> None:
    hypervisor: Hypervisor = one  # the type checker is the test; calling it shows that it is callable
    executioner: Executioner = one
    assert executioner.kill_all() == ()
    assert callable(hypervisor.observe)


async def test_a_guest_s_life(one: FakeHypervisor, fabric: Fabric, clock: Ticking) -> None:
    await one.ensure_running(plan())
    await one.ensure_running(plan(epoch=9))
    observed = await one.observe()
    assert isinstance(observed, Present) and observed.value[BANK].epoch == 1
    await one.suspend(BANK)
    assert one.domains[BANK].state is DomainState.PAUSED
    await one.resume(BANK)
    assert (await one.freeze(BANK), await one.thaw(BANK)) == (1, 1)
    assert await one.shut_down(BANK, within=10)
    assert await one.shut_down(BANK, within=10)
    await one.ensure_stopped(BANK)
    (interval,) = fabric.history
    assert (interval.start, interval.end) == (0.0, clock.now)


async def test_a_guest_that_ignores_its_button(one: FakeHypervisor, clock: Ticking) -> None:
    one.faults.ignores_shutdown.add("bank")
    await one.ensure_running(plan())
    before = clock.now
    assert not await one.shut_down(BANK, within=10)
    assert clock.now == before + 10


async def test_hung_is_unknown_and_guests_run_on(one: FakeHypervisor) -> None:
    await one.ensure_running(plan())
    one.faults.hung = True
    assert isinstance(await one.observe(), Unknown)
    with pytest.raises(OutcomeUnknown):
        await one.ensure_stopped(BANK)
    assert BANK in one.domains
    assert one.kill_all(keep=frozenset({BANK})) == ()
    assert one.kill_all() == (BANK,)
    assert one.domains == {}


async def test_migration_hands_over_without_overlap(one: FakeHypervisor, two: FakeHypervisor, fabric: Fabric) -> None:
    await one.ensure_running(plan())
    await one.migrate(BANK, "qemu+tls://two/system", "two")
    assert (BANK in one.domains, BANK in two.domains) == (False, True)
    assert [interval.host for interval in fabric.history] == ["one", "two"]
    assert fabric.double_runs() == []
    two.power_off()
    assert fabric.history[1].end is not None


@pytest.mark.parametrize(
    ("fault", "error", "at"),
    [
        (MigrationFault.REFUSED, Retryable, "one"),
        (MigrationFault.LOST_BEFORE, OutcomeUnknown, "one"),
        (MigrationFault.LOST_AFTER, OutcomeUnknown, "two"),
    ],
)
async def test_migration_faults(
    one: FakeHypervisor, two: FakeHypervisor, fault: MigrationFault, error: type[Exception], at: str
) -> None:
    await one.ensure_running(plan())
    one.faults.migration = fault
    with pytest.raises(error):
        await one.migrate(BANK, "qemu+tls://two/system", "two")
    assert [host.host for host in (one, two) if BANK in host.domains] == [at]


async def test_a_cut_link_refuses_migration(one: FakeHypervisor, two: FakeHypervisor, fabric: Fabric) -> None:
    fabric.cut.add(frozenset({"one", "two"}))
    await one.ensure_running(plan())
    with pytest.raises(Retryable):
        await one.migrate(BANK, "qemu+tls://two/system", two.host)
    assert BANK in one.domains


async def test_two_runs_of_one_guest_are_told(one: FakeHypervisor, two: FakeHypervisor, fabric: Fabric) -> None:
    await one.ensure_running(plan())
    await two.ensure_running(plan(epoch=2))
    ((first, second),) = fabric.double_runs()
    assert (first.host, second.host) == ("one", "two")


async def test_failures_of_a_start(one: FakeHypervisor) -> None:
    one.faults.start_fails["bank"] = "no such image"
    with pytest.raises(Permanent, match="no such image"):
        await one.ensure_running(plan())
    one.faults.start_fails.clear()
    one.faults.start_unknown.add("bank")
    with pytest.raises(OutcomeUnknown):
        await one.ensure_running(plan())
    assert BANK in one.domains


async def test_changes_are_told_until_close(one: FakeHypervisor) -> None:
    changes = one.changes()
    listening = changes.__aiter__()
    first = asyncio.ensure_future(anext(listening))
    await asyncio.sleep(0)
    await one.ensure_running(plan())
    one.io_error(BANK)
    one.crash(BANK)
    await one.close()
    events = [(await first).event] + [change.event async for change in listening]
    assert events == [DomainEvent.STARTED, DomainEvent.IO_ERROR, DomainEvent.STOPPED]
