"""What the plans promise, over made-up histories of cuts that arrive, or do not."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gemel.core.identity import Epoch, GuestName, SiteName, VolumeName
from gemel.storage import plan
from gemel.storage.kinds import Cut, CutPhase, ReplicaRecord, ReplicaSnapshot, VolumeRecord

A, B = SiteName("par1"), SiteName("gra1")
START = datetime(2026, 1, 1, tzinfo=UTC)


def volume(number: int, origin: int) -> VolumeRecord:
    name = VolumeName(f"db.d{number}")
    return VolumeRecord(
        volume=name,
        guest=GuestName("db"),
        application="bank",
        size=2**30,
        site=A,
        epoch=Epoch(1),
        image=f"{name}.e1",
        origin_snapshot="e1-0",
        origin_sequence=origin,
        origin_at=START,
    )


def snapshot(sequence: int, name: str | None = None) -> ReplicaSnapshot:
    return ReplicaSnapshot(
        snapshot=name or f"e1-{sequence}", sequence=sequence, taken_at=START + timedelta(seconds=sequence)
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[VolumeRecord], dict[VolumeName, ReplicaRecord], int]:
    """Volumes of one application, created at different moments, each with some prefix of its cuts complete."""
    newest = draw(st.integers(0, 12))
    volumes, replicas = [], {}
    for number in range(draw(st.integers(1, 4))):
        origin = draw(st.integers(0, newest))
        record = volume(number, origin)
        arrived = draw(st.integers(origin, newest))
        complete = [snapshot(origin, "e1-0"), *(snapshot(n) for n in range(origin + 1, arrived + 1))]
        kept = complete[draw(st.integers(0, len(complete) - 1)) :]
        volumes.append(record)
        replicas[record.volume] = ReplicaRecord(
            volume=record.volume,
            application="bank",
            site=B,
            epoch=Epoch(1),
            image=record.image,
            complete=tuple(kept),
        )
    return volumes, replicas, newest


@given(histories())
def test_a_promotion_uses_complete_snapshots_of_one_moment(
    history: tuple[list[VolumeRecord], dict[VolumeName, ReplicaRecord], int],
) -> None:
    volumes, replicas, _ = history
    chosen = plan.plan_promotion(volumes, replicas, B, 2)
    if isinstance(chosen, plan.Refusal):
        assert chosen.reasons
        return
    for step in chosen.volumes:
        assert step.snapshot in replicas[step.before.volume].complete
        same_moment = step.snapshot.sequence == chosen.sequence
        untouched_until_then = (
            step.snapshot.snapshot == step.before.origin_snapshot and step.snapshot.sequence >= chosen.sequence
        )
        assert same_moment or untouched_until_then
        assert (step.after.site, step.after.epoch, step.after.image) == (B, 2, f"{step.before.volume}.e2")
    newer = {each.sequence for replica in replicas.values() for each in replica.complete if each.sequence}
    for sequence in (number for number in newer if number > chosen.sequence):
        assert any(plan.serving(each, replicas[each.volume], sequence) is None for each in volumes)


@given(histories())
def test_pruning_keeps_what_a_promotion_and_the_way_back_need(
    history: tuple[list[VolumeRecord], dict[VolumeName, ReplicaRecord], int],
) -> None:
    volumes, replicas, newest = history
    common = plan.newest_common(volumes, replicas)
    before = plan.plan_promotion(volumes, replicas, B, 2)
    thinner = {}
    for record in volumes:
        replica = replicas[record.volume]
        names = [each.snapshot for each in replica.complete]
        gone = plan.plan_pruning(record, common, names)
        assert replica.complete[-1].snapshot not in gone or common is None
        thinner[record.volume] = plan.pruned(replica, gone) or replica
    after = plan.plan_promotion(volumes, thinner, B, 2)
    if isinstance(before, plan.Promotion):
        assert isinstance(after, plan.Promotion) and after.sequence == before.sequence
        for step in before.volumes:
            written = ["e1-0", *(f"e1-{n}" for n in range(step.before.origin_sequence + 1, newest + 1))]
            removed = plan.plan_pruning(step.before, common, written)
            assert step.after.parent_snapshot not in removed, "the writer could not go back to the common point"
            assert replicas[step.before.volume].complete[-1].snapshot not in removed, "the next difference has no start"


@given(histories(), st.integers(1, 5))
def test_what_the_writer_pruned_is_never_what_a_later_promotion_takes(
    history: tuple[list[VolumeRecord], dict[VolumeName, ReplicaRecord], int], more: int
) -> None:
    """Records only move forward, so what was safe to drop by an older look stays safe."""
    volumes, replicas, newest = history
    common = plan.newest_common(volumes, replicas)
    later = {
        name: replica.model_copy(
            update={
                "complete": (
                    *replica.complete,
                    *(snapshot(n) for n in range(replica.complete[-1].sequence + 1, newest + more + 1)),
                )
            }
        )
        for name, replica in replicas.items()
    }
    chosen = plan.plan_promotion(volumes, later, B, 2)
    assert isinstance(chosen, plan.Promotion)
    for step in chosen.volumes:
        written = ["e1-0", *(f"e1-{n}" for n in range(step.before.origin_sequence + 1, newest + more + 1))]
        assert step.snapshot.snapshot not in plan.plan_pruning(step.before, common, written)


@given(
    sequence=st.integers(1, 9),
    phase=st.sampled_from(CutPhase),
    epoch=st.integers(1, 3),
    since=st.none() | st.floats(0, 60),
    draining=st.none() | st.builds(plan.Draining, st.integers(1, 99), st.booleans()),
)
def test_a_cut_never_takes_a_number_again_and_never_starts_beside_another(
    sequence: int, phase: CutPhase, epoch: int, since: float | None, draining: plan.Draining | None
) -> None:
    record = volume(0, 0)
    replicas = {
        record.volume: ReplicaRecord(
            volume=record.volume,
            application="bank",
            site=B,
            epoch=Epoch(1),
            image=record.image,
            complete=(snapshot(0),),
        )
    }
    parts = plan.plan_parts(epoch, sequence, [record], replicas)
    cut = Cut(application="bank", epoch=Epoch(epoch), sequence=sequence, phase=phase, volumes=parts)
    due = plan.plan_cycle(cut, 1, [record], replicas, plan.Pace(since, 20.0), draining)
    if due is not None:
        assert due.sequence > sequence
        assert not plan.under_way(cut, 1, replicas)
        assert due.final is (draining is not None)
        assert draining is None or draining.stopped
