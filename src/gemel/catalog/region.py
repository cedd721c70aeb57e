"""The region at one glance, as ``gemel status`` shows it. Pure: records in, a report out."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from gemel.catalog.observed import RUNNING, phase_of
from gemel.catalog.records import Records
from gemel.catalog.replication import VolumeState, lag_of
from gemel.core import layout
from gemel.core.resource import Model
from gemel.storage.kinds import QuarantineState


class Health(StrEnum):
    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class Alarm(Model):
    """``message`` says what is wrong with what; ``hint`` what a person can do."""

    severity: Health
    kind: str
    name: str
    message: str
    hint: str = ""


class LeaseFacts(Model):
    host: str
    alive: bool
    schedulable: bool
    incarnation: str | None = None
    ttl: float | None = None
    revision: int | None = None
    """Of the store, when this life of the lease began."""


class SiteFacts(Model):
    name: str
    hosts_alive: int
    hosts_total: int
    guests_running: int
    steward: str | None = None
    leases: tuple[LeaseFacts, ...] = ()


class ApplicationFacts(Model):
    name: str
    site: str | None = None
    preferred_site: str | None = None
    epoch: int | None = None
    phase: str | None = None
    """Of its ticket."""
    moving_to: str | None = None
    guests_running: int
    guests_total: int
    protected: bool
    recovery_point_seconds: float | None = None
    replica_age_seconds: float | None = None
    """Of its oldest replica; absent while one of its volumes has none."""
    unshipped_bytes: int = 0


class GuestTotals(Model):
    running: int
    wanted: int
    total: int


class ReplicaTotals(Model):
    volumes: int
    protected: int
    oldest_age_seconds: float | None = None
    unshipped_bytes: int = 0


class QuarantineTotals(Model):
    held: int
    salvaged: int
    diverged_bytes: int


class MemberFacts(Model):
    """A member of the region store, as far as the API knows."""

    name: str
    endpoint: str
    healthy: bool
    leader: bool = False
    message: str = ""


class StoreFacts(Model):
    revision: int
    members: tuple[MemberFacts, ...] = ()


class RegionStatus(Model):
    health: Health
    region: str
    at: datetime
    controller: str | None = None
    """Who leads the controllers."""
    sites: tuple[SiteFacts, ...]
    applications: tuple[ApplicationFacts, ...]
    guests: GuestTotals
    replicas: ReplicaTotals
    quarantine: QuarantineTotals
    store: StoreFacts
    alarms: tuple[Alarm, ...]


def describe_region(
    records: Records, region: str, now: datetime, members: tuple[MemberFacts, ...] = ()
) -> RegionStatus:
    sites = tuple(_site(records, name) for name in sorted(records.sites))
    applications = tuple(_application(records, name, now) for name in sorted(records.members))
    alarms = tuple(_alarms(records, sites, applications, members, now))
    severities = {alarm.severity for alarm in alarms}
    health = Health.CRITICAL if Health.CRITICAL in severities else Health.WARNING if severities else Health.OK
    return RegionStatus(
        health=health,
        region=region,
        at=now,
        controller=records.leader(layout.CONTROLLERS),
        sites=sites,
        applications=applications,
        guests=_guests(records),
        replicas=_replicas(records, now),
        quarantine=_quarantine(records),
        store=StoreFacts(revision=records.revision, members=members),
        alarms=alarms,
    )


def _site(records: Records, name: str) -> SiteFacts:
    hosts = sorted(host for host, declared in records.hosts.items() if declared.spec.site == name)
    leases = tuple(_lease(records, host) for host in hosts)
    running = sum(
        given.host in hosts and phase_of(records, guest)[0] in RUNNING for guest, given in records.assignments.items()
    )
    return SiteFacts(
        name=name,
        hosts_alive=sum(lease.alive for lease in leases),
        hosts_total=len(hosts),
        guests_running=running,
        steward=records.leader(layout.steward(name)),
        leases=leases,
    )


def _lease(records: Records, host: str) -> LeaseFacts:
    lease = records.leases.get(host)
    item = records.items.get(layout.lease(host))
    return LeaseFacts(
        host=host,
        alive=lease is not None,
        schedulable=records.hosts[host].spec.schedulable,
        incarnation=lease.incarnation if lease else None,
        ttl=lease.ttl if lease else None,
        revision=item.create_revision if item else None,
    )


def _application(records: Records, name: str, now: datetime) -> ApplicationFacts:
    guests = records.members[name]
    declared, ticket = records.applications.get(name), records.tickets.get(name)
    protection = declared.spec.protection if declared else None
    policy = records.policies.get(protection) if protection else None
    lags = [lag_of(records, volume, now) for volume in records.volumes.values() if volume.application == name]
    ages = [lag.age for lag in lags if lag.age is not None]
    return ApplicationFacts(
        name=name,
        site=ticket.site if ticket else None,
        preferred_site=declared.spec.preferred_site if declared else None,
        epoch=ticket.epoch if ticket else None,
        phase=ticket.phase.value if ticket else None,
        moving_to=ticket.to if ticket else None,
        guests_running=sum(phase_of(records, guest)[0] in RUNNING for guest in guests),
        guests_total=len(guests),
        protected=policy is not None,
        recovery_point_seconds=policy.spec.recovery_point if policy else None,
        replica_age_seconds=max(ages) if ages and len(ages) == len(lags) else None,
        unshipped_bytes=sum(lag.unshipped or 0 for lag in lags),
    )


def _guests(records: Records) -> GuestTotals:
    return GuestTotals(
        running=sum(phase_of(records, guest)[0] in RUNNING for guest in records.machines),
        wanted=sum(machine.spec.running for machine in records.machines.values()),
        total=len(records.machines),
    )


def _replicas(records: Records, now: datetime) -> ReplicaTotals:
    lags = [lag_of(records, volume, now) for volume in records.volumes.values()]
    ages = [lag.age for lag in lags if lag.age is not None]
    return ReplicaTotals(
        volumes=len(lags),
        protected=sum(lag.state is VolumeState.PROTECTED for lag in lags),
        oldest_age_seconds=max(ages, default=None),
        unshipped_bytes=sum(lag.unshipped or 0 for lag in lags),
    )


def _quarantine(records: Records) -> QuarantineTotals:
    found = records.quarantine.values()
    return QuarantineTotals(
        held=sum(each.state is QuarantineState.HELD for each in found),
        salvaged=sum(each.state is QuarantineState.SALVAGED for each in found),
        diverged_bytes=sum(each.diverged_bytes or 0 for each in found),
    )


def _alarms(
    records: Records,
    sites: tuple[SiteFacts, ...],
    applications: tuple[ApplicationFacts, ...],
    members: tuple[MemberFacts, ...],
    now: datetime,
) -> Iterator[Alarm]:
    if records.sites and records.leader(layout.CONTROLLERS) is None:
        message = "no controller leads: what runs goes on, but nothing is placed, moved or failed over"
        yield Alarm(
            severity=Health.CRITICAL, kind="Region", name="controllers", message=message, hint="start gemel-controller"
        )
    for site in sites:
        yield from _site_alarms(site)
    for application in applications:
        yield from _application_alarms(application)
    yield from _volume_alarms(records, now)
    yield from _other_alarms(records, members)


def _site_alarms(site: SiteFacts) -> Iterator[Alarm]:
    if site.hosts_total and not site.hosts_alive:
        message = f"no host of {site.name} holds a lease: the site is lost, or cut off"
        hint = "look at its links and power; its protected applications run elsewhere"
        yield Alarm(severity=Health.CRITICAL, kind="Site", name=site.name, message=message, hint=hint)
        return
    for lease in site.leases:
        if not lease.alive:
            message = f"{lease.host} holds no lease: it is down, cut off, or its agent does not run"
            hint = f"look at gemel-agent on {lease.host}"
            yield Alarm(severity=Health.WARNING, kind="Host", name=lease.host, message=message, hint=hint)


def _application_alarms(application: ApplicationFacts) -> Iterator[Alarm]:
    name, running, total = application.name, application.guests_running, application.guests_total
    preferred = application.preferred_site
    if preferred is None:
        return  # a guest of its own: it is in the guests' totals
    if total and running == 0:
        message, hint = f"none of its {total} guests runs", f"gemel describe app {name}"
        yield Alarm(severity=Health.CRITICAL, kind="Application", name=name, message=message, hint=hint)
    elif running < total:
        message, hint = f"{running} of {total} guests run", f"gemel describe app {name}"
        yield Alarm(severity=Health.WARNING, kind="Application", name=name, message=message, hint=hint)
    if application.site and application.site != preferred:
        message = f"runs at {application.site}, but prefers {preferred}"
        hint = f"gemel app move {name} --to {preferred}"
        yield Alarm(severity=Health.WARNING, kind="Application", name=name, message=message, hint=hint)


_VOLUME_WORDS = {
    VolumeState.LATE: "its copy is older than the recovery point",
    VolumeState.UNREPLICATED: "there is no copy of it on the other site yet",
    VolumeState.FAILING: "its copy does not advance",
}


def _volume_alarms(records: Records, now: datetime) -> Iterator[Alarm]:
    for name, volume in sorted(records.volumes.items()):
        lag = lag_of(records, volume, now)
        words = _VOLUME_WORDS.get(lag.state)
        if words is None:
            continue
        facts = [f"{lag.age:.0f} s old" if lag.age is not None else "", lag.message]
        message = ": ".join([words, ", ".join(fact for fact in facts if fact)]).rstrip(": ")
        hint = "look at the link between the sites, and at both stewards"
        yield Alarm(severity=Health.WARNING, kind="Volume", name=name, message=message, hint=hint)


def _other_alarms(records: Records, members: tuple[MemberFacts, ...]) -> Iterator[Alarm]:
    for key, held in sorted(records.quarantine.items()):
        if held.state is QuarantineState.HELD:
            name = key.replace("/", ".", 1)
            message = f"the {held.what} {held.name} is held at {held.site}: {held.reason}"
            yield Alarm(severity=Health.WARNING, kind="Quarantine", name=name, message=message)
    for member in members:
        if not member.healthy:
            message = f"store member {member.endpoint} does not answer: {member.message}".rstrip(": ")
            hint = "two of three members must live; bring this one back before another fails"
            yield Alarm(severity=Health.WARNING, kind="Member", name=member.name, message=message, hint=hint)
    for key in records.unreadable:
        message = f"{key} cannot be read and is left alone"
        hint = "a newer or foreign program wrote it; look at it with etcdctl"
        yield Alarm(severity=Health.WARNING, kind="Record", name=layout.leaf(key), message=message, hint=hint)
