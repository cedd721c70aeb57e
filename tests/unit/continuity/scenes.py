"""Scenes for the tickets' plan: one protected application of one guest with one volume, at par1."""

from collections.abc import Iterable
from typing import Any

from tests.unit.compute import scenes as compute
from tests.unit.compute.scenes import APP, GRA, NOW, PAR

from gemel.compute.placement import HostFacts
from gemel.compute.plan import Granted
from gemel.continuity.kinds import Ticket, TicketPhase
from gemel.continuity.plan import ApplicationFacts, Held, Plan, Scene, check_plan, plan_tickets
from gemel.core.identity import Epoch, GuestName, SiteName, VolumeName
from gemel.storage.kinds import Cut, CutPhase, CutVolume, ReplicaRecord, ReplicaSnapshot, VolumeRecord

VOLUME = VolumeName("db.data")
PAR_HOSTS = ("par1-1", "par1-2", "par1-3")
GRA_HOSTS = ("gra1-1", "gra1-2", "gra1-3")


def held(site: SiteName = PAR, epoch: int = 1, to: SiteName | None = None, revision: int = 30) -> Held:
    phase = TicketPhase.DRAINING if to else TicketPhase.ACTIVE
    return Held(Ticket(application=APP, site=site, epoch=Epoch(epoch), phase=phase, to=to, since=NOW), revision)


def application(protected: bool = True, automatic: bool = True) -> ApplicationFacts:
    return ApplicationFacts(APP, (GuestName("db"),), PAR, protected, automatic)


def volume(site: SiteName = PAR, epoch: int = 1) -> VolumeRecord:
    return VolumeRecord(
        volume=VOLUME,
        guest=GuestName("db"),
        application=APP,
        size=2**30,
        site=site,
        epoch=Epoch(epoch),
        image=f"{VOLUME}.e{epoch}",
        origin_snapshot=f"e{epoch}-0",
    )


def replica(
    site: SiteName = GRA, epoch: int = 1, sequences: Iterable[int] = (7,), final: int | None = None
) -> ReplicaRecord:
    """``final``: the sequence whose snapshot is marked as a final cut's."""
    complete = tuple(
        ReplicaSnapshot(snapshot=f"e{epoch}-{n}", sequence=n, taken_at=NOW, final=n == final) for n in sequences
    )
    return ReplicaRecord(
        volume=VOLUME, application=APP, site=site, epoch=Epoch(epoch), image=f"{VOLUME}.e{epoch}", complete=complete
    )


def cut(**changes: Any) -> Cut:
    """The final cut of the draining ticket of revision 30, taken."""
    part = CutVolume(volume=VOLUME, image=f"{VOLUME}.e1", snapshot="e1-8", since="e1-7", changed_bytes=1)
    fields: dict[str, Any] = {
        "application": APP,
        "epoch": 1,
        "sequence": 8,
        "phase": CutPhase.TAKEN,
        "volumes": (part,),
        "final": True,
        "ticket_revision": 30,
    }
    return Cut(**{**fields, **changes})


def scene(
    *,
    app: ApplicationFacts | None = None,
    ticket: Held | None = None,
    hosts: Iterable[HostFacts] = (),
    grants: Iterable[Granted] = (),
    reports: Iterable[Any] = (),
    volumes: Iterable[VolumeRecord] = (),
    replicas: Iterable[ReplicaRecord] = (),
    cuts: Iterable[Cut] = (),
    wish: SiteName | None = None,
    settled: Iterable[str] = (),
) -> Scene:
    return Scene(
        applications={APP: app or application()},
        tickets={APP: ticket} if ticket else {},
        compute=compute.scene(
            guests=[compute.guest("db")], hosts=hosts, grants=grants, reports=reports, rights={}, settled=settled
        ),
        volumes={each.volume: each for each in volumes},
        replicas={each.volume: each for each in replicas},
        cuts={each.application: each for each in cuts},
        wishes={APP: wish} if wish else {},
    )


def plan(of: Scene) -> Plan:
    """The plan, after the check that every plan must pass."""
    found = plan_tickets(of, NOW)
    check_plan(of, found)
    assert len(found.steps) + len(found.alarms) <= 1
    return found
