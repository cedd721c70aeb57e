"""The report: measured lines, what must be, whether it is. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemel.core.units import human_size
from gemel.demo.results import FailBack, Homecoming, HostLoss, LiveMigration, Results, SiteLoss

WALL_SECONDS = 480.0
DOWNTIME_MS = 500.0
HOST_SECONDS = 30.0
SITE_SECONDS = 45.0
COPIED_RATIO = 1.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended: ``failure`` is empty when it succeeded, else what is missing."""

    name: str
    seconds: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the issue's table. ``met`` is False also when it could not be measured."""

    field: str
    title: str
    shown: str
    limit: str
    met: bool


def plan_report(results: Results, outcomes: Sequence[Outcome], wall_seconds: float) -> dict[str, Any]:
    """What report.json holds."""
    lines = plan_lines(results, wall_seconds)
    failed = [f"{outcome.name}: {outcome.failure}" for outcome in outcomes if outcome.failure]
    return {
        "demo": {
            "wall_seconds": _round(wall_seconds),
            "images_seconds": _round(results.ground.images_seconds) if results.ground else None,
            "succeeded": not failed and all(line.met for line in lines),
            "steps": {outcome.name: _round(outcome.seconds) for outcome in outcomes},
            "failures": failed,
        },
        "live_migration": _maybe(results.live_migration, _migration),
        "host_loss": _maybe(results.host_loss, _host),
        "site_loss": _maybe(results.site_loss, _site),
        "double_runs": results.history.double_runs if results.history else None,
        "history": _history(results),
        "return": _maybe(results.homecoming, _return),
        "failback": _maybe(results.failback, _failback),
        "limits": {line.field: line.limit for line in lines},
        "met": {line.field: line.met for line in lines},
    }


