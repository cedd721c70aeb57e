"""Step: the applications of `examples/`, answering the outside client, under load, and protected."""

import time
from datetime import datetime
from pathlib import Path

from gemel.catalog.records import Records
from gemel.demo.cast import BANK, MANIFESTS, SHOP
from gemel.demo.conditions import not_protected, not_running
from gemel.demo.loadplan import CREATE_WRITES, DATABASE, DEPOSIT, PGBENCH, LoadPlan, Page
from gemel.demo.loadplan import SHOP as ORDERS
from gemel.demo.results import Loaded, Results
from gemel.demo.workbench import Workbench, wall_now, words_of
from gemel.lab.unitfile import REPOSITORY

RUNNING_WITHIN = 120.0
ANSWER_WITHIN = 120.0
PROTECTED_WITHIN = 120.0
INITIALISE_WITHIN = 90.0
LOAD_SECONDS = 1800.0
"""The client ends by itself after so long, whatever becomes of the demo."""
SCALE = 1
"""pgbench's: 100,000 accounts, about 15 MB."""


async def apply_and_load(bench: Workbench, so_far: Results) -> Loaded:
    began = time.monotonic()
    folder = REPOSITORY / "examples"
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    manifests = [folder / name for name in MANIFESTS]
    await bench.gemel("apply", *words_of(manifests))
    guests = [guest.name for guest in bench.cast.guests]
    with bench.narrator.waiting("volumes are made, guests are placed and boot"):
        await bench.records.until("guests to run", lambda records: not_running(records, guests), RUNNING_WITHIN)
        bench.client.write_password(bench.cast.password)
        await bench.client.query_patiently(CREATE_WRITES, ANSWER_WITHIN)
    applications = time.monotonic() - began
    bench.narrator.good(f"the bank's database answers the outside client ({applications:.1f} s)")
    bench.narrator.command(f"pgbench -i -s {SCALE}")
    with bench.narrator.waiting("pgbench fills its tables"):
        await bench.client.initialise(SCALE, INITIALISE_WITHIN)
    since = wall_now()
    await _start_load(bench)
    began = time.monotonic()
    with bench.narrator.waiting("every volume gets a complete copy on the other site"):
        await until_protected(bench, since, PROTECTED_WITHIN)
    protected = time.monotonic() - began
    bench.narrator.good(f"bank and shop are protected: complete copies within 20 s ({protected:.1f} s)")
    await bench.gemel("status")
    return Loaded(applications, protected)


async def _start_load(bench: Workbench) -> None:
    cast = bench.cast
    bench.loaded_at = time.monotonic()
    bench.client.start(
        LoadPlan(
            output=str(bench.client.file),
            seconds=LOAD_SECONDS,
            pages=tuple(Page(web.name, web.address) for web in cast.webs),
            deposits=tuple(web.address for web in cast.webs),
            shop=cast.shop.address,
            database=cast.connection,
            passfile=str(bench.client.passfile),
        )
    )
    targets = (DATABASE, PGBENCH, DEPOSIT, ORDERS, *(web.name for web in cast.webs))
    with bench.narrator.waiting("the load begins"):
        for target in targets:
            await bench.client.until_answer(target, bench.loaded_at, ANSWER_WITHIN)
    bench.narrator.good(
        "load from outside: pgbench's TPC-B, single commits, deposits through the web tier, orders at the shop"
    )


async def until_protected(bench: Workbench, since: datetime, within: float) -> None:
    """Every volume of bank and shop has a copy that was taken after ``since`` and is young enough."""

    def missing(records: Records) -> str:
        now = wall_now()
        found = (not_protected(records, application, since, now) for application in (BANK, SHOP))
        return "; ".join(filter(None, found))

    await bench.records.until("complete copies on the other site", missing, within)
