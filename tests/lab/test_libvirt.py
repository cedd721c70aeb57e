"""The libvirt room against real libvirtds and real guests under emulation, between two namespaces."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest

from gemel.compute.ports import Domain, DomainChange, DomainEvent, DomainState, GuestPlan
from gemel.core.identity import GuestName
from gemel.core.outcome import OutcomeUnknown, Permanent, Present, Retryable, Unknown
from gemel.engines.libvirt.config import migration_uri
from gemel.engines.libvirt.engine import LibvirtHypervisor, Timeouts
from gemel.engines.libvirt.executioner import PidExecutioner
from gemel.engines.libvirt.render import Accelerator, HostDevices, console_log, render_domain
from tests.lab.libvirt_hosts import Host, sh, two_hosts
from tests.waiting import eventually

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
IMAGES = Path(os.environ.get("GEMEL_IMAGES", "/var/cache/gemel/images"))
COMMAND_LINE = "console=ttyS0 quiet panic=5"


@pytest.fixture(scope="module")
def images() -> Path:
    subprocess.run([ROOT / "scripts/build-images", "--cache", IMAGES], check=True, timeout=600)
    return IMAGES


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    if os.geteuid() != 0:
        pytest.fail("the libvirt lab needs root, for namespaces")
    with two_hosts() as pair:
        yield pair


def devices(host: Host) -> HostDevices:
    # virtlogd writes the console where it sees it: inside the host's namespace, under its own log folder.
    return HostDevices(Accelerator.TCG, "pc", host.base / "log/console")


def hypervisor_of(host: Host) -> LibvirtHypervisor:
    return LibvirtHypervisor(host.uri, devices(host), host.run_dir, Timeouts(query=2.0))


@pytest.fixture
async def first(hosts: tuple[Host, Host]) -> AsyncIterator[LibvirtHypervisor]:
    hypervisor = hypervisor_of(hosts[0])
    yield hypervisor
    await hypervisor.close()


@pytest.fixture
async def second(hosts: tuple[Host, Host]) -> AsyncIterator[LibvirtHypervisor]:
    hypervisor = hypervisor_of(hosts[1])
    yield hypervisor
    await hypervisor.close()


def tiny(name: str, images: Path, number: int = 1) -> GuestPlan:
    return GuestPlan(
        name=GuestName(name),
        uuid=f"6d656c67-0000-4000-8000-0000000000{number:02x}",
        epoch=3,
        generation=7,
        cpu=1,
        memory=96 * 2**20,
        kernel=images / "tiny/vmlinuz",
        initrd=images / "tiny/initrd",
        command_line=COMMAND_LINE,
        disks=(),
        ceph=None,
        addresses=(IPv4Address(f"10.79.0.{number}"),),
        mac=f"02:00:00:00:01:{number:02x}",
        tap=f"tap-{number}",
        config={"ROLE": "web", "BANK_HOST": "10.79.0.99", "BANK_PASSWORD": 'a,b\'c "d" $e'},
    )


async def seen(hypervisor: LibvirtHypervisor, name: GuestName) -> Domain | None:
    observed = await hypervisor.observe()
    assert isinstance(observed, Present), observed
    return observed.value.get(name)


class Recorder:
    """Keeps what ``changes`` yields."""

    def __init__(self, hypervisor: LibvirtHypervisor) -> None:
        self.events: list[DomainChange] = []
        self._task = asyncio.create_task(self._record(hypervisor))

    async def _record(self, hypervisor: LibvirtHypervisor) -> None:
        async for change in hypervisor.changes():
            self.events.append(change)

    def kinds(self, name: str) -> list[tuple[DomainEvent, str]]:
        return [(change.event, change.detail) for change in self.events if change.name == name]

    async def __aenter__(self) -> "Recorder":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def booted(host: Host, plan: GuestPlan, word: str = "is up as", within: float = 120) -> str:
    log = console_log(plan.name, devices(host))
    return await eventually(
        lambda: log.read_text(errors="replace") if log.exists() and word in log.read_text(errors="replace") else "",
        within,
        what=f"{plan.name} to print {word!r}",
    )


async def test_a_guest_starts_is_seen_pauses_and_ends(
    hosts: tuple[Host, Host], first: LibvirtHypervisor, images: Path
) -> None:
    plan = tiny("life", images)
    await first.observe()
    async with Recorder(first) as recorder:
        await first.ensure_running(plan)
        await first.ensure_running(plan)  # nothing happens
        domain = await seen(first, plan.name)
        assert domain is not None
        assert (domain.state, domain.epoch, domain.generation) == (DomainState.RUNNING, 3, 7)
        assert domain.pid is not None and domain.pid == PidExecutioner(hosts[0].run_dir).pid(plan.name)
        await booted(hosts[0], plan)
        await first.suspend(plan.name)
        paused = await seen(first, plan.name)
        assert paused is not None and (paused.state, paused.reason) == (DomainState.PAUSED, "user")
        await first.resume(plan.name)
        assert await first.shut_down(plan.name, 60), "the power button did not end the guest"
        assert await seen(first, plan.name) is None
        await eventually(lambda: recorder.kinds("life")[-1][0] is DomainEvent.STOPPED, 5)
        # QEMU is let run before libvirt calls the guest started.
        assert recorder.kinds("life") == [
            (DomainEvent.RESUMED, "unpaused"),
            (DomainEvent.STARTED, "booted"),
            (DomainEvent.PAUSED, "paused"),
            (DomainEvent.RESUMED, "unpaused"),
            (DomainEvent.STOPPED, "shutdown"),
        ]


async def test_the_guest_is_told_its_configuration_exactly(
    hosts: tuple[Host, Host], first: LibvirtHypervisor, images: Path
) -> None:
    """The guest itself prints ROLE: a shell read it back from behind every character that could break out."""
    plan = replace(tiny("told", images, 2), config={"A": 'a,b\'c "d" $e `f` &g; <h>\ni\\', "ROLE": "idle'role,&"})
    await first.ensure_running(plan)
    assert "told is up as idle'role,& at" in await booted(hosts[0], plan)
    await first.ensure_stopped(plan.name)
    await first.ensure_stopped(plan.name)
    assert await seen(first, plan.name) is None


async def test_live_migration_over_tls(
    hosts: tuple[Host, Host], first: LibvirtHypervisor, second: LibvirtHypervisor, images: Path
) -> None:
    plan = tiny("walker", images, 3)
    await second.observe()
    async with Recorder(first) as source, Recorder(second) as target:
        await first.ensure_running(plan)
        await booted(hosts[0], plan)
        uri = migration_uri(IPv4Address(hosts[1].address), hosts[0].pki)
        began = time.monotonic()
        result = await first.migrate(plan.name, uri, hosts[1].address)
        print(f"migration {time.monotonic() - began:.2f} s, {result}")
        assert 0 < result.downtime_ms <= 500
        assert result.bytes_transferred > 2**20
        assert await seen(first, plan.name) is None
        there = await seen(second, plan.name)
        assert there is not None and (there.state, there.epoch) == (DomainState.RUNNING, 3)
        await eventually(lambda: source.kinds("walker")[-1][0] is DomainEvent.MIGRATED_OUT, 5)
        print("source", source.kinds("walker"))
        print("target", target.kinds("walker"))
        assert (DomainEvent.PAUSED, "migrated") in source.kinds("walker")
        assert target.kinds("walker")[-1] == (DomainEvent.MIGRATED_IN, "migrated")
        assert [kind for kind, _ in target.kinds("walker")].count(DomainEvent.MIGRATED_IN) == 1
    await second.ensure_stopped(plan.name)


async def test_a_migration_that_cannot_begin_leaves_the_guest_running(
    hosts: tuple[Host, Host], first: LibvirtHypervisor, images: Path
) -> None:
    plan = tiny("homebody", images, 4)
    await first.ensure_running(plan)
    nobody = "10.78.0.77"
    with pytest.raises(Retryable):
        await first.migrate(plan.name, migration_uri(IPv4Address(nobody), hosts[0].pki), nobody)
    domain = await seen(first, plan.name)
    assert domain is not None and domain.state is DomainState.RUNNING
    with pytest.raises(Permanent):
        await first.migrate(GuestName("nobody"), migration_uri(IPv4Address(nobody), hosts[0].pki), nobody)
    await first.ensure_stopped(plan.name)


async def test_a_stopped_libvirtd_is_unknown_in_time_and_the_guest_can_still_be_killed(
    hosts: tuple[Host, Host], first: LibvirtHypervisor, images: Path
) -> None:
    plan, other = tiny("doomed", images, 5), tiny("spared", images, 6)
    await first.ensure_running(plan)
    await first.ensure_running(other)
    executioner = PidExecutioner(hosts[0].run_dir)
    assert set(executioner.running()) == {"doomed", "spared"}
    hosts[0].libvirtd.send_signal(signal.SIGSTOP)
    try:
        for _ in range(3):  # on the old connection, then on none
            began = time.monotonic()
            assert isinstance(await first.observe(), Unknown)
            assert time.monotonic() - began < 5
        with pytest.raises((Retryable, OutcomeUnknown)):
            await first.ensure_running(tiny("late", images, 7))
        began = time.monotonic()
        assert executioner.kill_all(keep=frozenset({GuestName("spared")})) == ("doomed",)
        print(f"kill_all took {(time.monotonic() - began) * 1000:.1f} ms")
        assert executioner.running() == ("spared",)
        await first.ensure_stopped(other.name)  # by its pid, since libvirt does not answer
        assert executioner.running() == ()
    finally:
        hosts[0].libvirtd.send_signal(signal.SIGCONT)

    async def empty() -> bool:
        observed = await first.observe()
        return isinstance(observed, Present) and observed.value == {}

    await eventually(empty, 20, what="libvirt to notice that both guests are gone")


async def test_the_postgres_image_freezes_thaws_and_stops_cleanly(
    hosts: tuple[Host, Host], first: LibvirtHypervisor, images: Path
) -> None:
    base = tiny("bank", images, 8)
    plan = replace(
        base,
        memory=448 * 2**20,
        kernel=images / "debian-postgres/vmlinuz",
        initrd=images / "debian-postgres/initrd",
        command_line=f"{COMMAND_LINE} gemel.root=/dev/vda",
        config={"BANK_PASSWORD": "secret"},
        guest_agent=True,
    )
    root, data = hosts[0].base / "root.qcow2", hosts[0].base / "data.raw"
    backing = images / "debian-postgres/disk.raw"
    overlay = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "raw", str(root))
    await asyncio.to_thread(sh, *overlay)
    await asyncio.to_thread(sh, "truncate", "-s", "512M", str(data))
    xml = with_files(render_domain(plan, devices(hosts[0])), (("qcow2", root), ("raw", data)))
    await asyncio.to_thread(create, hosts[0].uri, xml)
    await booted(hosts[0], plan, "PostgreSQL answers", 180)

    async def frozen() -> bool:
        with suppress(Retryable):
            return await first.freeze(plan.name) == 2
        return False

    await eventually(frozen, 20, what="the guest agent to freeze both file systems")
    assert await first.thaw(plan.name) == 2
    assert await first.shut_down(plan.name, 60)
    text = console_log(plan.name, devices(hosts[0])).read_text(errors="replace")
    assert "database system is shut down" in text
    assert "stopped cleanly" in text


def with_files(xml: str, disks: tuple[tuple[str, Path], ...]) -> str:
    """The same guest on files: these tests have no Ceph."""
    domain = ElementTree.fromstring(xml)
    section = domain.find("devices")
    assert section is not None
    for (kind, path), target in zip(disks, ("vda", "vdb"), strict=True):
        disk = ElementTree.SubElement(section, "disk", type="file", device="disk")
        ElementTree.SubElement(disk, "driver", name="qemu", type=kind, error_policy="stop")
        ElementTree.SubElement(disk, "source", file=str(path))
        ElementTree.SubElement(disk, "target", dev=target, bus="virtio")
    return ElementTree.tostring(domain, encoding="unicode")


def create(uri: str, xml: str) -> None:
    connection = libvirt.open(uri)
    try:
        connection.createXML(xml, 0)
    finally:
        connection.close()
