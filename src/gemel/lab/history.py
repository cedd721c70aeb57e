"""Which QEMU executed which guest when, and whether two ever did at once. Pure.

The records come from `lab.recorder`, which watches processes and QEMU's own events and knows nothing of
gemel. During a live migration two QEMUs of one guest exist, and that is right; what must never be is that both
*execute*. A QEMU executes

* from its process's start, unless it was started to receive a migration: then from its RESUME event;
* until its process's end, or its STOP event (the source of a migration stops before the target resumes, and
  QEMU stamps both events itself);
* and, where the recorder could not hear QEMU's events (a libvirtd that was down), it counts as executing for
  all of its process's life from then on: what is not known counts against us.

So a paused or stopped process (SIGSTOP) counts as executing, and a host that is cut off is no exception.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import Any


class What(StrEnum):
    START = "start"
    END = "end"
    STOP = "stop"
    RESUME = "resume"
    LISTENING = "listening"  # from now on QEMU's events of this host are heard
    DEAF = "deaf"  # they are not
    ALIVE = "alive"  # the recorder itself, once a second


@dataclass(frozen=True, slots=True)
class Record:
    """``at`` is CLOCK_MONOTONIC. ``pid`` is 0 in events, which name only the guest and the host."""

    what: What
    at: float
    host: str = ""
    guest: str = ""
    pid: int = 0
    incoming: bool = False


@dataclass(frozen=True, slots=True)
class Interval:
    """[begin, end); ``end`` is infinite for what still ran when the record ended."""

    begin: float
    end: float

    def overlap(self, other: "Interval") -> float:
        return max(0.0, min(self.end, other.end) - max(self.begin, other.begin))


@dataclass(frozen=True, slots=True)
class Run:
    """One QEMU: its process's life, and when it executed."""

    guest: str
    host: str
    pid: int
    incoming: bool
    life: Interval
    executed: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class DoubleRun:
    guest: str
    first: Run
    second: Run
    begin: float
    seconds: float


def parse_record(line: Mapping[str, Any]) -> Record:
    return Record(
        What(line["what"]),
        float(line["at"]),
        str(line.get("host", "")),
        str(line.get("guest", "")),
        int(line.get("pid", 0)),
        bool(line.get("incoming", False)),
    )


def runs(records: Iterable[Record]) -> tuple[Run, ...]:
    """Every QEMU that was seen, in the order of its start."""
    ordered = sorted(records, key=lambda record: record.at)
    listening = _listening(ordered)
    ends = {(r.host, r.pid): r.at for r in ordered if r.what is What.END}
    found = []
    for start in (r for r in ordered if r.what is What.START):
        life = Interval(start.at, ends.get((start.host, start.pid), inf))
        events = [
            r
            for r in ordered
            if r.what in (What.STOP, What.RESUME)
            and (r.host, r.guest) == (start.host, start.guest)
            and life.begin <= r.at <= life.end
        ]
        executed = _executed(start.incoming, life, events, listening[start.host])
        found.append(Run(start.guest, start.host, start.pid, start.incoming, life, executed))
    return tuple(found)


def _listening(ordered: Iterable[Record]) -> Mapping[str, list[Record]]:
    turns: dict[str, list[Record]] = defaultdict(list)
    for record in ordered:
        if record.what in (What.LISTENING, What.DEAF):
            turns[record.host].append(record)
    return turns


def _hears(turns: Iterable[Record], at: float) -> bool:
    """Whether the host's events were heard at a time."""
    heard = False
    for turn in turns:
        if turn.at <= at:
            heard = turn.what is What.LISTENING
    return heard


def _executed(
    incoming: bool, life: Interval, events: Iterable[Record], turns: Iterable[Record]
) -> tuple[Interval, ...]:
    """Spans of execution: a small machine over the QEMU's events and the recorder's hearing."""
    turns = list(turns)
    executing = not incoming or not _hears(turns, life.begin)
    began, spans = life.begin, []
    deaf = [turn for turn in turns if turn.what is What.DEAF and life.begin < turn.at < life.end]
    for event in sorted((*events, *deaf), key=lambda record: record.at):
        # Deafness makes a stopped QEMU count as executing: its RESUME would not be heard.
        now = event.what is not What.STOP
        if now == executing:
            continue
        if executing:
            spans.append(Interval(began, event.at))
        executing, began = now, event.at
    if executing:
        spans.append(Interval(began, life.end))
    return tuple(span for span in spans if span.end > span.begin)


def double_runs(records: Iterable[Record]) -> list[DoubleRun]:
    """Every time at which two QEMUs executed one guest. An empty list is what must be."""
    by_guest: dict[str, list[Run]] = defaultdict(list)
    for run in runs(records):
        by_guest[run.guest].append(run)
    found = []
    for guest, several in by_guest.items():
        for index, first in enumerate(several):
            for second in several[index + 1 :]:
                found += _overlaps(guest, first, second)
    return sorted(found, key=lambda double: double.begin)


def _overlaps(guest: str, first: Run, second: Run) -> list[DoubleRun]:
    return [
        DoubleRun(guest, first, second, max(a.begin, b.begin), a.overlap(b))
        for a in first.executed
        for b in second.executed
        if a.overlap(b) > 0
    ]


def check_coverage(records: Iterable[Record], begin: float, end: float, longest_gap: float = 3.0) -> list[str]:
    """What speaks against trusting the record between two times: gaps in which the recorder did not look."""
    times = [begin, *sorted(r.at for r in records if r.what is What.ALIVE and begin <= r.at <= end), end]
    return [
        f"the recorder did not look for {b - a:.1f} s from {a:.1f}" for a, b in pairwise(times) if b - a > longest_gap
    ]
