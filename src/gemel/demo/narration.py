"""What a person reads while the demo runs: plain sentences, commands as they are typed, and what is waited for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from gemel.demo.report import Line


class Narrator:
    """Prints; decides nothing. ``begin`` is when the clock in front of each sentence started."""

    def __init__(self, console: Console, begin: float) -> None:
        self._console = console
        self._begin = begin

    def _put(self, text: str, style: str = "") -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._begin), 60)
        self._console.print(f"{minutes:d}:{seconds:02d}  ", style="dim", end="", highlight=False)
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def step(self, number: int, total: int, title: str) -> None:
        self._console.print()
        self._put(f"{number}/{total}  {title}", "bold cyan")

    def say(self, sentence: str) -> None:
        self._put(sentence)

    def good(self, sentence: str) -> None:
        self._put(f"✓ {sentence}", "green")

    def bad(self, sentence: str) -> None:
        self._put(f"✗ {sentence}", "red")

    def command(self, line: str) -> None:
        self._put(f"$ {line}", "bold")

    def output(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            self._console.print(f"        {line}", style="dim", markup=False, highlight=False, no_wrap=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Shows that something is waited for, with a spinner on a terminal."""
        if not self._console.is_terminal:
            self._put(f"… {what}")
            yield
            return
        with self._console.status(f"… {what}"):
            yield

    def table(self, lines: tuple[Line, ...]) -> None:
        table = Table(title="What was measured", title_justify="left", header_style="bold")
        for heading in ("", "LINE", "MEASURED", "MUST BE"):
            table.add_column(heading, overflow="fold")
        for line in lines:
            mark = "[green]✓[/green]" if line.met else "[red]✗[/red]"
            table.add_row(mark, line.title, line.shown, line.limit)
        self._console.print()
        self._console.print(table, highlight=False)
