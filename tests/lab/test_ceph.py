"""Two real Ceph clusters, three hosts each, and production stewards between them."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest

from gemel.continuity.kinds import TicketPhase
from gemel.core.clock import SystemClock
from gemel.core.identity import SiteName
from gemel.core.outcome import OutcomeUnknown, Permanent, Retryable
from gemel.engines.ceph import render
from gemel.engines.ceph.cluster import HOST_CLIENT, STEWARD_CLIENT
from gemel.engines.ceph.engine import RbdFence, RbdImages
from gemel.engines.ceph.program import Ended, end, read_stream
from gemel.engines.ceph.render import Access
from gemel.engines.courier.engine import Certificates, Courier
from gemel.engines.pki.authority import create_authority, issue
from gemel.engines.pki.identity import Purpose, Subject, write_identity
from gemel.lab.ceph import cluster_status, start_host_daemons
from gemel.storage.ports import Difference, Received
from tests.fakes.stewards import A, B, Equipment, World, two_sites
from tests.lab.ceph_region import PREFIX, Stage
from tests.waiting import eventually

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
LETTER = {A: "a", B: "b"}
MIB = 2**20


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if os.geteuid() != 0:
        pytest.fail("lab tests need root: run them as root, on a machine with Ceph's packages", pytrace=False)
    stage = Stage(tmp_path_factory.mktemp("ceph"))
    try:
        began = time.monotonic()
        asyncio.run(stage.start())
        print(f"two clusters of three hosts were up after {time.monotonic() - began:.1f} s")
        yield stage
    finally:
        asyncio.run(stage.stop())


def access(stage: Stage, letter: str, client: str, host: int = 1) -> Access:
    conf = stage.client_folder(stage.plans[letter]) / "ceph.conf"
    return Access(conf, client, ("ip", "netns", "exec", f"{PREFIX}{letter}{host}"))


async def write(stage: Stage, letter: str, image: str, size: int, host: int = 1) -> int:
    """Random 4 KiB writes with a host's key, as a guest on that host would do them. Returns rbd's exit code."""
    words = ("bench", "--io-type", "write", "--io-size", "4096", "--io-pattern", "rand", "--io-total", str(size))
    argv = render.rbd(access(stage, letter, HOST_CLIENT, host), 20, *words, f"guests/{image}")
    process = await asyncio.create_subprocess_exec(*argv, stdout=-3, stderr=-3)
    try:
        return await asyncio.wait_for(process.wait(), 60)
    finally:
        await end(process)


async def checksum(stage: Stage, letter: str, pool: str, image: str, snapshot: str | None = None) -> str:
    words = ("export", "--no-progress", render.spec(pool, image, snapshot), "-")
    argv = render.rbd(access(stage, letter, STEWARD_CLIENT), 20, *words)
    digest = hashlib.sha256()
    async with aclosing(read_stream(argv, 30)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Ended):
                assert chunk.code == 0, chunk.stderr
            else:
                digest.update(chunk)
    return digest.hexdigest()


class Interrupted(RbdImages):
    """Breaks so many imports in the middle."""

    failures = 0

    async def import_diff(self, pool: str, name: str, stream: AsyncIterator[bytes]) -> None:
        if self.failures <= 0:
            await super().import_diff(pool, name, stream)
            return
        self.failures -= 1
        await super().import_diff(pool, name, self._half(stream))

    async def _half(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk[: len(chunk) // 2]
            raise OutcomeUnknown("the link to Ceph broke in the middle of an import")


class Counted(Courier):
    """Counts what is imported, before compression."""

    raw = 0

    async def fetch(
        self, source: str, difference: Difference, limit: int | None, progress: Callable[[int, int], Awaitable[None]]
    ) -> Received:
        received = await super().fetch(source, difference, limit, progress)
        self.raw += received.raw_bytes
        return received


@pytest.fixture
async def world(stage: Stage, tmp_path: Path) -> AsyncIterator[World]:
    authority = create_authority(tmp_path / "ca")
    (tmp_path / "deb.raw").write_bytes(os.urandom(48 * MIB))
    async with AsyncExitStack() as stack:
        couriers: dict[SiteName, Any] = {}
        for site in (A, B):
            subject = Subject(cn="agent", unit=site, ips=("127.0.0.1",), purpose=Purpose.PEER)
            certificate, key = write_identity(tmp_path / site, "agent", issue(authority, subject))
            held = Certificates(tmp_path / "ca" / "ca.crt", certificate, key)
            couriers[site] = await stack.enter_async_context(Counted("127.0.0.1", held, tmp_path / site / "s", port=0))

        def equip(site: SiteName) -> Equipment:
            key = access(stage, LETTER[site], STEWARD_CLIENT)
            images: Any = Interrupted(key)
            return Equipment(images, RbdFence(key), couriers[site])

        yield await stack.enter_async_context(two_sites(tmp_path, SystemClock(), equip))


async def promoted(world: World, site: SiteName, epoch: int) -> None:
    async def seen() -> bool:
        volumes = [await world.volume(), await world.volume("db0.d1")]
        return all(volume is not None and (volume.site, volume.epoch) == (site, epoch) for volume in volumes)

    await eventually(seen, 30, what=f"promotion on {site} under epoch {epoch}")


async def next_cut(world: World, more: int = 1) -> int:
    cut = await world.cut()
    assert cut is not None
    await world.protected("db0.d0", "db0.d1", sequence=cut.sequence + more)
    return cut.sequence + more


async def test_loss_return_and_failback_of_an_application(world: World, stage: Stage) -> None:
    west, east = world.sites[A], world.sites[B]
    there: Any = east.images
    back: Any = west.transport

    # Replicate, with an import that breaks in the middle.
    await world.declare_bank(disks=2, recoveryPoint="6s")
    await world.grant(A, 1)
    await world.protected("db0.d0", "db0.d1")
    there.failures = 1
    assert await write(stage, "a", "db0.d0.e1", 4 * MIB) == 0
    assert await write(stage, "a", "db0.d1.e1", 1 * MIB) == 0
    await next_cut(world, 2)
    assert there.failures == 0
    for name in ("db0.d0", "db0.d1"):
        replica = await world.replica(name)
        assert replica is not None
        last = replica.complete[-1].snapshot
        assert await checksum(stage, "b", "replicas", f"{name}.e1", last) == await checksum(
            stage, "a", "guests", f"{name}.e1", last
        )

    # The site is lost with writes that nobody else has.
    await west.crash()
    assert await write(stage, "a", "db0.d0.e1", 2 * MIB) == 0
    began = time.monotonic()
    await world.grant(B, 2)
    await promoted(world, B, 2)
    print(f"promotion of two volumes took {time.monotonic() - began:.2f} s")
    volume = await world.volume()
    assert volume is not None and volume.parent_snapshot is not None
    alone = await west.images.changed_bytes("guests", "db0.d0.e1", volume.parent_snapshot, None)
    # A write behind the end of an object counts with the hole before it, hence more than 2 MiB.
    assert MIB < alone <= 4 * MIB
    common = await checksum(stage, "a", "guests", "db0.d0.e1", volume.parent_snapshot)
    assert await checksum(stage, "b", "guests", "db0.d0.e2") == common
    assert await write(stage, "b", "db0.d0.e2", 8 * MIB) == 0
    changed = await there.changed_bytes("guests", "db0.d0.e2", "e2-0", None)
    assert changed > 4 * MIB

    # It returns: what diverged is kept, and only differences travel.
    raw = back.raw
    west.start()
    await eventually(lambda: world.quarantine(A), 30)
    await next_cut(world)
    (held,) = await world.quarantine(A)
    assert held.diverged_bytes == alone
    assert held.image == "db0.d0.e1" and held.snapshot == volume.parent_snapshot

    # Planned move back: the last cut after the guests stopped, then the ticket.
    await world.grant(B, 2, TicketPhase.DRAINING, A)

    async def final() -> bool:
        records = [await world.replica(), await world.replica("db0.d1")]
        return all(record is not None and record.site == A and record.complete[-1].final for record in records)

    await eventually(final, 30)
    copied = back.raw - raw
    print(f"failback: {changed} bytes changed, {copied} bytes copied, {held.diverged_bytes} bytes salvaged")
    assert copied <= 1.2 * changed
    await world.grant(A, 3)
    await promoted(world, A, 3)
    assert await checksum(stage, "a", "guests", "db0.d0.e3") == await checksum(stage, "b", "guests", "db0.d0.e2")
    assert await checksum(stage, "a", "guests", "db0.d0.e1", "salvage-e1") != common
    await next_cut(world)


async def test_a_hosts_key_cannot_write_replicas_or_base_images(stage: Stage) -> None:
    steward = RbdImages(access(stage, "a", STEWARD_CLIENT))
    host = RbdImages(access(stage, "a", HOST_CLIENT))
    await steward.ensure_empty("replicas", "keys.e1", 8 * MIB)
    await steward.ensure_empty("guests", "keys.e1", 8 * MIB)
    for pool in ("replicas", "images"):
        with pytest.raises(Permanent, match="may not"):
            await host.ensure_empty(pool, "intruder", MIB)
    with pytest.raises(Permanent, match="may not"):
        await host.ensure_snapshot("replicas", "keys.e1", "intruder")
    with pytest.raises(Permanent, match="may not"):
        await host.remove("replicas", "keys.e1")
    await host.ensure_snapshot("guests", "keys.e1", "allowed")


async def test_a_fence_ends_the_old_writer_and_lets_the_new_one_in(stage: Stage) -> None:
    await RbdImages(access(stage, "a", STEWARD_CLIENT)).ensure_empty("guests", "fenced.e1", 256 * MIB)
    fence = RbdFence(access(stage, "a", HOST_CLIENT, host=1))
    assert await fence.ensure_exclusive("guests", "fenced.e1") == ()
    old = asyncio.create_task(write(stage, "a", "fenced.e1", 8 * 1024 * MIB, host=2))

    async def fenced() -> tuple[str, ...]:
        try:
            return await fence.ensure_exclusive("guests", "fenced.e1")
        except (Retryable, OutcomeUnknown) as error:  # a busy machine: what production would try again
            print(error)
            return ()

    addresses = await eventually(fenced, 20)
    assert all(address.startswith("10.77.1.2:") for address in addresses)
    assert await asyncio.wait_for(old, 20) != 0
    assert await write(stage, "a", "fenced.e1", MIB, host=3) == 0


async def test_a_site_outlives_one_of_its_hosts_and_takes_it_back(stage: Stage) -> None:
    plan = stage.plans["a"]
    await RbdImages(access(stage, "a", STEWARD_CLIENT)).ensure_empty("guests", "survivor.e1", 64 * MIB)
    began = time.monotonic()
    await stage.kill_host("a1")

    async def written() -> bool:
        return await write(stage, "a", "survivor.e1", 4 * MIB, host=3) == 0

    await eventually(written, 30)
    print(f"writes went on {time.monotonic() - began:.1f} s after a host died")
    await start_host_daemons(plan, "a1", stage)

    async def whole() -> bool:
        status = await cluster_status(plan, stage)
        return status is not None and status["osdmap"]["num_up_osds"] == 3 and len(status["quorum"]) == 3

    await eventually(whole, 60)
