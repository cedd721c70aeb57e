"""The real region, brought up once for all lab tests and removed after them.

GEMEL_LAB_UNTIL=network|engines|control|hosts stops earlier; GEMEL_LAB_KEEP=1 uses a lab that is up and
leaves it. Both are for work on the tests; CI sets neither.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gemel.core.outcome import Permanent
from gemel.lab import namespaces
from gemel.lab.faults import FaultBench
from gemel.lab.preflight import check_this_machine
from gemel.lab.region import Region, Stage
from tests.waiting import eventually

KEEP = os.environ.get("GEMEL_LAB_KEEP") == "1"


@dataclass(frozen=True)
class Rehearsal:
    """What was seen when `gemel lab up` was killed in the middle, its state lost, and `down` called."""

    was_under_way: bool
    refused: bool
    left: tuple[str, ...]


def _require_machine() -> None:
    missing = check_this_machine()
    if missing:
        pytest.fail(f"lab tests cannot run here, and that is a failure: {missing}", pytrace=False)


def _running() -> int:
    found = namespaces.observe_processes(namespaces.observe_namespaces())
    return sum(len(pids) for pids in found.values())


async def _rehearse() -> Rehearsal:
    region = Region()
    await region.down()
    gemel = str(Path(sys.executable).parent / "gemel")
    child = await asyncio.create_subprocess_exec(
        gemel, "lab", "up", "--until", "engines", stdout=asyncio.subprocess.DEVNULL
    )
    refused = False
    try:
        # Nine routers, three store members, and more: Ceph's bootstrap has begun.
        await eventually(lambda: _running() > 13, within=60, what="daemons of a region that comes up")
        try:
            await region.up(Stage.NETWORK)
        except Permanent:
            refused = True
    finally:
        child.kill()
        await child.wait()
    under_way = _running() > 9
    region.folder.state_file.unlink()
    await region.down()
    return Rehearsal(under_way, refused, namespaces.observe_leftovers(region.folder))


@pytest.fixture(scope="session")
def rehearsal() -> Rehearsal:
    _require_machine()
    if KEEP:
        pytest.fail("GEMEL_LAB_KEEP=1 keeps a lab that is up: coming up and going down cannot be tested")
    return asyncio.run(_rehearse())


@pytest.fixture(scope="session")
def region(request: pytest.FixtureRequest) -> Iterator[Region]:
    _require_machine()
    if not KEEP:
        request.getfixturevalue("rehearsal")  # before there is a region that it would remove
    region = Region(progress=lambda step, event, seconds: print(f"lab: {step} {event} {seconds:.1f} s"))
    asyncio.run(region.up(Stage(os.environ.get("GEMEL_LAB_UNTIL", Stage.HOSTS))))
    yield region
    if not KEEP:
        asyncio.run(region.down())


@pytest.fixture
async def bench(region: Region) -> AsyncIterator[FaultBench]:
    """Faults, healed after the test whatever it did."""
    bench = FaultBench(region.topology, region.folder)
    yield bench
    await bench.heal()
    for host in region.state.read().down_hosts:
        await region.start_host(host)
