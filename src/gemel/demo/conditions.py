"""What the demo waits for, each as a pure question to the records: what is missing, or an empty string."""

from collections.abc import Iterable
from datetime import datetime

from gemel.catalog.observed import RUNNING, phase_of
from gemel.catalog.records import Records
from gemel.catalog.replication import VolumeState, lag_of
from gemel.storage.kinds import QuarantineState, VolumeRecord


def not_running(records: Records, guests: Iterable[str]) -> str:
    waiting = []
    for guest in guests:
        phase, message = phase_of(records, guest)
        if phase not in RUNNING:
            waiting.append(f"{guest} is {phase}" + (f" ({message})" if message else ""))
    return ", ".join(waiting)


def hosts_of(records: Records) -> dict[str, str]:
    """Where each guest is assigned."""
    return {guest: given.host for guest, given in records.assignments.items()}


def volumes_of(records: Records, application: str) -> tuple[VolumeRecord, ...]:
    return tuple(volume for _, volume in sorted(records.volumes.items()) if volume.application == application)


def not_protected(records: Records, application: str, since: datetime, now: datetime) -> str:
    """Every volume has a complete copy that was taken after ``since`` and is within the recovery point."""
    volumes = volumes_of(records, application)
    if not volumes:
        return f"{application} has no volumes yet"
    waiting = []
    for volume in volumes:
        lag = lag_of(records, volume, now)
        replica = records.replicas.get(volume.volume)
        taken = replica.complete[-1].taken_at if replica and replica.complete else None
        if lag.state is not VolumeState.PROTECTED:
            waiting.append(f"{volume.volume} is {lag.state}" + (f" ({lag.message})" if lag.message else ""))
        elif taken is None or taken < since:
            waiting.append(f"{volume.volume} has no copy that was taken since then")
    return ", ".join(waiting)


def not_alive(records: Records, hosts: Iterable[str]) -> str:
    missing = sorted(set(hosts) - records.leases.keys())
    return f"no lease of {', '.join(missing)}" if missing else ""


def held_guests(records: Records, site: str, guests: Iterable[str], since: datetime) -> frozenset[str]:
    """Which of these guests the site holds back since ``since``."""
    held = {
        each.name
        for each in records.quarantine.values()
        if each.what == "guest" and each.site == site and each.since >= since
    }
    return frozenset(held & set(guests))


def kept_back(records: Records, site: str, since: datetime) -> tuple[int, int | None]:
    """(quarantine records of a site since ``since``, bytes that they keep). None for the bytes when one of a
    volume does not say them."""
    found = [each for each in records.quarantine.values() if each.site == site and each.since >= since]
    volumes = [each for each in found if each.what == "volume" and each.state is not QuarantineState.RELEASED]
    if any(each.diverged_bytes is None for each in volumes):
        return len(found), None
    return len(found), sum(each.diverged_bytes or 0 for each in volumes)


def not_accounted(records: Records, application: str, site: str) -> str:
    """Every volume that was written at ``site`` under an older epoch has been looked at there: its copy
    follows the new writer, which is started only after what is stale was measured and held."""
    waiting = [
        volume.volume
        for volume in volumes_of(records, application)
        if (replica := records.replicas.get(volume.volume)) is None
        or replica.epoch != volume.epoch
        or replica.site != site
    ]
    return f"the copies of {', '.join(waiting)} have not started at {site}" if waiting else ""
