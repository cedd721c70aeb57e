"""Commands that change something: apply, delete, and the verbs on machines, hosts and applications."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.reads import Files, Words, session_of

Wait = Annotated[bool, typer.Option("--wait", help="Return when it was observed, not when it was accepted.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait, such as 90s or 5m.")]
Machine = Annotated[str, typer.Argument(metavar="NAME")]


def register_changes(app: typer.Typer) -> None:
    app.command()(apply)
    app.command()(delete)


def apply(
    context: typer.Context,
    files: Files = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate and say what would be done.")] = False,
) -> None:
    """Make the region's declared state be what manifests say. All of them, or none."""
    from gemel.cli.changing import apply as apply_documents
    from gemel.cli.changing import report_applied
    from gemel.cli.manifests import read_documents

    documents = read_documents(files or ())
    results = session_of(context).run(lambda api: apply_documents(api, documents, dry_run))
    for line in report_applied(results, dry_run):
        print(line)


def delete(
    context: typer.Context,
    words: Words = None,
    files: Files = None,
    ignore_missing: Annotated[bool, typer.Option("--ignore-not-found")] = False,
) -> None:
    """Delete objects by name, or those that manifests name."""
    from gemel.cli.changing import delete as delete_all
    from gemel.cli.changing import deletions
    from gemel.cli.manifests import read_documents
    from gemel.cli.words import parse_wanted

    if bool(words) == bool(files):
        raise CommandFailed(Exit.USAGE, "name either objects (KIND NAME) or manifests (-f FILE)")
    wanted = deletions(read_documents(files)) if files else list(parse_wanted(words or ()))
    if not all(each.names for each in wanted):
        raise CommandFailed(Exit.USAGE, "delete needs names: there is no deleting of all of a kind")
    session_of(context).run(lambda api: delete_all(api, wanted, ignore_missing))


def vm_commands() -> typer.Typer:
    group = typer.Typer(help="Virtual machines: start, stop, migrate, console.", no_args_is_help=True)
    group.command("start")(vm_start)
    group.command("stop")(vm_stop)
    group.command("migrate")(vm_migrate)
    group.command("console")(vm_console)
    return group


def vm_start(context: typer.Context, name: Machine, wait: Wait = False, timeout: Timeout = "2m") -> None:
    """Want it running."""
    _switch(context, name, "start", "Running", _seconds(timeout) if wait else None)


def vm_stop(context: typer.Context, name: Machine, wait: Wait = False, timeout: Timeout = "2m") -> None:
    """Want it stopped: it is asked to shut down, then made to."""
    _switch(context, name, "stop", "Stopped", _seconds(timeout) if wait else None)


def _switch(context: typer.Context, name: str, action: str, phase: str, within: float | None) -> None:
    from gemel.cli.changing import await_machine, verb
    from gemel.cli.client import Api

    async def converse(api: Api) -> None:
        await verb(api, "virtualmachines", name, action)
        print(f"virtualmachine/{name} {action} requested")
        if within is not None:
            await await_machine(api, name, phase, within)
            print(f"virtualmachine/{name} is {phase}")

    session_of(context).run(converse)


def vm_migrate(
    context: typer.Context,
    name: Machine,
    to: Annotated[str | None, typer.Option("--to", metavar="HOST", help="Default: the best other host.")] = None,
    wait: Wait = False,
    timeout: Timeout = "5m",
) -> None:
    """Move a running guest to another host of its site, without stopping it."""
    from gemel.cli.changing import await_migration, status_of, verb
    from gemel.cli.client import Api

    within = _seconds(timeout)

    async def converse(api: Api) -> None:
        before = str((await status_of(api, "virtualmachines", name)).get("host", ""))
        await verb(api, "virtualmachines", name, "migrate", {"to": to} if to else {})
        print(f"virtualmachine/{name} migration requested")
        if wait:
            host = await await_migration(api, name, before, to, within)
            print(f"virtualmachine/{name} runs on {host}")

    session_of(context).run(converse)


def vm_console(
    context: typer.Context,
    name: Machine,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what it prints.")] = False,
) -> None:
    """What the guest printed on its serial console."""
    from urllib.parse import quote

    from gemel.cli.client import Api

    async def converse(api: Api) -> None:
        query = {"follow": "true"} if follow else {}
        async for line in api.lines(f"/v1/virtualmachines/{quote(name, safe='')}/console", query):
            print(line, flush=follow)

    session_of(context).run(converse)


def host_commands() -> typer.Typer:
    group = typer.Typer(help="Hosts: invite, join, drain, resume.", no_args_is_help=True)
    group.command("drain")(host_drain)
    group.command("resume")(host_resume)
    group.command("invite")(host_invite)
    group.command("join")(host_join)
    return group


def host_drain(context: typer.Context, name: Machine, wait: Wait = False, timeout: Timeout = "10m") -> None:
    """Move every guest away and place none there, for maintenance."""
    from gemel.cli.changing import await_drained, verb
    from gemel.cli.client import Api

    within = _seconds(timeout)

    async def converse(api: Api) -> None:
        await verb(api, "hosts", name, "drain")
        print(f"host/{name} drain requested")
        if wait:
            await await_drained(api, name, within)
            print(f"host/{name} runs no guest")

    session_of(context).run(converse)


def host_resume(context: typer.Context, name: Machine) -> None:
    """Let guests be placed there again."""
    from gemel.cli.changing import verb

    session_of(context).run(lambda api: verb(api, "hosts", name, "resume"))
    print(f"host/{name} resumed")


def host_invite(
    context: typer.Context,
    name: Machine,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there, mode 0600.")
    ] = None,
) -> None:
    """A join file with a one-time token, for gemel host join on the new host."""
    from gemel.cli.changing import verb
    from gemel.cli.joining import render_invitation, write_secret

    invitation = session_of(context).run(lambda api: verb(api, "hosts", name, "invite"))
    text = render_invitation(invitation)
    if output is None:
        print(text, end="")
        return
    write_secret(output, text)
    print(f"host/{name} invited: take {output} to it, and run there: gemel host join {output.name}", file=sys.stderr)


def host_join(
    join_file: Annotated[Path, typer.Argument(metavar="JOINFILE")],
    root: Annotated[Path, typer.Option(help="Write below this folder instead of /.")] = Path("/"),
) -> None:
    """Make this machine a host of a region: key, certificate, /etc/gemel/agent.yaml. Safe to repeat."""
    import asyncio

    from gemel.cli.joining import join, read_invitation

    print(asyncio.run(join(read_invitation(join_file), root)))


def app_commands() -> typer.Typer:
    group = typer.Typer(help="Applications: move.", no_args_is_help=True)
    group.callback()(lambda: None)  # keeps `app move` two words while it is the only command
    group.command("move")(app_move)
    return group


def app_move(
    context: typer.Context,
    name: Machine,
    to: Annotated[str, typer.Option("--to", metavar="SITE")],
    wait: Wait = False,
    timeout: Timeout = "5m",
) -> None:
    """A planned move to the other site: stopped, last writes shipped, started there; nothing is lost."""
    from gemel.cli.changing import await_move, verb
    from gemel.cli.client import Api

    within = _seconds(timeout)

    async def converse(api: Api) -> None:
        await verb(api, "applications", name, "move", {"to": to})
        print(f"application/{name} move to {to} requested")
        if wait:
            status = await await_move(api, name, to, within)
            print(f"application/{name} runs at {to} under epoch {status.get('epoch')}")

    session_of(context).run(converse)


def _seconds(text: str) -> float:
    from gemel.core.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"--timeout: {error}") from error
