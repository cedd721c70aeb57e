"""Scenes that nobody would think of: any guests, hosts, tickets, grants, reports and wishes, true to the types
and to little else. ``consistent`` ones are those that gemel's own commits can lead to."""

from dataclasses import replace

from hypothesis import strategies as st
from tests.unit.compute.scenes import GRA, PAR, granted, guest, host, life, report, right

from gemel.compute.kinds import GuestState
from gemel.compute.placement import GuestFacts, HostFacts
from gemel.compute.plan import Granted, Reported, Right, Scene
from gemel.core.identity import GuestName, HostName

APPS = ("bank", "shop")
HOSTS = tuple(f"{site}-{n}" for site in (PAR, GRA) for n in (1, 2, 3))
GUESTS = tuple(f"g{n}" for n in range(5))
GIB = 2**30
names, hostnames = st.sampled_from(GUESTS), st.sampled_from(HOSTS)


@st.composite
def host_facts(draw: st.DrawFn, name: str) -> HostFacts:
    lives = draw(st.sampled_from([None, 1, 1, 1, 2]))
    return host(
        name,
        memory=draw(st.sampled_from([1, 2, 8])) * GIB,
        cpu=draw(st.sampled_from([1, 4])),
        schedulable=draw(st.sampled_from([True, True, True, False])),
        incarnation=None if lives is None else life(name, lives),
        lease_revision=0 if lives is None else 10 + lives,
        site=draw(st.sampled_from([None, PAR, GRA])) or host(name).site,
    )


@st.composite
def guest_facts(draw: st.DrawFn, name: str) -> GuestFacts:
    app = draw(st.sampled_from(APPS))
    only = draw(st.sampled_from([(), (), (), HOSTS[:2]]))
    return guest(
        name,
        application=app,
        group=draw(st.sampled_from([None, f"{app}/all"])),
        running=draw(st.sampled_from([True, True, False])),
        memory=draw(st.sampled_from([1, 2])) * GIB,
        hosts=tuple(HostName(each) for each in only),
        after=tuple(GuestName(each) for each in draw(st.sets(names, max_size=1)) if each < name),
    )


@st.composite
def grant(draw: st.DrawFn, name: str) -> Granted:
    where = draw(hostnames)
    to = draw(st.none() | hostnames.filter(lambda other: other != where))
    return granted(
        name,
        where,
        to=to,
        running=draw(st.booleans()),
        epoch=draw(st.sampled_from([1, 1, 1, 2])),
        generation=draw(st.integers(1, 3)),
        number=draw(st.sampled_from([1, 1, 2])),
        revision=draw(st.integers(40, 60)),
        application=draw(st.sampled_from(APPS)),
    )


@st.composite
def word(draw: st.DrawFn) -> tuple[tuple[HostName, GuestName], Reported]:
    return report(
        draw(names),
        draw(hostnames),
        draw(st.sampled_from(GuestState)),
        generation=draw(st.integers(1, 3)),
        number=draw(st.sampled_from([1, 1, 2])),
        revision=draw(st.integers(61, 90)),
    )


@st.composite
def any_right(draw: st.DrawFn) -> Right:
    return right(
        draw(st.sampled_from([PAR, GRA])), draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([True, True, False]))
    )


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    declared = draw(st.sets(hostnames, min_size=1))
    hosts = {HostName(name): draw(host_facts(name)) for name in sorted(declared)}
    away = [name for name, each in hosts.items() if each.incarnation is None]
    return Scene(
        guests={GuestName(name): draw(guest_facts(name)) for name in sorted(draw(st.sets(names)))},
        hosts=hosts,
        rights={app: draw(any_right()) for app in APPS if draw(st.sampled_from([True, True, False]))},
        granted={GuestName(name): draw(grant(name)) for name in sorted(draw(st.sets(names)))},
        reports=dict(draw(st.lists(word(), max_size=6))),
        wishes=draw(st.dictionaries(names.map(GuestName), st.none() | hostnames.map(HostName), max_size=2)),
        settled=frozenset(draw(st.sets(st.sampled_from(away)) if away else st.just(set()))),
    )


@st.composite
def consistent(draw: st.DrawFn) -> Scene:
    """Hosts at their own sites; each guest's grant, if any, under its application's ticket and at its site."""
    scene = draw(scenes())
    rights = {app: draw(any_right()) for app in APPS}
    hosts = {HostName(name): replace(draw(host_facts(name)), site=host(name).site) for name in HOSTS}
    kept: dict[GuestName, Granted] = {}
    for name, held in scene.granted.items():
        app = scene.guests[name].application if name in scene.guests else held.assignment.application
        ours = rights[app]
        near = [each for each in HOSTS if each.startswith(ours.site)]
        where = draw(st.sampled_from(near))
        others = [each for each in near if each != where]
        to = draw(st.sampled_from(others)) if held.assignment.target else None
        kept[name] = granted(
            name, where, to=to, running=held.assignment.running or to is not None, epoch=ours.epoch,
            generation=held.assignment.generation, revision=held.revision, application=app,
        )  # fmt: skip
    reports = {
        (where, name): each
        for (where, name), each in scene.reports.items()
        if name not in kept or each.report.generation <= kept[name].assignment.generation
    }
    return replace(scene, hosts=hosts, rights=rights, granted=kept, reports=reports, wishes={})
