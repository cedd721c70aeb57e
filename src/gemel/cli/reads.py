"""Commands that only look: get, describe, events, status, diff, version."""

from typing import Annotated

import typer

from gemel import __version__
from gemel.cli.exits import Exit
from gemel.cli.session import Session

Words = Annotated[
    list[str] | None, typer.Argument(metavar="KIND [NAME...] | KIND/NAME...", autocompletion=lambda: _kind_words())
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on showing what changes, until interrupted.")]
Files = Annotated[
    list[str] | None, typer.Option("--filename", "-f", metavar="FILE", help="A file, a folder, or - ; may be repeated.")
]


def _kind_words() -> list[str]:
    from gemel.catalog.registry import KINDS

    return [word for kind in KINDS for word in (kind.plural, *kind.short_names)]


def register_reads(app: typer.Typer) -> None:
    app.command()(get)
    app.command()(describe)
    app.command()(diff)
    app.command()(events)
    app.command()(status)
    app.command()(version)


def get(
    context: typer.Context,
    words: Words = None,
    output: Annotated[str, typer.Option("-o", "--output", help="table, wide, json, yaml or name.")] = "table",
    selector: Annotated[str | None, typer.Option("-l", "--selector", metavar="LABEL=VALUE,...")] = None,
    watch: Watch = False,
) -> None:
    """List resources, or show some of them: get vm, get vm bank-db, get vm/bank-db, get all."""
    from gemel.cli.exits import CommandFailed
    from gemel.cli.listing import Output, check_selector, show, show_changes
    from gemel.cli.words import parse_wanted

    if output not in list(Output):
        raise CommandFailed(Exit.USAGE, f"there is no output {output!r}", f"one of {', '.join(Output)}")
    check_selector(selector)
    wanted, session = parse_wanted(words or ()), session_of(context)
    if not watch:
        session.run(lambda api: show(api, wanted, Output(output), selector))
    elif len(wanted) == 1:
        session.run(lambda api: show_changes(api, wanted[0], Output(output), selector))
    else:
        raise CommandFailed(Exit.USAGE, "-w watches one kind", "start one gemel get -w for each")


def describe(context: typer.Context, words: Words = None) -> None:
    """All of one object: what was declared, what is, why, and what happened to it."""
    from gemel.cli.description import describe as describe_one
    from gemel.cli.words import parse_one

    kind, name = parse_one(words or ())
    print(session_of(context).run(lambda api: describe_one(api, kind, name)))


def diff(context: typer.Context, files: Files = None) -> None:
    """How manifests differ from what the region has. Exit code 1 when they do."""
    from gemel.cli.changing import differ, print_diff
    from gemel.cli.manifests import read_documents

    documents = read_documents(files or ())
    lines = session_of(context).run(lambda api: differ(api, documents))
    print_diff(lines)
    raise typer.Exit(Exit.DIFFERENT if lines else Exit.OK)


def events(
    context: typer.Context,
    about: Annotated[str | None, typer.Option("--for", metavar="KIND/NAME", help="Only about this object.")] = None,
    watch: Watch = False,
) -> None:
    """What happened in the last hour, oldest first."""
    from gemel.cli.history import show_events
    from gemel.cli.words import parse_one

    of = None
    if about is not None:
        kind, name = parse_one([about])
        of = f"{kind.name}/{name}"
    session_of(context).run(lambda api: show_events(api, of, watch))


def status(
    context: typer.Context,
    watch: Watch = False,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 when there is an alarm.")] = False,
) -> None:
    """The region at one glance."""
    from gemel.cli.glance import show_status

    alarms = session_of(context).run(lambda api: show_status(api, watch, output))
    raise typer.Exit(Exit.DIFFERENT if check and alarms else Exit.OK)


def version() -> None:
    """This program's version."""
    print(f"gemel {__version__}")


def session_of(context: typer.Context) -> Session:
    session = context.obj
    assert isinstance(session, Session)
    return session
