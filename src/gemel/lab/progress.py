"""The steps of bringing a region up or down, as they run, on a terminal; plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gemel.lab.region import Progress

_MARKS = {"begin": "[yellow]…[/yellow]", "done": "[green]✓[/green]", "failed": "[red]✗[/red]"}


class _Board:
    """Steps in the order in which they began."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[str, float]] = {}

    def note(self, step: str, event: str, seconds: float) -> None:
        self._steps[step] = (event, time.monotonic() if event == "begin" else seconds)

    def __rich__(self) -> Table:
        table = Table(box=None, show_header=False)
        for step, (event, moment) in self._steps.items():
            seconds = time.monotonic() - moment if event == "begin" else moment
            table.add_row(_MARKS[event], step, f"{seconds:5.1f} s")
        return table


@contextmanager
def live_progress(console: Console) -> Iterator[Progress]:
    if not console.is_terminal:
        yield lambda step, event, seconds: _line(console, step, event, seconds)
        return
    board = _Board()
    with Live(board, console=console, refresh_per_second=4):
        yield board.note


def _line(console: Console, step: str, event: str, seconds: float) -> None:
    if event != "begin":
        console.print(f"{step}: {event} in {seconds:.1f} s", markup=False, highlight=False)
