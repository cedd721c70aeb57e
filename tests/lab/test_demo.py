"""The main job on the real region, from nothing to nothing left: what `make demo` does and must find.

Asserts what happened, never how fast; the seconds are in the report, which is printed.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gemel.lab import namespaces
from gemel.lab.preflight import check_this_machine

LIMIT = 1800
"""Seconds after which the demo is given up; it is to take less than 480."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    missing = check_this_machine()
    if missing:
        pytest.fail(f"the demo cannot run here, and that is a failure: {missing}", pytrace=False)
    out = tmp_path_factory.mktemp("demo")
    gemel = str(Path(sys.executable).parent / "gemel")
    with (out / "demo.log").open("w") as log:
        ended = subprocess.run(
            [gemel, "demo", "--out", str(out)], stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT, check=False
        )
    said = (out / "demo.log").read_text()
    assert (out / "report.json").exists(), f"no report; exit code {ended.returncode}:\n{said[-4000:]}"
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    # For whoever reads the output of CI: the measured lines.
    print(json.dumps(found, indent=1), file=sys.__stdout__, flush=True)
    assert not found["demo"]["failures"], f"{found['demo']['failures']}\n{said[-4000:]}"
    assert (out / "timeline.svg").read_text().startswith("<")
    return found


pytestmark = [pytest.mark.lab, pytest.mark.timeout(LIMIT + 60)]


def test_no_transaction_fails_while_the_database_is_migrated(report: dict[str, Any]) -> None:
    assert report["live_migration"]["failed_transactions"] == 0
    assert report["live_migration"]["to"] != report["live_migration"]["from"]


def test_a_killed_host_s_guest_answers_from_another(report: dict[str, Any]) -> None:
    assert report["host_loss"]["landed_on"] != report["host_loss"]["host"]


def test_only_what_is_younger_than_the_replica_is_lost_with_a_site(report: dict[str, Any]) -> None:
    loss = report["site_loss"]
    assert report["met"]["site_loss.acknowledged_writes_lost"], loss
    assert loss["balances_agree"] is True


def test_nothing_ever_runs_twice(report: dict[str, Any]) -> None:
    assert report["double_runs"] == 0
    assert report["history"]["runs_seen"] >= 8
    assert report["history"]["gaps"] == [] and report["history"]["guests_never_seen"] == []


def test_what_returns_is_held_and_salvaged(report: dict[str, Any]) -> None:
    assert report["met"]["return.quarantined"], report["return"]


def test_failback_copies_what_changed_and_loses_nothing(report: dict[str, Any]) -> None:
    assert report["failback"]["acknowledged_writes_lost"] == 0
    assert report["met"]["failback.bytes_copied"], report["failback"]


def test_nothing_is_left_of_the_region(report: dict[str, Any]) -> None:
    assert report
    assert namespaces.observe_namespaces() == {}
