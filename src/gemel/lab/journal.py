"""What the lab did to the region and when, as JSON lines: the demo and the tests measure from it."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """``began`` and ``ended`` are CLOCK_MONOTONIC seconds; ``wall`` is for people."""

    what: str
    began: float
    ended: float
    wall: str
    detail: dict[str, Any]


class Journal:
    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, what: str, began: float, **detail: Any) -> Entry:
        """Append that ``what`` was done from ``began`` until now."""
        entry = Entry(what, began, time.monotonic(), datetime.now(UTC).isoformat(), detail)
        line = {
            "what": what,
            "began": entry.began,
            "ended": entry.ended,
            "wall": entry.wall,
            **detail,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return entry

    def entries(self) -> tuple[Entry, ...]:
        if not self._path.exists():
            return ()
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        return tuple(
            Entry(line.pop("what"), line.pop("began"), line.pop("ended"), line.pop("wall"), line) for line in lines
        )
