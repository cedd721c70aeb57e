"""Step: a whole site is cut off. The other one takes over by itself; what was lost is counted."""

import time
from datetime import UTC, datetime

from gemel.catalog.records import Records
from gemel.demo import breakdown
from gemel.demo.cast import BANK
from gemel.demo.conditions import hosts_of, volumes_of
from gemel.demo.ledger import acknowledged, compare
from gemel.demo.loading import until_protected
from gemel.demo.loadplan import DATABASE, DEPOSIT, SHOP
from gemel.demo.results import Results, SiteLoss, Span
from gemel.demo.samples import of_target, within
from gemel.demo.timeline import Mark
from gemel.demo.workbench import Workbench, wall_now
from gemel.lab.faults import Cut
from gemel.lab.history import What

ANSWER_WITHIN = 240.0
PROTECTED_WITHIN = 120.0


async def lose_site(bench: Workbench, so_far: Results) -> SiteLoss:
    with bench.narrator.waiting("copies are within their recovery point"):
        await until_protected(bench, datetime.fromtimestamp(0, UTC), PROTECTED_WITHIN)
    site = bench.site
    bench.narrator.say(f"{site} is cut off: every packet to and from it vanishes. Its hosts do not know why.")
    bench.narrator.command(f"gemel lab cut site {site}")
    entry = await bench.faults.cut(Cut("site", site))
    with bench.narrator.waiting(f"{bench.survivor} takes over, bank commits again"):
        commit = await bench.client.until_answer(DATABASE, entry.ended, ANSWER_WITHIN)
        bench.narrator.good(f"bank committed a transaction for the client after {commit.ended - entry.began:.1f} s")
        deposit = await bench.client.until_answer(DEPOSIT, entry.ended, ANSWER_WITHIN)
    balances = await bench.client.balances()
    present = await bench.client.present()
    samples = bench.client.samples()
    # What was acknowledged before the first packet can have been lost, and while the cut was being made.
    writes = acknowledged((each for each in samples if each.target in (DATABASE, DEPOSIT)), entry.ended)
    comparison = compare(writes, present, entry.began)
    shop = [each for each in within(of_target(samples, SHOP), entry.began, commit.ended) if not each.ok]
    found = SiteLoss(
        site=site,
        survivor=bench.survivor,
        began=entry.began,
        dark=entry.ended,
        seconds_to_answer=commit.ended - entry.began,
        web_seconds_to_answer=deposit.ended - entry.began,
        breakdown=_break_down(bench, entry.began, commit.ended),
        acknowledged_writes=comparison.acknowledged,
        acknowledged_writes_lost=len(comparison.lost),
        holes=len(comparison.holes),
        replica_age_seconds=_replica_age(bench.records.records(), bench.survivor, entry.began),
        oldest_lost_write_age_seconds=comparison.oldest_lost_age,
        balances_agree=balances.agree,
        transactions_kept=balances.transactions,
        other_application_failures=len(shop),
    )
    _tell(bench, found, commit.ended)
    return found


def _replica_age(records: Records, survivor: str, cut_at: float) -> float | None:
    """Seconds from the moment that the survivor went on from to the cut. Records date by wall clock, of
    this same machine."""
    origins = [volume.origin_at for volume in volumes_of(records, BANK) if volume.site == survivor]
    if not origins or None in origins:
        return None
    oldest = min(moment for moment in origins if moment is not None)
    cut_wall = wall_now().timestamp() - (time.monotonic() - cut_at)
    return cut_wall - oldest.timestamp()


def _break_down(bench: Workbench, began: float, answered: float) -> tuple[Span, ...]:
    story, records = bench.records.story, bench.records.records()
    volumes = frozenset(volume.volume for volume in volumes_of(records, BANK))
    guest, survivor, hosts = bench.cast.database.name, bench.survivor, bench.hosts(bench.survivor)
    ticket = breakdown.ticket_moved(story, BANK, survivor, began)
    gone = breakdown.leases_gone(story, bench.hosts(bench.site), began)
    ready = breakdown.promoted(story, volumes, survivor, began)
    started = min(
        (
            record.at
            for record in bench.region.records()
            if record.what is What.START and record.guest == guest and record.host in hosts and record.at > began
        ),
        default=None,
    )
    where = hosts_of(records).get(guest, survivor)
    moments = (
        (gone, f"the leases of {bench.site} are gone"),
        (ticket, f"the bank's ticket is at {survivor}"),
        (ready, f"its volumes are writable at {survivor}"),
        (started, f"{guest} starts on {where}"),
    )
    bench.marks += [Mark(at, text) for at, text in moments if at is not None]
    return breakdown.break_down(
        began,
        (
            ("leases_expire", gone),
            ("ticket_moves", ticket),
            ("volumes_promoted", ready),
            ("guest_started", started),
            ("database_answers", None),
        ),
        answered,
    )


def _tell(bench: Workbench, found: SiteLoss, answered: float) -> None:
    bench.marks.append(Mark(answered, f"bank commits again ({found.seconds_to_answer:.1f} s after the cut)"))
    parts = ", ".join(f"{span.name.replace('_', ' ')} {span.seconds:.1f} s" for span in found.breakdown)
    bench.narrator.say(f"where the time went: {parts}")
    age = "unknown" if found.replica_age_seconds is None else f"{found.replica_age_seconds:.1f} s"
    bench.narrator.say(
        f"{found.acknowledged_writes_lost} of {found.acknowledged_writes} acknowledged writes were not in the copy, "
        f"which was {age} old; pgbench's sums {'agree' if found.balances_agree else 'DIFFER'}"
    )
    bench.narrator.say(f"meanwhile the shop at {found.survivor}: {found.other_application_failures} orders failed")
