from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gemel.compute.kinds import GuestReport, GuestState
from gemel.continuity.kinds import Ticket
from gemel.core import layout
from gemel.core.identity import Epoch, GuestName, HostName, Incarnation, SiteName, VolumeName
from gemel.core.resource import Model
from gemel.core.store import KeyValue
from gemel.demo.breakdown import (
    Sighting,
    break_down,
    leases_gone,
    migration_downtime,
    promoted,
    shipped,
    ticket_moved,
)
from gemel.storage.kinds import Cut, CutPhase, CutVolume, ReplicaRecord, ReplicaSnapshot, VolumeRecord

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def seen(at: float, key: str, value: Model | None) -> Sighting:
    return Sighting(at, key, KeyValue(key, value.to_json(), 1, 1, 1) if value else None)


def ticket(site: str, epoch: int) -> Ticket:
    return Ticket(application="bank", site=SiteName(site), epoch=Epoch(epoch), since=NOW)


def volume(name: str, site: str, epoch: int) -> VolumeRecord:
    return VolumeRecord(
        volume=VolumeName(name),
        guest=GuestName("bank-db"),
        application="bank",
        size=2**30,
        site=SiteName(site),
        epoch=Epoch(epoch),
        image=f"{name}.e{epoch}",
        origin_snapshot=f"e{epoch}-0",
    )


def test_leases_are_gone_with_the_last_of_them() -> None:
    story = [
        seen(1.0, layout.lease("par1-1"), None),  # an earlier trouble
        seen(10.0, layout.lease("par1-1"), None),
        seen(11.0, layout.lease("gra1-1"), None),
        seen(12.0, layout.lease("par1-2"), None),
    ]
    both = frozenset({"par1-1", "par1-2"})
    assert leases_gone(story, both, after=5.0) == 12.0
    assert leases_gone(story[:3], both, after=5.0) is None


def test_the_ticket_moves_when_it_names_the_other_site() -> None:
    key = layout.ticket("bank")
    story = [seen(1.0, key, ticket("par1", 1)), seen(8.0, key, ticket("gra1", 2)), seen(9.0, key, ticket("gra1", 2))]
    assert ticket_moved(story, "bank", "gra1", 2.0) == 8.0
    assert ticket_moved(story, "shop", "gra1", 2.0) is None


def test_promotion_ends_with_the_last_volume() -> None:
    names = frozenset({"bank-db.root", "bank-db.data"})
    story = [
        seen(1.0, layout.volume("bank-db.root"), volume("bank-db.root", "par1", 1)),
        seen(7.0, layout.volume("bank-db.root"), volume("bank-db.root", "gra1", 2)),
        seen(8.0, layout.volume("bank-db.data"), volume("bank-db.data", "gra1", 2)),
    ]
    assert promoted(story, names, "gra1", 2.0) == 8.0
    assert promoted(story[:2], names, "gra1", 2.0) is None


def test_the_downtime_is_what_the_source_said() -> None:
    def report(host: str, downtime: float | None) -> Sighting:
        value = GuestReport(
            guest=GuestName("bank-db"),
            host=HostName(host),
            incarnation=Incarnation("i"),
            generation=2,
            state=GuestState.MIGRATING,
            epoch=Epoch(1),
            since=NOW,
            migration_downtime_ms=downtime,
        )
        return seen(5.0, layout.report(host, "bank-db"), value)

    story = [report("par1-1", 33.0), report("par1-2", None), seen(6.0, layout.report("par1-1", "bank-db"), None)]
    assert migration_downtime(story, "bank-db", 1.0) == 33.0
    assert migration_downtime(story, "bank-db", 5.5) is None


def test_what_was_not_seen_adds_its_time_to_the_next() -> None:
    spans = break_down(100.0, (("a", 110.0), ("b", None), ("c", 118.0), ("d", None)), 130.0)
    assert [(span.name, span.seconds) for span in spans] == [("a", 10.0), ("c", 8.0), ("d", 12.0)]


@given(st.lists(st.none() | st.floats(0, 200), min_size=1, max_size=6), st.floats(0, 100))
def test_the_spans_always_add_up(moments: list[float | None], length: float) -> None:
    marks = [(str(number), at) for number, at in enumerate(moments)]
    spans = break_down(50.0, marks, 50.0 + length)
    assert abs(sum(span.seconds for span in spans) - length) < 1e-6
    assert all(span.seconds >= -1e-9 for span in spans)


def cut(sequence: int, changed: int, phase: CutPhase = CutPhase.TAKEN, epoch: int = 2) -> Cut:
    part = CutVolume(
        volume=VolumeName("v"),
        image=f"v.e{epoch}",
        snapshot=f"e{epoch}-{sequence}",
        since="e2-0",
        changed_bytes=changed,
    )
    return Cut(application="bank", epoch=Epoch(epoch), sequence=sequence, phase=phase, volumes=(part,))


def replica(*sequences: int, wire: int = 0, epoch: int = 2) -> ReplicaRecord:
    done = tuple(ReplicaSnapshot(snapshot=f"e{epoch}-{each}", sequence=each, taken_at=NOW) for each in sequences)
    return ReplicaRecord(
        volume=VolumeName("v"),
        application="bank",
        site=SiteName("par1"),
        epoch=Epoch(epoch),
        image=f"v.e{epoch}",
        complete=done,
        shipped_bytes=wire,
    )


def test_shipped_counts_each_difference_once_and_only_when_it_arrived() -> None:
    cuts, copies = layout.cut("bank"), layout.replica("v")
    story = [
        seen(1, cuts, cut(3, 999, epoch=1)),  # of another epoch
        seen(2, copies, replica(0)),
        seen(3, cuts, cut(4, 0, CutPhase.FREEZING)),
        seen(4, cuts, cut(4, 0)),
        seen(5, cuts, cut(4, 1000)),  # measured a moment later
        seen(6, copies, replica(0, 4, wire=300)),
        seen(7, cuts, cut(5, 200)),
        seen(8, copies, replica(4, 5, wire=360)),  # pruned, and one more
        seen(9, cuts, cut(6, 50)),  # on its way
    ]
    found = shipped(story, "bank", 2)
    assert found is not None
    assert (found.changed, found.wire, found.differences) == (1200, 360, 2)
    assert shipped(story, "shop", 2) is None
