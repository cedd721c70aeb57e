"""``gemel agent|watchdog|api|controller|witness --config FILE``: the processes that systemd starts.

Standard library only: the watchdog must come up when little else does, and must stay small in memory, so
its start may not pass through the command line's own libraries.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gemel.cli.exits import Exit

CONFIG_FOLDER = Path("/etc/gemel")


@dataclass(frozen=True, slots=True)
class Process:
    """``module`` holds ``main(config: Path)``; it runs until it is told to stop, and returns an exit code
    or None for 0."""

    module: str
    config: str
    summary: str


PROCESSES = {
    "agent": Process("gemel.agent.main", "agent.yaml", "Run this host's agent (every host)."),
    "watchdog": Process("gemel.agent.watchdog", "agent.yaml", "Run this host's watchdog (every host)."),
    "api": Process("gemel.api.main", "api.yaml", "Run the REST API (first host of each site)."),
    "controller": Process(
        "gemel.control.main", "controller.yaml", "Run the controllers, when elected (first host of each site)."
    ),
    "witness": Process("gemel.witness.main", "witness.yaml", "Run the witness's part (the third failure domain)."),
}


def run_process(name: str, arguments: Sequence[str]) -> int:
    """Parse ``--config`` and hand over to the process's own ``main``. Returns the exit code."""
    process = PROCESSES[name]
    parser = argparse.ArgumentParser(prog=f"gemel {name}", description=process.summary)
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIG_FOLDER / process.config,
        metavar="FILE",
        help="default: %(default)s",
    )
    config: Path = parser.parse_args(list(arguments)).config
    if not config.is_file():
        print(f"gemel {name}: there is no configuration file {config}. Name one by --config.", file=sys.stderr)
        return Exit.USAGE
    try:
        main = importlib.import_module(process.module).main
    except ModuleNotFoundError as missing:
        print(f"gemel {name}: this installation lacks the module {missing.name}.", file=sys.stderr)
        return Exit.UNAVAILABLE
    try:
        return int(main(config) or 0)
    except KeyboardInterrupt:
        return Exit.OK
    except Exception as error:
        if not _expected(error):
            raise  # a defect: its traceback belongs into the journal, and systemd starts the process again
        print(f"gemel {name}: {error}", file=sys.stderr)
        return Exit.USAGE if _is_invalid_config(error) else Exit.UNAVAILABLE


def _expected(error: Exception) -> bool:
    """Raised on purpose, with words for a person. Compared by name, so that nothing is imported for it."""
    if isinstance(error, FileNotFoundError | PermissionError) or _is_invalid_config(error):
        return True
    return any(base.__module__ == "gemel.core.outcome" for base in type(error).__mro__)


def _is_invalid_config(error: Exception) -> bool:
    names = {f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__}
    return bool(names & {"pydantic_core._pydantic_core.ValidationError", "gemel.core.outcome.Permanent"})
