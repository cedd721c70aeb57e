"""Step: the bank's database moves to another host while it is written to, and nobody notices."""

import time

from gemel.demo.breakdown import migration_downtime
from gemel.demo.conditions import hosts_of
from gemel.demo.loadplan import DATABASE, DEPOSIT, PGBENCH
from gemel.demo.results import LiveMigration, Results
from gemel.demo.samples import Sample, longest_silence, of_target, within
from gemel.demo.timeline import Band
from gemel.demo.workbench import Workbench

ANSWER_WITHIN = 90.0
SETTLE = 1.5
"""Seconds of answers after the move that still count as its consequence."""


async def migrate_under_load(bench: Workbench, so_far: Results) -> LiveMigration:
    guest = bench.cast.database.name
    source = hosts_of(bench.records.records())[guest]
    bench.narrator.say(f"{guest} runs on {source}. It is moved while pgbench and the web tier write to it.")
    began = time.monotonic()
    await bench.gemel("vm", "migrate", guest, "--wait")
    ended = time.monotonic()
    for target in (DATABASE, DEPOSIT, PGBENCH):
        await bench.client.until_answer(target, ended + SETTLE, ANSWER_WITHIN)
    found = measure(bench, guest, source, began, ended)
    bench.bands.append(Band(began, ended, "live migration"))
    shown = "unknown" if found.downtime_ms is None else f"{found.downtime_ms:.0f} ms"
    bench.narrator.good(
        f"{guest} went from {found.source} to {found.target}: downtime {shown}, "
        f"{found.failed_transactions} transactions and {found.failed_requests} requests failed"
    )
    return found


def measure(bench: Workbench, guest: str, source: str, began: float, ended: float) -> LiveMigration:
    samples = within(bench.client.samples(), began, ended + SETTLE)
    gap = longest_silence(of_target(bench.client.samples(), DATABASE), began, ended)
    web = {each.name for each in bench.cast.webs} | {DEPOSIT}
    return LiveMigration(
        guest=guest,
        source=source,
        target=hosts_of(bench.records.records())[guest],
        began=began,
        ended=ended,
        downtime_ms=migration_downtime(bench.records.story, guest, began),
        longest_gap_ms=None if gap is None else gap * 1000,
        failed_requests=sum(not each.ok for each in samples if each.target in web),
        failed_transactions=sum(_failed_transactions(each) for each in samples),
    )


def _failed_transactions(sample: Sample) -> int:
    """Of a commit of the writer, or of a second of pgbench. A second without any transaction is no failure."""
    if sample.ok or sample.target not in (DATABASE, PGBENCH):
        return 0
    return 0 if sample.detail.endswith("failed=0") else 1
