"""What a steward does on the site that holds an application's ticket: create, promote, cut, prune."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gemel.core import layout
from gemel.core.identity import GuestName, HostName, VolumeName
from gemel.core.outcome import Permanent, Present
from gemel.storage import plan
from gemel.storage.desk import Change, Desk, all_of, log
from gemel.storage.kinds import GUESTS_POOL, IMAGES_POOL, REPLICAS_POOL, Cut, CutPhase, ReplicaRecord, VolumeRecord
from gemel.storage.neighbours import TicketReading
from gemel.storage.ports import BASE_SNAPSHOT
from gemel.storage.scene import ApplicationScene, Kept, Scene, Wish

ANSWER_WITHIN = 2.4
"""Seconds that agents get to freeze their guests."""
FROZEN_FOR = 3.0
"""A guest thaws by itself so long after it was frozen, so one that was asked to freeze at t and did is
surely still frozen until t + FROZEN_FOR."""


@dataclass(frozen=True, slots=True)
class Case:
    """An application under its ticket, all of one revision."""

    scene: Scene
    declared: ApplicationScene
    ticket: Kept[TicketReading]

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def epoch(self) -> int:
        return self.ticket.value.epoch

    @property
    def volumes(self) -> tuple[Kept[VolumeRecord], ...]:
        return self.scene.volumes_of(self.name)

    @property
    def records(self) -> list[VolumeRecord]:
        return [kept.value for kept in self.volumes]

    @property
    def replicas(self) -> dict[VolumeName, ReplicaRecord]:
        names = {kept.value.volume for kept in self.volumes}
        return {name: kept.value for name, kept in self.scene.replicas.items() if name in names}

    @property
    def cut(self) -> Kept[Cut] | None:
        return self.scene.cuts.get(self.name)

    @property
    def common(self) -> int | None:
        return plan.newest_common(self.records, self.replicas)


class Writer:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # -- volumes -----------------------------------------------------------------------------------------

    async def create(self, case: Case, wish: Wish) -> None:
        """A new volume: a clone of its base image, or empty. Its record makes it usable."""
        desk, name = self._desk, plan.image_name(wish.volume, case.epoch)
        desk.check()
        base = await self._fill(case, wish, name)
        origin = plan.snapshot_name(case.epoch, 0)
        await desk.images.ensure_snapshot(GUESTS_POOL, name, origin)
        record = VolumeRecord(
            volume=wish.volume,
            guest=wish.guest,
            application=case.name,
            size=wish.size,
            site=desk.site,
            epoch=case.ticket.value.epoch,
            image=name,
            base_image=base,
            origin_snapshot=origin,
            origin_sequence=case.cut.value.sequence if case.cut else 0,
            origin_at=desk.clock.wall(),
        )
        await desk.commit(case.ticket, [Change(layout.volume(wish.volume), record, 0)])
        log.info("volume created", volume=wish.volume, image=name, application=case.name, epoch=case.epoch)

    async def _fill(self, case: Case, wish: Wish, name: str) -> str | None:
        desk = self._desk
        if wish.image is None:
            await desk.images.ensure_empty(GUESTS_POOL, name, wish.size)
            return None
        spec = case.scene.images.get(wish.image)
        if spec is None:
            raise Permanent(f"volume {wish.volume} wants image {wish.image}, which is not declared: apply it first")
        base = await desk.bases.ensure(wish.image, spec)
        await desk.images.ensure_clone(IMAGES_POOL, base, BASE_SNAPSHOT, GUESTS_POOL, name, wish.size)
        return base

    async def adopt(self, case: Case, records: tuple[Kept[VolumeRecord], ...]) -> None:
        """The ticket grew, and what is here is the newest there is: the same images, under its epoch."""
        changes = [
            Change(
                layout.volume(kept.value.volume),
                kept.value.model_copy(update={"epoch": case.ticket.value.epoch, "application": case.name}),
                kept.revision,
            )
            for kept in records
        ]
        await self._desk.commit(case.ticket, changes)

    async def promote(self, case: Case, promotion: plan.Promotion) -> None:
        """Clone the chosen snapshots, then rewrite all records at once: all writable, or none."""
        desk = self._desk
        await all_of(self._clone(step) for step in promotion.volumes)
        held, copies = case.scene.volumes, case.scene.replicas
        changes = [
            Change(layout.volume(step.after.volume), step.after, held[step.after.volume].revision)
            for step in promotion.volumes
        ]
        also = [
            Change(layout.replica(step.after.volume), step.replica, copies[step.after.volume].revision)
            for step in promotion.volumes
        ]
        # The replicas' records are written back as they are: no import can be committed across this.
        await desk.commit(case.ticket, [*changes, *also])
        taken = min(step.snapshot.taken_at for step in promotion.volumes)
        message = f"{len(changes)} volumes writable on {desk.site} as of {taken.isoformat()} (cut {promotion.sequence})"
        await desk.tell(case.name, "Promoted", message, case.epoch)

    async def _clone(self, step: plan.VolumePromotion) -> None:
        desk, after = self._desk, step.after
        desk.check()
        source = (REPLICAS_POOL, step.replica.image, step.snapshot.snapshot)
        await desk.images.ensure_clone(*source, GUESTS_POOL, after.image, after.size)
        await desk.images.ensure_snapshot(GUESTS_POOL, after.image, after.origin_snapshot)

    # -- cuts --------------------------------------------------------------------------------------------

    async def take_cut(self, case: Case, due: plan.Due) -> None:
        """Freeze where possible, snapshot every volume, thaw. Whatever interrupts it, no snapshot of it is
        used, and the next cut has a new sequence."""
        desk = self._desk
        guests = () if due.final else self._to_freeze(case)
        cut = Cut(
            application=case.name,
            epoch=case.ticket.value.epoch,
            sequence=due.sequence,
            phase=CutPhase.FREEZING,
            guests=guests,
            final=due.final,
            ticket_revision=due.ticket_revision,
        )
        began = desk.clock.monotonic()
        revision = case.cut.revision if case.cut else 0
        if guests:
            revision = await desk.commit(case.ticket, [Change(layout.cut(case.name), cut, revision)])
            await self._answered(case, cut, began + ANSWER_WITHIN)
        taken_at = desk.clock.wall()
        await self._snapshot_all(case, cut)
        in_time = desk.clock.monotonic() < began + FROZEN_FOR
        taken = self._taken(case, cut, taken_at, in_time)
        revision = await desk.commit(case.ticket, [Change(layout.cut(case.name), taken, revision)])
        measured = await self._measured(taken)
        await desk.commit(case.ticket, [Change(layout.cut(case.name), measured, revision)])

    def _to_freeze(self, case: Case) -> tuple[GuestName, ...]:
        policy = case.declared.policy
        wanted = policy is not None and policy.consistency == "application"
        disks: dict[GuestName, int] = {}
        for record in case.records:
            disks[record.guest] = disks.get(record.guest, 0) + 1
        running = [guest for guest in disks if _host_of(case.scene, guest) is not None]
        return plan.plan_freeze(running, disks, case.declared.agents, wanted)

    async def _answered(self, case: Case, cut: Cut, until: float) -> None:
        """Wait for every host that runs one of the guests; what is missing then counts as not frozen."""
        desk = self._desk
        hosts = {host for guest in cut.guests if (host := _host_of(case.scene, guest)) is not None}
        while (left := until - desk.clock.monotonic()) > 0:
            seen = desk.view.changes
            answers = desk.scene().answers
            if all(_answers(answers, case.name, host, cut.sequence) for host in hosts):
                return
            await desk.view.wait_change(left, seen)

    async def _snapshot_all(self, case: Case, cut: Cut) -> None:
        name = plan.snapshot_name(cut.epoch, cut.sequence)
        self._desk.check()
        images = self._desk.images
        await all_of(images.ensure_snapshot(record.pool, record.image, name) for record in case.records)

    def _taken(self, case: Case, cut: Cut, taken_at: datetime, in_time: bool) -> Cut:
        parts = plan.plan_parts(cut.epoch, cut.sequence, case.records, case.replicas)
        return cut.model_copy(
            update={
                "phase": CutPhase.TAKEN,
                "taken_at": taken_at,
                "consistent": self._worth(case, cut, in_time),
                "volumes": parts,
                "source": self._desk.transport.source,
            }
        )

    def _worth(self, case: Case, cut: Cut, in_time: bool) -> str:
        """``application``, ``guest`` or ``crash``, with the reason when more was wanted."""
        if cut.final:
            return "application"  # the guests were stopped, their file systems are at rest
        if cut.guests and not in_time:
            return "crash (snapshots took longer than guests stay frozen)"
        answers = [
            answer
            for (application, _), answer in self._desk.scene().answers.items()
            if application == case.name and answer.sequence == cut.sequence
        ]
        frozen = {guest for answer in answers for guest in answer.frozen}
        held = frozen | {guest for answer in answers for guest in answer.suspended}
        if missing := sorted(set(cut.guests) - held):
            whys = {guest: why for answer in answers for guest, why in answer.failed.items()}
            told = ", ".join(f"{guest}: {whys.get(guest, 'its host did not answer in time')}" for guest in missing)
            return f"crash ({told})"
        writers = {record.guest for record in case.records if _host_of(case.scene, record.guest)}
        wanted = case.declared.policy is not None and case.declared.policy.consistency == "application"
        if writers <= frozen:
            return "application"
        without = ", ".join(sorted(writers - frozen))
        return f"guest (no guest agent in {without})" if wanted else "guest"

    async def _measured(self, cut: Cut) -> Cut:
        images = self._desk.images
        parts = []
        for part in cut.volumes:
            changed = await images.changed_bytes(GUESTS_POOL, part.image, part.since, part.snapshot)
            parts.append(part.model_copy(update={"changed_bytes": changed}))
        return cut.model_copy(update={"volumes": tuple(parts)})

    async def amend(self, case: Case, cut: Cut) -> None:
        assert case.cut is not None
        revision = await self._desk.commit(case.ticket, [Change(layout.cut(case.name), cut, case.cut.revision)])
        measured = await self._measured(cut)
        if measured != cut:
            await self._desk.commit(case.ticket, [Change(layout.cut(case.name), measured, revision)])

    # -- pruning -----------------------------------------------------------------------------------------

    async def prune(self, case: Case) -> None:
        """Drop the snapshots that neither side needs any more, and replicas of lines that ended here."""
        desk = self._desk
        cut = case.cut.value if case.cut else None
        for record in case.records:
            seen = await desk.images.observe(record.pool, record.image)
            if not isinstance(seen, Present):
                continue
            for name in plan.plan_pruning(record, case.common, seen.value.snapshots, cut):
                desk.check()
                await desk.images.remove_snapshot(record.pool, record.image, name)
        await self._drop_old_replicas(case)

    async def _drop_old_replicas(self, case: Case) -> None:
        """A replica was promoted here, so it is not the other side's copy: its clones keep what they need."""
        desk = self._desk
        names = await desk.images.names(REPLICAS_POOL)
        if not isinstance(names, Present):
            return
        lines = {record.volume: record for record in case.records}
        for name in sorted(names.value):
            parsed = plan.parse_image(name)
            record = lines.get(parsed[0]) if parsed else None
            if parsed and record and parsed[1] < record.epoch and name != record.image:
                desk.check()
                await desk.images.remove(REPLICAS_POOL, name)


def _host_of(scene: Scene, guest: str) -> HostName | None:
    """The host whose QEMU executes the guest, as it reported itself."""
    for (host, name), report in scene.reports.items():
        if name == guest and report.state in ("Running", "Migrating"):
            return host
    return None


def _answers(answers: Mapping[tuple[str, HostName], object], application: str, host: HostName, sequence: int) -> bool:
    answer = answers.get((application, host))
    return answer is not None and getattr(answer, "sequence", None) == sequence
