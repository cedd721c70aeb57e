"""Entry point of ``gemel``. Picks the way in before anything heavy is imported."""

import sys
from collections.abc import Sequence

from gemel.cli.processes import PROCESSES, run_process


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit the interpreter with its code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if argv and argv[0] in PROCESSES:
        raise SystemExit(run_process(argv[0], argv[1:]))
    if argv in (["version"], ["--version"]):
        from gemel import __version__

        print(f"gemel {__version__}")
        raise SystemExit(0)
    from gemel.cli.app import run  # typer and rich: not for the processes above

    raise SystemExit(run(argv))
