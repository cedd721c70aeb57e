"""Step: guest images, built once and cached, then the region itself."""

import sys
import time

from gemel.catalog.records import Records
from gemel.demo.results import Ground, Results
from gemel.demo.workbench import Workbench
from gemel.lab.hosts import IMAGES
from gemel.lab.process import run
from gemel.lab.region import Stage
from gemel.lab.unitfile import REPOSITORY

IMAGES_WITHIN = 900.0


async def build_ground(bench: Workbench, so_far: Results) -> Ground:
    began = time.monotonic()
    with bench.narrator.waiting("guest images: built from Debian's packages the first time, about two minutes"):
        argv = [sys.executable, str(REPOSITORY / "scripts/build-images"), "--cache", str(IMAGES)]
        (await run(argv, IMAGES_WITHIN)).check()
    images = time.monotonic() - began
    bench.narrator.good(f"guest images are ready ({images:.1f} s)")
    began = time.monotonic()
    bench.narrator.say(
        "Two sites of three hosts, a witness, an outside with a client: network namespaces, and in them real etcd, "
        "Ceph, libvirt, QEMU, BIRD."
    )
    bench.narrator.command("gemel lab up")
    with bench.narrator.waiting("the region comes up"):
        await bench.region.up(Stage.HOSTS)
        await bench.watch()
        await bench.records.until("the region's records", _nobody_holds_a_lease, 15.0)
    lab = time.monotonic() - began
    bench.narrator.good(f"the region is up: six hosts hold their leases ({lab:.1f} s)")
    return Ground(images, lab)


def _nobody_holds_a_lease(records: Records) -> str:
    return "" if records.leases else "no lease is seen"
