from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gemel.catalog.records import Records
from gemel.compute.kinds import HostLease
from gemel.core import layout
from gemel.core.identity import Epoch, GuestName, HostName, Incarnation, SiteName, VolumeName
from gemel.core.resource import Model
from gemel.core.store import KeyValue
from gemel.demo.conditions import (
    held_guests,
    kept_back,
    not_accounted,
    not_alive,
    not_protected,
    not_running,
)
from gemel.storage.kinds import QuarantineRecord, QuarantineState, ReplicaRecord, ReplicaSnapshot, VolumeRecord

NOW = datetime(2026, 1, 2, 3, 0, 0, tzinfo=UTC)
DATA = VolumeName("bank-db.data")
POLICY = (
    b'{"apiVersion":"gemel/v1","kind":"ProtectionPolicy","metadata":{"name":"critical"},"spec":{"recoveryPoint":"20s"}}'
)
BANK = (
    b'{"apiVersion":"gemel/v1","kind":"Application","metadata":{"name":"bank"},"spec":{"selector":{"matchLabels":'
    b'{"app":"bank"}},"preferredSite":"par1","protection":"critical"}}'
)
DECLARED = {layout.resource("ProtectionPolicy", "critical"): POLICY, layout.resource("Application", "bank"): BANK}


def records(models: Mapping[str, Model]) -> Records:
    raw = {**DECLARED, **{key: model.to_json() for key, model in models.items()}}
    return Records({key: KeyValue(key, value, 1, 1, 1) for key, value in raw.items()}, 1)


def volume(epoch: int = 1, site: str = "par1") -> VolumeRecord:
    return VolumeRecord(
        volume=DATA,
        guest=GuestName("bank-db"),
        application="bank",
        size=2**30,
        site=SiteName(site),
        epoch=Epoch(epoch),
        image=f"{DATA}.e{epoch}",
        origin_snapshot=f"e{epoch}-0",
    )


def replica(age: float, epoch: int = 1, site: str = "gra1", error: str = "") -> ReplicaRecord:
    taken = ReplicaSnapshot(snapshot=f"e{epoch}-1", sequence=1, taken_at=NOW - timedelta(seconds=age))
    return ReplicaRecord(
        volume=DATA,
        application="bank",
        site=SiteName(site),
        epoch=Epoch(epoch),
        image=f"{DATA}.e{epoch}",
        complete=(taken,),
        error=error,
    )


def held(name: str, what: str, since: datetime = NOW, diverged: int | None = None) -> QuarantineRecord:
    return QuarantineRecord(
        name=name,
        what=what,
        site=SiteName("par1"),
        application="bank",
        epoch=Epoch(1),
        state=QuarantineState.SALVAGED if what == "volume" else QuarantineState.HELD,
        reason="",
        since=since,
        diverged_bytes=diverged,
    )


def with_copy(copy: ReplicaRecord) -> Records:
    return records({layout.volume(DATA): volume(), layout.replica(DATA): copy})


def test_protected_is_a_complete_young_copy_that_was_taken_since() -> None:
    long_ago = NOW - timedelta(hours=1)
    assert not_protected(with_copy(replica(5)), "bank", long_ago, NOW) == ""
    assert "Late" in not_protected(with_copy(replica(21)), "bank", long_ago, NOW)
    assert "since then" in not_protected(with_copy(replica(5)), "bank", NOW - timedelta(seconds=2), NOW)
    assert "link down" in not_protected(with_copy(replica(5, error="link down")), "bank", long_ago, NOW)
    assert "Unreplicated" in not_protected(records({layout.volume(DATA): volume()}), "bank", long_ago, NOW)


def test_an_application_without_volumes_is_not_protected_yet() -> None:
    assert "no volumes" in not_protected(records({}), "bank", NOW, NOW)


def test_a_copy_that_follows_an_older_writer_is_not_accounted() -> None:
    after = {layout.volume(DATA): volume(2, "gra1")}
    assert "have not started" in not_accounted(records(after), "bank", "par1")
    old = {**after, layout.replica(DATA): replica(5, 1, "gra1")}
    assert "have not started" in not_accounted(records(old), "bank", "par1")
    new = {**after, layout.replica(DATA): replica(5, 2, "par1")}
    assert not_accounted(records(new), "bank", "par1") == ""


def test_a_host_without_lease_is_missing() -> None:
    lease = HostLease(
        host=HostName("par1-1"),
        site=SiteName("par1"),
        incarnation=Incarnation("i"),
        address="198.18.1.11",  # type: ignore[arg-type]
        ttl=10.0,
    )
    here = records({layout.lease("par1-1"): lease})
    assert not_alive(here, ["par1-1"]) == ""
    assert not_alive(here, ["par1-1", "par1-2"]) == "no lease of par1-2"


def test_a_guest_that_nobody_knows_does_not_run() -> None:
    assert "bank-db" in not_running(records({}), ["bank-db"])


def test_only_this_return_is_counted() -> None:
    before = NOW - timedelta(minutes=5)
    found = records(
        {
            layout.quarantine("par1", "guest.bank-db"): held("bank-db", "guest"),
            layout.quarantine("par1", "guest.bank-web-1"): held("bank-web-1", "guest", since=before),
            layout.quarantine("par1", f"{DATA}.e1"): held(DATA, "volume", diverged=4096),
        }
    )
    assert held_guests(found, "par1", ["bank-db", "bank-web-1"], NOW) == {"bank-db"}
    assert held_guests(found, "gra1", ["bank-db"], NOW) == frozenset()
    assert kept_back(found, "par1", NOW) == (2, 4096)


def test_bytes_that_nobody_measured_are_unknown() -> None:
    found = records({layout.quarantine("par1", f"{DATA}.e1"): held(DATA, "volume")})
    assert kept_back(found, "par1", NOW) == (1, None)
