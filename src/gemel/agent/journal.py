"""What this host ran, written down locally: for the history of runs, and for what a return must hold back.

``runs.jsonl`` grows by a line for each change of execution, with the monotonic time. ``ran.json`` names the
guests that this host has started and not properly ended, with their epochs: after a lease was lost it says
what was killed, also to an agent that has restarted since.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import structlog

from gemel.core.clock import Clock
from gemel.core.identity import Epoch, GuestName

log = structlog.get_logger("gemel.agent")


class Journal:
    def __init__(self, folder: Path, host: str, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._runs = folder / "runs.jsonl"
        self._ran = folder / "ran.json"
        self._host = host
        self._clock = clock

    def note(self, guest: str, event: str, epoch: int | None = None, detail: str = "") -> None:
        line = {"at": self._clock.monotonic(), "host": self._host, "guest": guest, "event": event}
        if epoch is not None:
            line["epoch"] = epoch
        if detail:
            line["detail"] = detail
        try:
            with self._runs.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:  # a full disk must not keep a fence from going on
            log.error("run not written down", guest=guest, happened=event, error=str(error))

    def ran(self) -> dict[GuestName, Epoch]:
        """Empty when nothing was written, or when it cannot be read."""
        try:
            return {GuestName(name): Epoch(epoch) for name, epoch in json.loads(self._ran.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def remember(self, ran: Mapping[GuestName, Epoch]) -> None:
        """Replace, on change only."""
        if dict(ran) == self.ran() and self._ran.exists():
            return
        fresh = self._ran.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(ran))
            fresh.replace(self._ran)
        except OSError as error:  # it serves the quarantine's list; guests run on without it
            log.error("what runs here is not written down", error=str(error))
