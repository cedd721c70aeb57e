"""Step: the history of every guest's runs, on all hosts, the cut-off ones too: did any two overlap?"""

import time

from gemel.core.outcome import Permanent
from gemel.demo.results import Results, RunHistory
from gemel.demo.workbench import Workbench, plural
from gemel.lab.history import check_coverage, double_runs, runs


async def judge_history(bench: Workbench, so_far: Results) -> RunHistory:
    if not bench.loaded_at:
        raise Permanent("nothing ran: there is no history to judge")
    records = bench.region.records()
    seen = runs(records)
    doubles = double_runs(records)
    gaps = check_coverage(records, bench.loaded_at, time.monotonic())
    names = {run.guest for run in seen}
    unseen = tuple(guest.name for guest in bench.cast.guests if guest.name not in names)
    for double in doubles:
        bench.narrator.bad(
            f"{double.guest} ran twice for {double.seconds:.3f} s: on {double.first.host} and {double.second.host}"
        )
    for doubt in (*gaps, *(f"{guest} was never seen to run" for guest in unseen)):
        bench.narrator.bad(doubt)
    if not doubles:
        bench.narrator.good(f"{plural(len(seen), 'run')} of {plural(len(names), 'guest')}, no two of one guest at once")
    return RunHistory(len(doubles), len(seen), tuple(gaps), unseen)
