"""Small regions to plan from: two sites of three hosts, one application of two guests. Every builder says what
differs, so that a test shows in one line what it is about."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from gemel.compute.kinds import Assignment, GuestReport, GuestState
from gemel.compute.placement import GuestFacts, HostFacts
from gemel.compute.plan import Granted, Reported, Right, Scene
from gemel.core.identity import Epoch, GuestName, HostName, Incarnation, SiteName

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAR, GRA = SiteName("par1"), SiteName("gra1")
APP = "bank"
GIB = 2**30


def life(host: str, number: int = 1) -> Incarnation:
    return Incarnation(f"{host}#{number}")


def host(name: str, **changes: object) -> HostFacts:
    """A host with lease; its site is the first part of its name."""
    facts = HostFacts(
        name=HostName(name),
        site=SiteName(name.split("-")[0]),
        cpu=4,
        memory=8 * GIB,
        schedulable=True,
        incarnation=life(name),
        lease_revision=10,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def lost(name: str) -> HostFacts:
    return host(name, incarnation=None, lease_revision=0)


def guest(name: str, **changes: object) -> GuestFacts:
    facts = GuestFacts(
        name=GuestName(name), cpu=1, memory=GIB, running=True, application=APP, group=f"{APP}/all", hosts=()
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def granted(
    name: str,
    where: str,
    *,
    to: str | None = None,
    running: bool = True,
    epoch: int = 1,
    generation: int = 1,
    number: int = 1,
    revision: int = 50,
    application: str = APP,
) -> Granted:
    """``number``: which life of the host it was granted to."""
    assignment = Assignment(
        guest=GuestName(name),
        application=application,
        epoch=Epoch(epoch),
        host=HostName(where),
        incarnation=life(where, number),
        target=HostName(to) if to else None,
        target_incarnation=life(to, number) if to else None,
        running=running,
        generation=generation,
    )
    return Granted(assignment, revision)


def report(
    name: str, where: str, state: GuestState, *, generation: int = 1, number: int = 1, revision: int = 70
) -> tuple[tuple[HostName, GuestName], Reported]:
    said = GuestReport(
        guest=GuestName(name),
        host=HostName(where),
        incarnation=life(where, number),
        generation=generation,
        state=state,
        message="no route" if state is GuestState.FAILED else "",
        epoch=Epoch(1),
        since=NOW,
    )
    return (HostName(where), GuestName(name)), Reported(said, revision)


def right(site: SiteName = PAR, epoch: int = 1, open: bool = True, revision: int = 30) -> Right:
    return Right(site, Epoch(epoch), open, revision)


def scene(
    *,
    guests: Iterable[GuestFacts] = (),
    hosts: Iterable[HostFacts] = (),
    grants: Iterable[Granted] = (),
    reports: Iterable[tuple[tuple[HostName, GuestName], Reported]] = (),
    rights: Mapping[str, Right] | None = None,
    wishes: Mapping[str, str | None] | None = None,
    settled: Iterable[str] = (),
) -> Scene:
    """Six hosts with leases unless ``hosts`` says otherwise of some; one right for the application."""
    all_hosts = {f"{site}-{n}": host(f"{site}-{n}") for site in (PAR, GRA) for n in (1, 2, 3)}
    all_hosts |= {each.name: each for each in hosts}
    return Scene(
        guests={each.name: each for each in guests},
        hosts={HostName(name): each for name, each in all_hosts.items()},
        rights=rights if rights is not None else {APP: right()},
        granted={each.assignment.guest: each for each in grants},
        reports=dict(reports),
        wishes={GuestName(name): HostName(to) if to else None for name, to in (wishes or {}).items()},
        settled=frozenset(HostName(name) for name in settled),
    )
