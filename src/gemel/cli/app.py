"""The tree of commands, and the one place where an error becomes words and an exit code.

Whatever a command needs is imported inside it: ``gemel --help`` must answer at once.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gemel.cli.changes import app_commands, host_commands, register_changes, vm_commands
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.processes import PROCESSES
from gemel.cli.reads import register_reads
from gemel.cli.session import Session

EPILOG = (
    "Exit codes: 0 done; 1 different (diff) or an alarm (status --check); 2 wrong usage or bad input; "
    "3 refused by role or token; 4 not found; 5 conflict; 6 no API or store available; 7 timed out waiting."
)
DEBUG = "GEMEL_DEBUG"
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_Complaint: type[Exception] = typer.BadParameter.__mro__[2]
"""Typer's own classes for wrong usage; it exports only their leaves."""


def build() -> typer.Typer:
    app = typer.Typer(
        name="gemel",
        help="A private cloud on two sites that share one witness.",
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    register_reads(app)
    register_changes(app)
    app.add_typer(vm_commands(), name="vm")
    app.add_typer(host_commands(), name="host")
    app.add_typer(app_commands(), name="app")
    # These are only for the list in the help text: run() and main() go to them before typer looks.
    summaries = {name: summary for name, (_, summary) in ELSEWHERE.items()}
    summaries |= {name: process.summary for name, process in PROCESSES.items()}
    for name, summary in summaries.items():
        app.command(name, help=summary)(_unreachable)
    return app


ELSEWHERE = {
    "lab": ("gemel.lab.commands", "A whole region on this machine: up, down, status, exec, faults."),
    "demo": ("gemel.demo.main", "The main job, narrated, on a region of this machine."),
}
"""Name to a module, which has a typer ``app`` or a ``main(arguments) -> int | None``, and its summary."""


def _options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Contexts file [default: $GEMEL_CONFIG or ~/.config/gemel/config.yaml]")
    ] = None,
    context_name: Annotated[
        str | None, typer.Option("--context", help="Which context of it [default: its current one]")
    ] = None,
) -> None:
    session = context.obj if isinstance(context.obj, Session) else Session()
    context.obj = replace(session, config=config or session.config, context=context_name or session.context)


def _run_elsewhere(name: str, arguments: Sequence[str]) -> int:
    """A command tree whose module is imported, with all that it needs, only when it is called. It gets its
    arguments untouched: ``lab exec NODE -- argv`` has options in them that are not gemel's."""
    module = ELSEWHERE[name][0]
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name and not missing.name.startswith("gemel"):
            raise CommandFailed(
                Exit.UNAVAILABLE, f"gemel {name} needs the Python module {missing.name}", "run make setup"
            ) from missing
        raise CommandFailed(Exit.UNAVAILABLE, f"this installation has no gemel {name}") from missing
    if hasattr(found, "app"):
        command = typer.main.get_command(found.app)
        code = command.main(args=list(arguments), prog_name=f"gemel {name}", standalone_mode=False)
    else:
        code = found.main(list(arguments))
    return code if isinstance(code, int) else Exit.OK


def _unreachable() -> None:
    raise CommandFailed(Exit.USAGE, "write the name of the process or tool first: gemel lab up, gemel agent --config X")


def run(arguments: Sequence[str], session: Session | None = None) -> int:
    """Run a command line; returns its exit code. Nothing but an exit code and words reaches the caller."""
    argv = list(arguments)
    if argv and argv[0] in ELSEWHERE:
        return guarded(lambda: _run_elsewhere(argv[0], argv[1:]))
    command = typer.main.get_command(build())
    return guarded(lambda: command.main(args=argv, prog_name="gemel", standalone_mode=False, obj=session))


def guarded(call: Callable[[], Any]) -> int:
    try:
        code = call()
        sys.stdout.flush()
        return code if isinstance(code, int) else Exit.OK
    except CommandFailed as error:
        _say(error)
        return error.code
    except _Complaint as error:
        error.show()  # type: ignore[attr-defined]
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        return _unforeseen(error)


def _say(error: CommandFailed) -> None:
    for line in getattr(error, "lines", ()):
        print(line, file=sys.stderr)
    print(f"gemel: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"       {error.hint}", file=sys.stderr)


def _unforeseen(error: Exception) -> int:
    from gemel.core.outcome import GemelError

    if isinstance(error, GemelError):
        print(f"gemel: {error}", file=sys.stderr)
        return Exit.UNAVAILABLE
    if os.environ.get(DEBUG):
        raise error
    print(
        f"gemel: a defect in gemel: {type(error).__name__}: {' '.join(str(error).split())}\n"
        f"       set {DEBUG}=1 to see where, and please report it",
        file=sys.stderr,
    )
    return Exit.UNAVAILABLE
