"""How much of each volume is not on the other side yet: measured between cuts, for people. Decides nothing.

The cut under way says what it carries; what was written since the last complete snapshot is what would be
lost with the site, and grows while the sites cannot talk.
"""

import asyncio

from gemel.core import layout
from gemel.core.outcome import GemelError
from gemel.core.resource import Model
from gemel.core.store import Put
from gemel.storage import plan
from gemel.storage.desk import Desk, log
from gemel.storage.kinds import GUESTS_POOL, Backlog, ReplicaRecord, VolumeRecord
from gemel.storage.scene import Scene

EVERY = 10.0
"""Seconds between measurements. One costs some 40 ms of the `rbd` program a volume."""


def plan_measurements(scene: Scene, site: str) -> tuple[tuple[VolumeRecord, ReplicaRecord], ...]:
    """The volumes that this site writes and that have a complete copy of the same line elsewhere. Pure."""
    found = []
    for name, volume in sorted(scene.volumes.items()):
        replica = scene.replicas.get(name)
        if volume.value.site != site or replica is None or not replica.value.complete:
            continue
        if replica.value.epoch == volume.value.epoch and plan.follows(replica.value, volume.value):
            found.append((volume.value, replica.value))
    return tuple(found)


async def keep_measuring(desk: Desk) -> None:
    """Until cancelled. Failures are said and tried again: a figure for people must not disturb the work."""
    written: dict[str, Model] = {}
    while True:
        await desk.clock.sleep(EVERY)
        if not desk.authority():
            continue
        for volume, replica in plan_measurements(desk.scene(), desk.site):
            try:
                await _measure(desk, volume, replica, written)
            except GemelError as error:
                log.info("backlog not measured", volume=volume.volume, epoch=volume.epoch, error=str(error))
            await asyncio.sleep(0)


async def _measure(desk: Desk, volume: VolumeRecord, replica: ReplicaRecord, written: dict[str, Model]) -> None:
    since = replica.complete[-1].snapshot
    size = await desk.images.changed_bytes(GUESTS_POOL, volume.image, since, None)
    backlog = Backlog(volume=volume.volume, epoch=volume.epoch, since=since, size=size, measured_at=desk.clock.wall())
    before = written.get(volume.volume)
    if before is not None and backlog == before.model_copy(update={"measured_at": backlog.measured_at}):
        return
    desk.check()
    done = await desk.store.commit([desk.term.guard()], [Put(layout.backlog(volume.volume), backlog.to_json())])
    if done.succeeded:
        written[volume.volume] = backlog
