"""What a steward does on the site that keeps the copies: hold back what is stale, start replicas, receive."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from gemel.core import layout
from gemel.core.identity import VolumeName
from gemel.core.outcome import Absent, Conflict, GemelError, Permanent, Present, Retryable, Unknown
from gemel.storage import plan
from gemel.storage.desk import Change, Desk, all_of, log
from gemel.storage.kinds import (
    GUESTS_POOL,
    IMAGES_POOL,
    REPLICAS_POOL,
    Cut,
    CutVolume,
    QuarantineRecord,
    QuarantineState,
    ReplicaRecord,
    ReplicaSnapshot,
    VolumeRecord,
)
from gemel.storage.ports import BASE_SNAPSHOT, Difference, Image, Received
from gemel.storage.scene import Kept
from gemel.storage.writer import Case

TOLD_EVERY = 2.0
"""Seconds between two records of a transfer's progress."""


@dataclass
class _Progress:
    record: ReplicaRecord
    revision: int
    told_at: float


class Follower:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # -- return ------------------------------------------------------------------------------------------

    async def follow(self, case: Case, kept: Kept[VolumeRecord]) -> None:
        """Begin to copy a line that is written elsewhere now. What this site wrote under older epochs is
        held back and measured first; nothing of it is overwritten, the replica is another image."""
        volume = kept.value
        images = await self._names(GUESTS_POOL)
        for stale in plan.plan_return(volume, self._desk.site, images):
            await self._hold(case, volume, stale)
        await self._start_replica(case, volume)

    async def _hold(self, case: Case, volume: VolumeRecord, stale: plan.Stale) -> None:
        desk, key = self._desk, layout.quarantine(self._desk.site, stale.image)
        if key in case.scene.quarantine:
            return
        await desk.take_over(GUESTS_POOL, stale.image)
        seen = await self._seen(GUESTS_POOL, stale.image)
        if seen is None:
            return
        since = stale.since if stale.since in seen.snapshots else None
        diverged = await desk.images.changed_bytes(GUESTS_POOL, stale.image, since or "", None)
        if diverged == 0:
            return  # nothing exists here only; housekeeping removes it once the replica stands
        desk.check()
        salvage = plan.salvage_name(stale.epoch)
        await desk.images.ensure_snapshot(GUESTS_POOL, stale.image, salvage)
        ours = volume.parent_image == stale.image
        record = QuarantineRecord(
            name=stale.volume,
            what="volume",
            site=desk.site,
            application=case.name,
            epoch=stale.epoch,
            state=QuarantineState.SALVAGED,
            reason=f"epoch {stale.epoch} ended while this site wrote it; epoch {volume.epoch} went on from "
            f"{volume.parent_snapshot} on {volume.site}"
            if ours
            else f"an image of epoch {stale.epoch} that epoch {volume.epoch} does not stem from",
            since=desk.clock.wall(),
            pool=GUESTS_POOL,
            image=stale.image,
            snapshot=since or "",
            diverged_bytes=diverged,
        )
        await desk.commit(case.ticket, [Change(key, record, 0)])
        message = f"{diverged} bytes of {stale.volume} exist on {desk.site} only; kept as {stale.image}@{salvage}"
        await desk.tell(case.name, "Salvaged", message, case.epoch, warning=True)

    async def _start_replica(self, case: Case, volume: VolumeRecord) -> None:
        desk = self._desk
        desk.check()
        parent = await self._seen(GUESTS_POOL, volume.parent_image) if volume.parent_image else None
        start = plan.plan_start(volume, frozenset(parent.snapshots) if parent else None)
        if start.base is not None and not await desk.bases.ensure_named(start.base, dict(case.scene.images)):
            start = plan.ReplicaStart(None, None, True)
        name, old = volume.image, case.scene.replicas.get(volume.volume)
        await self._clear(name, start)
        if start.parent is not None:
            image, snapshot = start.parent
            await desk.images.ensure_clone(GUESTS_POOL, image, snapshot, REPLICAS_POOL, name, volume.size)
        elif start.base is not None:
            source = (IMAGES_POOL, start.base, BASE_SNAPSHOT)
            await desk.images.ensure_clone(*source, REPLICAS_POOL, name, volume.size)
        else:
            await desk.images.ensure_empty(REPLICAS_POOL, name, volume.size)
        if not start.whole:
            await desk.images.ensure_snapshot(REPLICAS_POOL, name, volume.origin_snapshot)
        record = _started(volume, desk, start)
        revision = old.revision if old else 0
        await desk.commit(case.ticket, [Change(layout.replica(volume.volume), record, revision)])
        how = "a whole copy: this site has nothing to start from" if start.whole else "differences only"
        log.info("replica started", volume=volume.volume, image=name, how=how, epoch=case.epoch)

    async def _clear(self, name: str, start: plan.ReplicaStart) -> None:
        """An image of this name that no record speaks of may be of any state: a fresh start costs little
        (a clone), and is always right."""
        if await self._seen(REPLICAS_POOL, name) is not None:
            await self._desk.take_over(REPLICAS_POOL, name)
            await self._desk.images.remove(REPLICAS_POOL, name)

    # -- differences -------------------------------------------------------------------------------------

    async def receive(self, case: Case, cut: Cut, parts: tuple[CutVolume, ...]) -> None:
        """Fetch, verify and import what is outstanding of a cut, two volumes at a time."""
        gate = asyncio.Semaphore(2)

        async def one(part: CutVolume) -> None:
            async with gate:
                try:
                    await self._receive(case, cut, part)
                except Conflict:
                    raise
                except GemelError as error:
                    await self._note(case, part.volume, str(error))
                    raise

        await all_of(one(part) for part in parts)

    async def _receive(self, case: Case, cut: Cut, part: CutVolume) -> None:
        desk, kept = self._desk, case.scene.replicas[part.volume]
        record = kept.value
        base = record.complete[-1].snapshot if record.complete else ""
        if part.since != base:
            raise Retryable(f"{part.volume}: the cut starts at {part.since}, the replica ends at {base or 'nothing'}")
        seen = await self._seen(REPLICAS_POOL, record.image)
        if seen is None or (base and base not in seen.snapshots):
            # The copy is gone from this site's Ceph: forget the record, and the replica starts anew.
            await desk.commit(case.ticket, [Change(layout.replica(part.volume), None, kept.revision)])
            raise Retryable(f"the replica {record.image} has lost its contents at {desk.site}: it is started anew")
        if part.snapshot in seen.snapshots:  # imported whole; only the record was missing
            await self._complete(case, cut, part, _Progress(record, kept.revision, 0.0), None)
            return
        dirty = record.receiving is not None or (seen.snapshots[-1:] != (base,) and bool(base))
        progress = await self._announce(case, part, kept)
        difference = Difference(part.volume, part.image, part.since, part.snapshot)
        policy = case.declared.policy
        received = await desk.transport.fetch(
            cut.source,
            difference,
            policy.bandwidth_limit if policy else None,
            lambda here, total: self._tell_progress(case, progress, here, total),
        )
        await desk.take_over(REPLICAS_POOL, record.image)
        if dirty:
            await self._cleanse(record, base)
        desk.check()
        async with aclosing(desk.transport.contents(difference)) as contents:
            await desk.images.import_diff(REPLICAS_POOL, record.image, contents)
        await self._complete(case, cut, part, progress, received)

    async def _announce(self, case: Case, part: CutVolume, kept: Kept[ReplicaRecord]) -> _Progress:
        """Before the first byte is imported the record says that the image may be between two states."""
        update = {"receiving": part.snapshot, "received_bytes": 0, "total_bytes": 0}
        record = kept.value.model_copy(update=update)
        revision = await self._desk.commit(case.ticket, [Change(layout.replica(part.volume), record, kept.revision)])
        return _Progress(record, revision, self._desk.clock.monotonic())

    async def _cleanse(self, record: ReplicaRecord, base: str) -> None:
        """An interrupted import may have left part of a difference behind."""
        self._desk.check()
        if base:
            await self._desk.images.ensure_rolled_back(REPLICAS_POOL, record.image, base)
            return
        seen = await self._seen(REPLICAS_POOL, record.image)
        await self._desk.images.remove(REPLICAS_POOL, record.image)
        await self._desk.images.ensure_empty(REPLICAS_POOL, record.image, seen.size if seen else 0)

    async def _tell_progress(self, case: Case, progress: _Progress, here: int, total: int) -> None:
        desk = self._desk
        if desk.clock.monotonic() - progress.told_at < TOLD_EVERY:
            return
        progress.told_at = desk.clock.monotonic()
        record = progress.record.model_copy(update={"received_bytes": here, "total_bytes": total})
        key = layout.replica(record.volume)
        progress.revision = await desk.commit(case.ticket, [Change(key, record, progress.revision)])
        progress.record = record

    async def _complete(
        self, case: Case, cut: Cut, part: CutVolume, progress: _Progress, received: Received | None
    ) -> None:
        """``received`` None: it was imported before, by a steward that died before it could say so."""
        record = progress.record
        assert cut.taken_at is not None
        snapshot = ReplicaSnapshot(
            snapshot=part.snapshot,
            sequence=cut.sequence,
            taken_at=cut.taken_at,
            consistent=cut.consistent,
            final=cut.final,
        )
        done = record.model_copy(
            update={
                "complete": (*record.complete, snapshot),
                "receiving": None,
                "received_bytes": 0,
                "total_bytes": 0,
                "shipped_bytes": record.shipped_bytes + (received.wire_bytes if received else 0),
                "copied_bytes": record.copied_bytes + (received.raw_bytes if received else 0),
                "error": "",
            }
        )
        await self._desk.commit(case.ticket, [Change(layout.replica(part.volume), done, progress.revision)])

    async def _note(self, case: Case, volume: VolumeName, error: str) -> None:
        """Keep the reason where people look; losing the race for it matters to nobody."""
        try:
            found = self._desk.scene().replicas.get(volume)
            if found is not None and found.value.error != error:
                record = found.value.model_copy(update={"error": error})
                await self._desk.commit(case.ticket, [Change(layout.replica(volume), record, found.revision)])
        except GemelError as lost:
            log.info("error of a replica not recorded", volume=volume, error=error, why=str(lost))

    async def adopt(self, case: Case, kept: Kept[ReplicaRecord]) -> None:
        """The line goes on under a newer epoch: so does its copy."""
        update = {"epoch": case.ticket.value.epoch, "application": case.name}
        record = kept.value.model_copy(update=update)
        await self._desk.commit(case.ticket, [Change(layout.replica(record.volume), record, kept.revision)])

    # -- what is no longer needed --------------------------------------------------------------------------

    async def prune(self, case: Case) -> None:
        """Records first, then snapshots: what a record names exists."""
        desk = self._desk
        for record in case.records:
            kept = case.scene.replicas.get(record.volume)
            seen = await desk.images.observe(REPLICAS_POOL, record.image)
            if kept is None or not isinstance(seen, Present):
                continue
            gone = plan.plan_pruning(record, case.common, seen.value.snapshots)
            gone = tuple(name for name in gone if name != kept.value.complete[-1].snapshot)
            shorter = plan.pruned(kept.value, gone)
            if shorter is not None:
                await desk.commit(case.ticket, [Change(layout.replica(record.volume), shorter, kept.revision)])
            for name in gone:
                desk.check()
                await desk.images.remove_snapshot(REPLICAS_POOL, record.image, name)

    async def retire(self, case: Case) -> None:
        """Stale images whose salvage was kept as long as the policy says, and those that hold none."""
        desk = self._desk
        images = await self._names(GUESTS_POOL)
        keep = timedelta(seconds=case.declared.policy.keep_salvage) if case.declared.policy else timedelta(days=36500)
        for record in case.records:
            replica = case.scene.replicas.get(record.volume)
            if replica is None or not plan.follows(replica.value, record) or not replica.value.complete:
                continue
            for stale in plan.plan_return(record, desk.site, images):
                key = layout.quarantine(desk.site, stale.image)
                held = case.scene.quarantine.get(key)
                if held is not None and held.value.since + keep > desk.clock.wall():
                    continue
                if held is None and not await self._holds_nothing(stale):
                    continue
                desk.check()
                await desk.images.remove(GUESTS_POOL, stale.image)
                if held is not None:
                    await desk.commit(case.ticket, [Change(key, None, held.revision)])

    async def _holds_nothing(self, stale: plan.Stale) -> bool:
        """Looked at again before the image goes: its common point is there and nothing was written since."""
        seen = await self._seen(GUESTS_POOL, stale.image)
        if seen is None or stale.since not in seen.snapshots:
            return False
        return await self._desk.images.changed_bytes(GUESTS_POOL, stale.image, stale.since, None) == 0

    async def _names(self, pool: str) -> frozenset[str]:
        found = await self._desk.images.names(pool)
        if isinstance(found, Unknown):
            raise Retryable(f"cannot tell which images {self._desk.site} has in pool {pool}: {found.why}")
        return found.value

    async def _seen(self, pool: str, name: str) -> Image | None:
        match await self._desk.images.observe(pool, name):
            case Present(image):
                return image
            case Absent():
                return None
            case Unknown(why):
                raise Retryable(f"cannot tell what {pool}/{name} holds: {why}")


def _started(volume: VolumeRecord, desk: Desk, start: plan.ReplicaStart) -> ReplicaRecord:
    if volume.origin_at is None and not start.whole:
        raise Permanent(f"the record of {volume.volume} does not say when its origin was taken")
    origin = (
        ()
        if start.whole or volume.origin_at is None
        else (
            ReplicaSnapshot(
                snapshot=volume.origin_snapshot,
                sequence=volume.origin_sequence,
                taken_at=volume.origin_at,
                consistent="origin",
            ),
        )
    )
    return ReplicaRecord(
        volume=volume.volume,
        application=volume.application,
        site=desk.site,
        epoch=volume.epoch,
        image=volume.image,
        complete=origin,
    )
