"""Step: the bank goes home, planned. Only what changed travels, and nothing is lost."""

import time

from gemel.core.outcome import Permanent
from gemel.core.units import human_size
from gemel.demo.breakdown import shipped
from gemel.demo.cast import BANK
from gemel.demo.conditions import volumes_of
from gemel.demo.ledger import Comparison, acknowledged, compare
from gemel.demo.loadplan import DATABASE, DEPOSIT
from gemel.demo.results import FailBack, Results
from gemel.demo.samples import longest_outage, of_target
from gemel.demo.timeline import Band, Mark
from gemel.demo.workbench import Workbench

ANSWER_WITHIN = 240.0


async def fail_back(bench: Workbench, so_far: Results) -> FailBack:
    loss = so_far.site_loss
    if loss is None:
        raise Permanent("the bank never left: there is nothing to fail back")
    volumes = volumes_of(bench.records.records(), BANK)
    epoch = max(volume.epoch for volume in volumes)
    bench.narrator.say(f"The bank moves back to {bench.site}: stop, last difference, start.")
    began = time.monotonic()
    await bench.gemel("app", "move", BANK, "--to", bench.site, "--wait")
    moved = time.monotonic()
    with bench.narrator.waiting("bank commits again"):
        commit = await bench.client.until_answer(DATABASE, moved, ANSWER_WITHIN)
        await bench.client.until_answer(DEPOSIT, moved, ANSWER_WITHIN)
    balances = await bench.client.balances()
    comparison = await _compare(bench, loss.dark, until=moved)
    outage = longest_outage(of_target(bench.client.samples(), DATABASE), began, commit.ended)
    travelled = shipped(bench.records.story, BANK, epoch)
    found = FailBack(
        began=began,
        ended=commit.ended,
        bytes_changed=travelled.changed if travelled else None,
        bytes_copied=travelled.copied if travelled else None,
        wire_bytes=travelled.wire if travelled else None,
        volume_bytes=sum(volume.size for volume in volumes),
        downtime_seconds=outage.seconds if outage else None,
        acknowledged_writes=comparison.acknowledged,
        acknowledged_writes_lost=len(comparison.lost),
        balances_agree=balances.agree,
    )
    _tell(bench, found)
    return found


async def _compare(bench: Workbench, since: float, until: float) -> Comparison:
    """Everything that the other site acknowledged must have come along."""
    present = await bench.client.present()
    samples = (each for each in bench.client.samples() if each.target in (DATABASE, DEPOSIT))
    writes = acknowledged((each for each in samples if each.began >= since), until)
    return compare(writes, present, until)


def _tell(bench: Workbench, found: FailBack) -> None:
    down = "unknown" if found.downtime_seconds is None else f"{found.downtime_seconds:.1f} s"
    bench.bands.append(Band(found.began, found.ended, "fail back"))
    bench.marks.append(Mark(found.ended, f"bank commits again at {bench.site} ({down} without an answer)"))
    changed = "unknown" if found.bytes_changed is None else human_size(found.bytes_changed)
    wire = "unknown" if found.wire_bytes is None else human_size(found.wire_bytes)
    bench.narrator.good(
        f"bank is home: {down} down; {changed} had changed of {human_size(found.volume_bytes)}, {wire} on the wire; "
        f"{found.acknowledged_writes_lost} of {found.acknowledged_writes} acknowledged writes lost"
    )
