"""Step: the lost site comes back. What ran there is held; what only it had is kept; copies flow to it."""

import time

from gemel.catalog.records import Records
from gemel.core.outcome import Permanent
from gemel.core.units import human_size
from gemel.demo.cast import BANK
from gemel.demo.conditions import held_guests, kept_back, not_accounted, not_alive, not_protected
from gemel.demo.results import Homecoming, Results
from gemel.demo.timeline import Band, Mark
from gemel.demo.workbench import Workbench, plural, wall_now

RETURN_WITHIN = 180.0


async def come_home(bench: Workbench, so_far: Results) -> Homecoming:
    loss = so_far.site_loss
    if loss is None:
        raise Permanent("the site was not lost: nothing can come back")
    site, stale = bench.site, [guest.name for guest in bench.cast.bank]
    bench.narrator.say(f"{site} hears the others again. Whatever ran there is of an older epoch.")
    bench.narrator.command("gemel lab heal")
    since = wall_now()
    entry = await bench.faults.heal()
    bench.bands.append(Band(loss.began, entry.began, f"{site} cut off"))

    def missing(records: Records) -> str:
        waiting = [not_alive(records, bench.hosts(site))]
        unheld = sorted(set(stale) - held_guests(records, site, stale, since))
        waiting.append(f"{', '.join(unheld)} not held" if unheld else "")
        waiting.append(not_accounted(records, BANK, site) or not_protected(records, BANK, since, wall_now()))
        return "; ".join(filter(None, waiting))

    with bench.narrator.waiting(f"stale guests are held, divergence is measured, copies flow back to {site}"):
        await bench.records.until(f"the return of {site}", missing, RETURN_WITHIN)
    ended = time.monotonic()
    records = bench.records.records()
    count, kept = kept_back(records, site, since)
    held = held_guests(records, site, stale, since)
    bench.marks.append(Mark(ended, f"{site} follows again: copies of bank are complete there"))
    await bench.gemel("get", "quarantines")
    bench.narrator.good(
        f"{plural(len(held), 'stale guest')} held, {'unknown' if kept is None else human_size(kept)} that only "
        f"{site} had kept aside, copies complete after {ended - entry.began:.1f} s"
    )
    return Homecoming(entry.ended, ended, count, len(held), len(stale), kept)
