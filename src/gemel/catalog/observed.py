"""The ``status`` of declared resources, from what hosts and controllers recorded. Pure.

It is made when it is read, so it is as fresh as the records are, also while no controller leads. What the
controllers wrote under ``status/`` (why a guest is not placed, say) is the base that it is laid over.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from gemel.catalog.records import Records
from gemel.catalog.replication import lag_of
from gemel.compute.kinds import Assignment, GuestState
from gemel.core import layout

RUNNING = (GuestState.RUNNING, GuestState.MIGRATING)


def status_of(records: Records, kind: str, name: str, now: datetime) -> dict[str, Any]:
    """Status of a resource that exists. Empty when nothing is known of it."""
    build = _BUILDERS.get(kind)
    stored = records.stored_status(kind, name)
    return {**stored, **build(records, name, now)} if build else stored


def phase_of(records: Records, guest: str) -> tuple[GuestState, str]:
    """What a guest is doing, and what there is to say of it."""
    assignment = records.assignments.get(guest)
    if assignment is None:
        machine = records.machines.get(guest)
        wanted = machine is not None and machine.spec.running
        return (GuestState.PENDING, "") if wanted else (GuestState.STOPPED, "")
    lease = records.leases.get(assignment.host)
    if lease is None or lease.incarnation != assignment.incarnation:
        return GuestState.UNKNOWN, f"{assignment.host} holds no lease: nothing is known of the guest"
    report = records.reports.get(f"{assignment.host}/{guest}")
    if report is None or report.incarnation != assignment.incarnation:
        return GuestState.PENDING, f"{assignment.host} has not said anything yet"
    return report.state, report.message


def _site(records: Records, name: str, now: datetime) -> dict[str, Any]:
    hosts = [host for host, declared in records.hosts.items() if declared.spec.site == name]
    alive = sum(host in records.leases for host in hosts)
    steward = records.leader(layout.steward(name))
    found: dict[str, Any] = {
        "hosts": f"{alive}/{len(hosts)}",
        "hostsAlive": alive,
        "hostsTotal": len(hosts),
        "guestCount": sum(each.host in hosts for each in records.assignments.values()),
    }
    return {**found, "steward": steward} if steward else found


def _host(records: Records, name: str, now: datetime) -> dict[str, Any]:
    host, lease = records.hosts[name], records.leases.get(name)
    guests = sorted(guest for guest, given in records.assignments.items() if name in (given.host, given.target))
    machines = [records.machines[guest].spec for guest in guests if guest in records.machines]
    if lease is None:
        phase = "Lost"
    elif host.spec.schedulable:
        phase = "Ready"
    else:
        phase = "Draining" if guests else "Drained"
    return {
        "phase": phase,
        "incarnation": lease.incarnation if lease else "",
        "schedulable": host.spec.schedulable,
        "guests": guests,
        "guestCount": len(guests),
        "cpuTaken": sum(spec.cpu for spec in machines),
        "memoryTaken": sum(spec.memory for spec in machines),
    }


def _machine(records: Records, name: str, now: datetime) -> dict[str, Any]:
    phase, message = phase_of(records, name)
    application = records.home(name)
    found: dict[str, Any] = {"phase": phase.value, "application": application}
    if message:
        found["message"] = message
    ticket = records.tickets.get(application)
    if ticket is not None:
        found["site"] = ticket.site
    assignment = records.assignments.get(name)
    if assignment is not None:
        found |= _granted(records, assignment)
    return found


def _granted(records: Records, assignment: Assignment) -> dict[str, Any]:
    found: dict[str, Any] = {
        "host": assignment.host,
        "epoch": assignment.epoch,
        "generation": assignment.generation,
    }
    if assignment.reasons:
        found["reasons"] = list(assignment.reasons)
    if assignment.target:
        found["migratingTo"] = assignment.target
    report = records.reports.get(f"{assignment.host}/{assignment.guest}")
    if report is not None:
        found["since"] = report.since.isoformat()
        if report.migration_downtime_ms is not None:
            found["lastMigration"] = {
                "downtimeMs": report.migration_downtime_ms,
                "totalMs": report.migration_total_ms,
            }
    return found


def _application(records: Records, name: str, now: datetime) -> dict[str, Any]:
    guests = records.members.get(name, ())
    running = sum(phase_of(records, guest)[0] in RUNNING for guest in guests)
    found: dict[str, Any] = {
        "guests": len(guests),
        "guestNames": list(guests),
        "running": running,
        "ready": f"{running}/{len(guests)}",
        "phase": "Running" if running == len(guests) else "Degraded" if running else "Down",
    }
    ticket = records.tickets.get(name)
    if ticket is not None:
        found |= {
            "site": ticket.site,
            "epoch": ticket.epoch,
            "ticket": ticket.phase.value,
            "since": ticket.since.isoformat(),
            "reasons": list(ticket.reasons),
        }
        if ticket.to:
            found["movingTo"] = ticket.to
    return found | _lag(records, name, now)


def _lag(records: Records, application: str, now: datetime) -> dict[str, Any]:
    """Of its volumes the worst: an application can only go back to a moment that all of them have."""
    lags = [lag_of(records, volume, now) for volume in records.volumes.values() if volume.application == application]
    ages = [lag.age for lag in lags if lag.age is not None]
    found: dict[str, Any] = {}
    if ages and len(ages) == len(lags):
        found["replicaAgeSeconds"] = max(ages)
    unshipped = [lag.unshipped for lag in lags if lag.unshipped is not None]
    if unshipped:
        found["unshippedBytes"] = sum(unshipped)
    return found


def _image(records: Records, name: str, now: datetime) -> dict[str, Any]:
    return {"usedBy": sum(name in images_of(machine) for machine in records.machines.values())}


def images_of(machine: Any) -> frozenset[str]:
    """Every image that a virtual machine boots or starts a disk from."""
    disks = (disk.image for disk in machine.spec.disks if disk.image)
    return frozenset([machine.spec.boot.image, *disks])


def _policy(records: Records, name: str, now: datetime) -> dict[str, Any]:
    return {"usedBy": sum(app.spec.protection == name for app in records.applications.values())}


_BUILDERS: dict[str, Callable[[Records, str, datetime], dict[str, Any]]] = {
    "Site": _site,
    "Host": _host,
    "VirtualMachine": _machine,
    "Application": _application,
    "Image": _image,
    "ProtectionPolicy": _policy,
}
