import json
from dataclasses import replace

import pytest

from gemel.demo.report import Outcome, only_young_writes_lost, plan_lines, plan_report
from gemel.demo.results import (
    FailBack,
    Ground,
    Homecoming,
    HostLoss,
    LiveMigration,
    Loaded,
    Results,
    RunHistory,
    SiteLoss,
    Span,
)

MIB = 2**20
SITE = SiteLoss(
    site="par1",
    survivor="gra1",
    began=100.0,
    dark=100.1,
    seconds_to_answer=31.0,
    web_seconds_to_answer=32.0,
    breakdown=(Span("leases_expire", 12.0), Span("database_answers", 19.0)),
    acknowledged_writes=500,
    acknowledged_writes_lost=40,
    holes=0,
    replica_age_seconds=9.0,
    oldest_lost_write_age_seconds=8.4,
    balances_agree=True,
    transactions_kept=900,
    other_application_failures=0,
)
WHOLE = Results(
    ground=Ground(3.0, 60.0),
    loaded=Loaded(30.0, 20.0),
    live_migration=LiveMigration("bank-db", "par1-1", "par1-2", 10.0, 14.0, 40.0, 260.0, 0, 0),
    host_loss=HostLoss("par1-3", "bank-web-1", 20.0, 50.0, 17.0, "par1-2"),
    site_loss=SITE,
    homecoming=Homecoming(140.0, 170.0, 5, 3, 3, 4 * MIB),
    failback=FailBack(180.0, 200.0, 20 * MIB, 21 * MIB, 5 * MIB, 2400 * MIB, 11.0, 300, 0, True),
    history=RunHistory(0, 14, (), ()),
)
BY_LINE = [
    ("live_migration.downtime_ms", "live_migration", {"downtime_ms": 501.0}),
    ("live_migration.downtime_ms", "live_migration", {"downtime_ms": None}),
    ("live_migration.failed_transactions", "live_migration", {"failed_transactions": 1}),
    ("live_migration.failed_transactions", "live_migration", {"failed_requests": 1}),
    ("host_loss.seconds_to_answer", "host_loss", {"seconds_to_answer": 30.1}),
    ("site_loss.seconds_to_answer", "site_loss", {"seconds_to_answer": 45.1}),
    ("site_loss.acknowledged_writes_lost", "site_loss", {"oldest_lost_write_age_seconds": 9.1}),
    ("site_loss.acknowledged_writes_lost", "site_loss", {"replica_age_seconds": None}),
    ("site_loss.acknowledged_writes_lost", "site_loss", {"holes": 1}),
    ("site_loss.balances_agree", "site_loss", {"balances_agree": False}),
    ("double_runs", "history", {"double_runs": 1}),
    ("double_runs", "history", {"gaps": ("the recorder did not look for 9.0 s",)}),
    ("double_runs", "history", {"unseen": ("bank-db",)}),
    ("return.quarantined", "homecoming", {"guests_held": 2}),
    ("return.quarantined", "homecoming", {"guests_held": 0, "stale_guests": 0}),
    ("return.quarantined", "homecoming", {"salvaged_bytes": None}),
    ("failback.bytes_copied", "failback", {"bytes_copied": 25 * MIB}),
    ("failback.bytes_copied", "failback", {"bytes_copied": None}),
    ("failback.bytes_copied", "failback", {"bytes_changed": 0}),
    ("failback.acknowledged_writes_lost", "failback", {"acknowledged_writes_lost": 1}),
    ("failback.acknowledged_writes_lost", "failback", {"balances_agree": False}),
]


def met(results: Results, wall: float = 300.0) -> dict[str, bool]:
    return {line.field: line.met for line in plan_lines(results, wall)}


def test_a_good_run_meets_every_line() -> None:
    assert all(met(WHOLE).values())
    report = plan_report(WHOLE, [Outcome("ground", 60.0)], 300.0)
    assert report["demo"]["succeeded"] and not report["demo"]["failures"]


@pytest.mark.parametrize(("field", "step", "change"), BY_LINE)
def test_each_line_is_missed_for_its_own_reason_alone(field: str, step: str, change: dict[str, object]) -> None:
    worse = replace(WHOLE, **{step: replace(getattr(WHOLE, step), **change)})
    assert [name for name, good in met(worse).items() if not good] == [field]


def test_the_whole_may_not_take_longer_than_eight_minutes() -> None:
    assert not met(WHOLE, 480.5)["demo.wall_seconds"]


def test_nothing_measured_meets_nothing_but_the_clock() -> None:
    lines = plan_lines(Results(), 5.0)
    assert [line.field for line in lines if line.met] == ["demo.wall_seconds"]
    assert {line.shown for line in lines[1:]} == {"not measured"}


def test_a_failed_step_fails_the_demo_and_is_named() -> None:
    report = plan_report(WHOLE, [Outcome("failback", 240.0, "not done within 240 s")], 300.0)
    assert not report["demo"]["succeeded"]
    assert report["demo"]["failures"] == ["failback: not done within 240 s"]


def test_the_report_has_the_fields_that_the_issue_names() -> None:
    report = json.loads(json.dumps(plan_report(WHOLE, [], 300.0)))
    wanted = {
        "demo": {"wall_seconds"},
        "live_migration": {"downtime_ms", "failed_requests", "failed_transactions"},
        "host_loss": {"seconds_to_answer"},
        "site_loss": {"seconds_to_answer", "acknowledged_writes_lost", "replica_age_seconds",
                      "oldest_lost_write_age_seconds", "balances_agree", "breakdown"},
        "return": {"quarantined", "salvaged_bytes"},
        "failback": {"bytes_changed", "bytes_copied", "wire_bytes", "ratio", "downtime_seconds",
                     "acknowledged_writes_lost"},
    }  # fmt: skip
    for section, fields in wanted.items():
        assert fields <= report[section].keys()
    assert report["double_runs"] == 0
    assert report["limits"].keys() == report["met"].keys()
    assert sum(report["site_loss"]["breakdown"].values()) == report["site_loss"]["seconds_to_answer"]


def test_an_empty_report_says_null_rather_than_zero() -> None:
    report = plan_report(Results(), [], 1.0)
    assert report["double_runs"] is None and report["site_loss"] is None


def test_a_copy_without_any_loss_is_young_enough() -> None:
    assert only_young_writes_lost(replace(SITE, acknowledged_writes_lost=0, oldest_lost_write_age_seconds=None))
