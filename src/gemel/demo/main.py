"""`gemel demo`: the main job, narrated, on a region of this machine. Face only."""

import asyncio
import json
import shutil
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gemel.cli.manifests import read_documents
from gemel.core.outcome import GemelError
from gemel.demo.cast import MANIFESTS, Cast, parse_cast
from gemel.demo.failback import fail_back
from gemel.demo.ground import build_ground
from gemel.demo.homecoming import come_home
from gemel.demo.hostloss import lose_host
from gemel.demo.loading import apply_and_load
from gemel.demo.migration import migrate_under_load
from gemel.demo.narration import Narrator
from gemel.demo.outside import OutsideClient
from gemel.demo.pgbench import BIN
from gemel.demo.picture import plan_picture
from gemel.demo.pipeline import Ran, Step, run_steps
from gemel.demo.report import plan_lines, plan_report
from gemel.demo.siteloss import lose_site
from gemel.demo.timeline import render_timeline
from gemel.demo.verdict import judge_history
from gemel.demo.workbench import Workbench
from gemel.lab.faults import FaultBench
from gemel.lab.history import runs
from gemel.lab.preflight import check_this_machine
from gemel.lab.region import Region
from gemel.lab.unitfile import REPOSITORY

app = typer.Typer(help="The main job, narrated, on a region of this machine.", add_completion=False)

_OK, _FAILED, _CANNOT = 0, 1, 2
_DOWN_WITHIN = 90.0
_PROGRAMS = {"pgbench": "postgresql-15", "psql": "postgresql-client-15"}


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the region running afterwards.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for report.json, timeline.svg, samples.jsonl.")] = Path(
        "build/demo"
    ),
) -> None:
    """Build a region, load it, migrate, kill a host, cut a site off, let it return, fail back; then report.

    Exit codes: 0 every line is met; 1 a step failed or a line is not met; 2 this machine cannot."""
    missing = check_here()
    if missing:
        Console(stderr=True).print(f"gemel demo: {missing}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(_CANNOT)
    raise typer.Exit(asyncio.run(_supervised(keep, out)))


def check_here() -> str:
    """What is missing, in one line; empty when the demo can run."""
    missing = check_this_machine()
    if missing:
        return missing.replace("the lab needs", "the demo needs", 1)
    lacking = sorted(package for program, package in _PROGRAMS.items() if not (BIN / program).exists())
    if lacking:
        return f"the demo needs Debian packages that are not installed: {' '.join(lacking)} (make setup installs them)"
    if Region().status().stage:
        return "a lab is up already, and the demo builds its own: gemel lab down removes it"
    return ""


async def _supervised(keep: bool, out: Path) -> int:
    """SIGTERM ends it as Ctrl-C does: tidied up."""
    task = asyncio.ensure_future(_perform(keep, out))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


async def _perform(keep: bool, out: Path) -> int:
    began = time.monotonic()
    console = Console()
    narrator = Narrator(console, began)
    bench = _workbench(narrator, out)
    steps = plan_steps(bench)
    try:
        ran = await run_steps(
            steps,
            begin=lambda number, step: narrator.step(number, len(steps), step.title),
            failed=lambda outcome: narrator.bad(outcome.failure),
        )
        await bench.client.stop()
        _draw(bench, began)
        if any(outcome.failure for outcome in ran.outcomes):
            await asyncio.to_thread(_save_logs, bench)
    finally:
        left = await _tidy(bench, keep)
    return _conclude(bench, ran, time.monotonic() - began, left)


def _workbench(narrator: Narrator, out: Path) -> Workbench:
    out.mkdir(parents=True, exist_ok=True)
    region, cast = Region(), read_cast()
    client = OutsideClient(region, cast.connection, out / "samples.jsonl")
    return Workbench(region, FaultBench(region.topology, region.folder), narrator, client, cast, out, [], [])


def read_cast() -> Cast:
    documents = read_documents([str(REPOSITORY / "examples" / name) for name in MANIFESTS])
    objects: list[Any] = [each.object for each in documents]
    return parse_cast(objects)


def plan_steps(bench: Workbench) -> tuple[Step, ...]:
    """In order. A deadline is where something is broken, not where it is slow: the lines judge slowness."""
    site = bench.site
    return (
        Step("ground", "Build the region", 1080.0, partial(build_ground, bench)),
        Step("loaded", "Apply the examples, and load them", 330.0, partial(apply_and_load, bench), ("ground",)),
        Step(
            "live_migration",
            "Move the database to another host, live",
            240.0,
            partial(migrate_under_load, bench),
            ("loaded",),
        ),
        Step("host_loss", "Lose a host", 400.0, partial(lose_host, bench), ("loaded",)),
        Step("site_loss", f"Lose the site {site}", 540.0, partial(lose_site, bench), ("loaded",)),
        Step("homecoming", f"Let {site} come back", 240.0, partial(come_home, bench), ("site_loss",)),
        Step("failback", f"Fail back to {site}", 660.0, partial(fail_back, bench), ("homecoming",)),
        Step("history", "Read the history of all runs", 30.0, partial(judge_history, bench), ("loaded",)),
    )


def _draw(bench: Workbench, began: float) -> None:
    """Whatever was seen, also of a demo that failed in the middle."""
    samples = bench.client.samples()
    sites = {host.name: host.site or "" for host in bench.region.topology.hosts()}
    begin = min([bench.loaded_at or began, *(sample.began for sample in samples[:1])])
    picture = plan_picture(
        samples, runs(bench.region.records()), (begin, time.monotonic()), sites, bench.bands, bench.marks
    )
    (bench.out / "timeline.svg").write_text(render_timeline(picture))


def _save_logs(bench: Workbench) -> None:
    """Of every process of the region, for who wants to know why: the lab takes its own with it."""
    target = bench.out / "logs"
    shutil.rmtree(target, ignore_errors=True)
    with suppress(OSError, shutil.Error):
        shutil.copytree(bench.region.folder.logs, target)
        bench.narrator.say(f"logs of all processes: {target}")


async def _tidy(bench: Workbench, keep: bool) -> str:
    """What could not be tidied up, in words."""
    left = ""
    if bench.watcher is not None:
        await bench.watcher.stop()
    try:
        await bench.client.stop()
        if keep:
            bench.narrator.say("The region stays up: gemel status -w; gemel lab down removes it.")
        else:
            bench.narrator.command("gemel lab down")
            with bench.narrator.waiting("the lab is removed"):
                await asyncio.wait_for(bench.region.down(), _DOWN_WITHIN)
    except (GemelError, TimeoutError, OSError) as error:
        left = f"tidying up: {error or type(error).__name__}"
        bench.narrator.bad(left)
    return left


def _conclude(bench: Workbench, ran: Ran, wall: float, left: str) -> int:
    report = plan_report(ran.results, ran.outcomes, wall)
    if left:
        report["demo"]["failures"].append(left)
        report["demo"]["succeeded"] = False
    (bench.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    bench.narrator.table(plan_lines(ran.results, wall))
    for failure in report["demo"]["failures"]:
        bench.narrator.bad(failure)
    bench.narrator.say(f"{bench.out / 'report.json'}, {bench.out / 'timeline.svg'}")
    return _OK if report["demo"]["succeeded"] else _FAILED