def _maybe(value: Any, render: Callable[[Any], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return None if value is None else render(value)


def _round(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


def _migration(found: LiveMigration) -> dict[str, Any]:
    return {
        "downtime_ms": _round(found.downtime_ms, 1),
        "longest_gap_ms": _round(found.longest_gap_ms, 1),
        "failed_requests": found.failed_requests,
        "failed_transactions": found.failed_transactions,
        "guest": found.guest,
        "from": found.source,
        "to": found.target,
    }


def _host(found: HostLoss) -> dict[str, Any]:
    return {
        "seconds_to_answer": _round(found.seconds_to_answer),
        "host": found.host,
        "guest": found.guest,
        "landed_on": found.landed_on,
    }


def _site(found: SiteLoss) -> dict[str, Any]:
    return {
        "seconds_to_answer": _round(found.seconds_to_answer),
        "web_seconds_to_answer": _round(found.web_seconds_to_answer),
        "breakdown": {span.name: _round(span.seconds) for span in found.breakdown},
        "acknowledged_writes": found.acknowledged_writes,
        "acknowledged_writes_lost": found.acknowledged_writes_lost,
        "lost_writes_older_than_a_kept_one": found.holes,
        "replica_age_seconds": _round(found.replica_age_seconds),
        "oldest_lost_write_age_seconds": _round(found.oldest_lost_write_age_seconds),
        "balances_agree": found.balances_agree,
        "transactions_kept": found.transactions_kept,
        "other_application_failures": found.other_application_failures,
        "site": found.site,
    }


def _return(found: Homecoming) -> dict[str, Any]:
    return {
        "quarantined": found.quarantined,
        "guests_held": found.guests_held,
        "stale_guests": found.stale_guests,
        "salvaged_bytes": found.salvaged_bytes,
        "seconds": _round(found.ended - found.healed),
    }


def _failback(found: FailBack) -> dict[str, Any]:
    return {
        "bytes_changed": found.bytes_changed,
        "bytes_copied": found.bytes_copied,
        "wire_bytes": found.wire_bytes,
        "volume_bytes": found.volume_bytes,
        "ratio": _round(found.ratio, 3),
        "downtime_seconds": _round(found.downtime_seconds),
        "acknowledged_writes": found.acknowledged_writes,
        "acknowledged_writes_lost": found.acknowledged_writes_lost,
        "balances_agree": found.balances_agree,
    }


def _history(results: Results) -> dict[str, Any] | None:
    found = results.history
    if found is None:
        return None
    return {"runs_seen": found.runs_seen, "gaps": list(found.gaps), "guests_never_seen": list(found.unseen)}


# -- lines ---------------------------------------------------------------------------------------------


def plan_lines(results: Results, wall_seconds: float) -> tuple[Line, ...]:
    wall = Line(
        "demo.wall_seconds",
        "the whole demo",
        f"{wall_seconds:.0f} s",
        f"<= {WALL_SECONDS:.0f} s",
        wall_seconds <= WALL_SECONDS,
    )
    return (
        wall,
        *_migration_lines(results.live_migration),
        *_loss_lines(results.host_loss, results.site_loss),
        _history_line(results),
        _return_line(results.homecoming),
        *_failback_lines(results.failback),
    )


def _line(field: str, title: str, limit: str, shown: str | None, met: bool) -> Line:
    return Line(field, title, "not measured" if shown is None else shown, limit, met and shown is not None)


def _migration_lines(found: LiveMigration | None) -> tuple[Line, ...]:
    downtime = found.downtime_ms if found else None
    shown = None if downtime is None else f"{downtime:.0f} ms"
    failed = None if found is None else f"{found.failed_transactions} transactions, {found.failed_requests} requests"
    return (
        _line(
            "live_migration.downtime_ms",
            "live migration under load: downtime",
            f"<= {DOWNTIME_MS:.0f} ms",
            shown,
            downtime is not None and downtime <= DOWNTIME_MS,
        ),
        _line(
            "live_migration.failed_transactions",
            "live migration: failed",
            "none",
            failed,
            found is not None and not found.failed_transactions and not found.failed_requests,
        ),
    )


def _loss_lines(host: HostLoss | None, site: SiteLoss | None) -> tuple[Line, ...]:
    return (
        _line(
            "host_loss.seconds_to_answer",
            "host killed: its guest answers again",
            f"<= {HOST_SECONDS:.0f} s",
            f"{host.seconds_to_answer:.1f} s" if host else None,
            host is not None and host.seconds_to_answer <= HOST_SECONDS,
        ),
        _line(
            "site_loss.seconds_to_answer",
            "site cut off: bank commits again",
            f"<= {SITE_SECONDS:.0f} s",
            f"{site.seconds_to_answer:.1f} s" if site else None,
            site is not None and site.seconds_to_answer <= SITE_SECONDS,
        ),
        _line(
            "site_loss.acknowledged_writes_lost",
            "site cut off: acknowledged writes lost",
            "only writes younger than the replica",
            _lost_words(site) if site else None,
            site is not None and only_young_writes_lost(site),
        ),
        _line(
            "site_loss.balances_agree",
            "site cut off: pgbench's four sums",
            "agree",
            ("agree" if site.balances_agree else "differ") if site else None,
            site is not None and site.balances_agree,
        ),
    )


def only_young_writes_lost(site: SiteLoss) -> bool:
    """No write that was acknowledged before the moment of the replica is missing, and none that is older
    than one that was kept. Both times are the same machine's clock here: no slack is needed, since a cut
    is dated before its snapshots, and an acknowledgement arrives after its commit."""
    if site.replica_age_seconds is None or site.holes:
        return False
    oldest = site.oldest_lost_write_age_seconds
    return oldest is None or oldest <= site.replica_age_seconds


def _lost_words(site: SiteLoss) -> str:
    age = "of unknown age" if site.replica_age_seconds is None else f"{site.replica_age_seconds:.1f} s old"
    lost = f"{site.acknowledged_writes_lost} of {site.acknowledged_writes}"
    if site.oldest_lost_write_age_seconds is None:
        return f"{lost}; replica {age}"
    return f"{lost}, the oldest {site.oldest_lost_write_age_seconds:.1f} s old; replica {age}"


def _history_line(results: Results) -> Line:
    found = results.history
    if found is None:
        return _line("double_runs", "two runs of one guest at once", "0", None, False)
    doubts = (*found.gaps, *(f"{guest} was never seen to run" for guest in found.unseen))
    shown = f"{found.double_runs} in {found.runs_seen} runs" + (f"; but {doubts[0]}" if doubts else "")
    return _line("double_runs", "two runs of one guest at once", "0", shown, found.double_runs == 0 and not doubts)


def _return_line(found: Homecoming | None) -> Line:
    title, limit = "return: held and salvaged", "every stale guest held, divergence in bytes"
    if found is None:
        return _line("return.quarantined", title, limit, None, False)
    bytes_kept = "unknown" if found.salvaged_bytes is None else human_size(found.salvaged_bytes)
    shown = f"{found.guests_held} of {found.stale_guests} guests held, {bytes_kept} kept"
    met = found.guests_held >= found.stale_guests > 0 and found.salvaged_bytes is not None
    return _line("return.quarantined", title, limit, shown, met)


def _failback_lines(found: FailBack | None) -> tuple[Line, ...]:
    ratio = found.ratio if found else None
    shown = None
    if found is not None and ratio is not None:
        sizes = [human_size(found.bytes_copied or 0), human_size(found.bytes_changed or 0)]
        shown = f"{sizes[0]} for {sizes[1]} changed ({ratio:.2f}), of {human_size(found.volume_bytes)}"
    lost = None
    if found is not None:
        down = "downtime unknown" if found.downtime_seconds is None else f"{found.downtime_seconds:.1f} s down"
        sums = "sums agree" if found.balances_agree else "sums differ"
        lost = f"{found.acknowledged_writes_lost} of {found.acknowledged_writes}; {sums}; {down}"
    return (
        _line(
            "failback.bytes_copied",
            "failback: copied",
            f"<= {COPIED_RATIO} x changed",
            shown,
            ratio is not None and ratio <= COPIED_RATIO,
        ),
        _line(
            "failback.acknowledged_writes_lost",
            "failback: acknowledged writes lost",
            "0",
            lost,
            found is not None and found.acknowledged_writes_lost == 0 and found.balances_agree,
        ),
    )
