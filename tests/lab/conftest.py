"""The real region, brought up once for all lab tests and removed after them.

GEMEL_LAB_UNTIL=network|engines|control|hosts stops earlier; GEMEL_LAB_KEEP=1 uses a lab that is up and
leaves it. Both are for work on the tests; CI sets neither.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from gemel.lab.faults import FaultBench
from gemel.lab.preflight import check_this_machine
from gemel.lab.region import Region, Stage


@pytest.fixture(scope="session")
def region() -> Iterator[Region]:
    missing = check_this_machine()
    if missing:
        pytest.fail(f"lab tests cannot run here, and that is a failure: {missing}", pytrace=False)
    keep = os.environ.get("GEMEL_LAB_KEEP") == "1"
    region = Region(progress=lambda step, event, seconds: print(f"lab: {step} {event} {seconds:.1f} s"))
    if not keep:
        asyncio.run(region.down())
    asyncio.run(region.up(Stage(os.environ.get("GEMEL_LAB_UNTIL", Stage.HOSTS))))
    yield region
    if not keep:
        asyncio.run(region.down())


@pytest.fixture
async def bench(region: Region) -> AsyncIterator[FaultBench]:
    """Faults, healed after the test whatever it did."""
    bench = FaultBench(region.topology, region.folder)
    yield bench
    await bench.heal()
    for host in region.state.read().down_hosts:
        await region.start_host(host)
