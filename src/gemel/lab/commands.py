"""`gemel lab ...`: the region on this machine, and faults to it. Faces only; decisions are in their modules."""

import asyncio
import json
import os
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from gemel.core.outcome import GemelError
from gemel.lab.faults import Cut, FaultBench
from gemel.lab.preflight import check_this_machine
from gemel.lab.progress import live_progress
from gemel.lab.region import Region, RegionStatus, Stage

app = typer.Typer(help="A whole region on this machine, in namespaces.", no_args_is_help=True)
cut_app = typer.Typer(help="Cut silently: packets vanish, and no carrier is lost.", no_args_is_help=True)
app.add_typer(cut_app, name="cut")

_OK, _NEGATIVE, _USAGE, _UNAVAILABLE = 0, 1, 2, 6
_console = Console()
_errors = Console(stderr=True)


def _fail(message: str, code: int) -> NoReturn:
    _errors.print(f"gemel lab: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def _run(work: Coroutine[Any, Any, Any]) -> None:
    """Run to the end, and say an expected failure in words."""
    try:
        asyncio.run(work)
    except (KeyError, ValueError) as error:
        _fail(str(error.args[0] if error.args else error), _USAGE)
    except GemelError as error:
        _fail(str(error), _UNAVAILABLE)


def _machine() -> None:
    missing = check_this_machine()
    if missing:
        _fail(missing, _USAGE)


def _bench() -> FaultBench:
    _machine()
    region = Region()
    if not region.status().stage:
        _fail("the lab is not up: run `gemel lab up` first", _UNAVAILABLE)
    return FaultBench(region.topology, region.folder)


@app.command()
def up(until: Annotated[Stage, typer.Option(help="How far to go.")] = Stage.HOSTS) -> None:
    """Bring the region up; run again, it goes on from where it was."""
    _machine()
    with live_progress(_console) as progress:
        _run(Region(progress=progress).up(until))


@app.command()
def down() -> None:
    """Remove all of it, also after a crash in the middle."""
    _machine()
    with live_progress(_console) as progress:
        _run(Region(progress=progress).down())


@app.command()
def status(output: Annotated[str, typer.Option("-o", help="table or json")] = "table") -> None:
    """What runs, what is cut. Exit code 1 when the lab is not up or a process of it has died."""
    _machine()
    found = Region().status()
    if output == "json":
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        _print_status(found)
    raise typer.Exit(_OK if found.healthy else _NEGATIVE)


def _print_status(found: RegionStatus) -> None:
    if not found.nodes:
        _console.print("the lab is down")
        return
    table = Table("NODE", "PROCESSES", box=None, header_style="bold")
    for node in found.nodes:
        words = [
            process.name if process.state == "running" else f"[red]{process.name} ({process.state})[/red]"
            for process in found.processes
            if process.node == node
        ]
        off = " [red](off)[/red]" if node in found.down_hosts else ""
        table.add_row(node + off, " ".join(words))
    _console.print(table)
    _console.print(f"stage: {found.stage or 'incomplete'}")
    _console.print(f"cuts: {', '.join(found.cuts) or 'none'}")


@app.command(name="exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def execute(node: str, argv: Annotated[list[str], typer.Argument(help="the command, after --")]) -> None:
    """Run a command in a node's namespaces, in place of this process."""
    _machine()
    region = Region()
    try:
        found = region.topology.node(node)
    except KeyError as error:
        _fail(str(error.args[0]), _USAGE)
    if found.namespace not in {f"gemel-{name}" for name in region.status().nodes}:
        _fail(f"{node} is not up: run `gemel lab up` first", _UNAVAILABLE)
    entrance = region.spawner.entrance(node, found.has_system)
    os.execvp(entrance[0], [*entrance, *argv])


@cut_app.command("site")
def cut_site(site: str) -> None:
    """All links of a site to the outside of it, in both directions."""
    _run(_bench().cut(Cut("site", site)))


@cut_app.command("link")
def cut_link(
    a: str,
    b: str,
    one_way: Annotated[bool, typer.Option("--one-way", help="Only what goes from A to B is lost.")] = False,
) -> None:
    """The direct link between two of: a site, wit, out, client; or between a host and its router."""
    _run(_bench().cut(Cut("link", a, b, one_way)))


@app.command()
def heal() -> None:
    """Heal every cut. A host that was killed stays off: see start."""
    _run(_bench().heal())


@app.command()
def kill(
    what: Annotated[str, typer.Argument(help="host, or a process: agent, watchdog, api, etcd, libvirtd ...")],
    node: str,
) -> None:
    """`kill host NODE`: power off without warning. `kill agent NODE`: SIGKILL to that process."""
    bench = _bench()
    _run(bench.kill_host(node) if what == "host" else _signal(bench.kill, node, what))


@app.command()
def start(
    what: Annotated[str, typer.Argument(help="host, or a process that the lab started before")], node: str
) -> None:
    """`start host NODE`: power on. `start agent NODE`: start that process again, as systemd would."""
    _machine()
    region = Region()
    _run(region.start_host(node) if what == "host" else region.start_process(node, what))


@app.command()
def pause(what: str, node: str) -> None:
    """Stop a process (SIGSTOP) with its children: it hangs."""
    _run(_signal(_bench().pause, node, what))


@app.command()
def resume(what: str, node: str) -> None:
    """Let a paused process go on."""
    _run(_signal(_bench().resume, node, what))


async def _signal(act: Any, node: str, what: str) -> None:
    act(node, what)
