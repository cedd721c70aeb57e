"""What the outside client saw: one sample an attempt, with monotonic times. Pure.

An answer counts when it was whole; everything else (silence, a refusal, half an answer) is a failure with
its reason in ``detail``.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import inf


@dataclass(frozen=True, slots=True)
class Sample:
    """``began`` and ``ended`` are CLOCK_MONOTONIC seconds. ``id`` names what was written, where anything was:
    an answered sample with an id is an acknowledged write."""

    target: str
    began: float
    ended: float
    ok: bool
    id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """From the last good answer to the next one, with at least one failure between them. ``end`` is infinite
    while no answer has come. ``failed_at`` is when the first failed attempt began."""

    begin: float
    end: float
    failed_at: float
    failures: int

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def render_sample(sample: Sample) -> str:
    return json.dumps(asdict(sample), separators=(",", ":")) + "\n"


def parse_samples(text: str) -> tuple[tuple[Sample, ...], int]:
    """Samples of the whole lines of ``text``, and how many characters those lines take. The rest is a line
    that is still being written."""
    whole = text.rfind("\n") + 1
    return tuple(Sample(**json.loads(line)) for line in text[:whole].splitlines()), whole


def of_target(samples: Iterable[Sample], target: str) -> tuple[Sample, ...]:
    """In the order in which they ended."""
    return tuple(sorted((each for each in samples if each.target == target), key=lambda each: each.ended))


def within(samples: Iterable[Sample], begin: float, end: float) -> tuple[Sample, ...]:
    """Those that were under way at any time of [begin, end]."""
    return tuple(each for each in samples if each.began <= end and each.ended >= begin)


def first_answer(samples: Iterable[Sample], target: str, after: float) -> Sample | None:
    """The first good answer to an attempt that began at ``after`` or later."""
    good = (each for each in samples if each.target == target and each.ok and each.began >= after)
    return min(good, key=lambda each: each.ended, default=None)


def outages(samples: Iterable[Sample]) -> tuple[Outage, ...]:
    """Of one target. Attempts may overlap: a failure that began before the last good answer came tells
    nothing of the time after it."""
    found: list[Outage] = []
    failures: list[Sample] = []
    last_good: float | None = None
    for each in sorted(samples, key=lambda each: each.ended):
        if each.ok:
            if failures:
                found.append(_outage(last_good, each.ended, failures))
            failures, last_good = [], each.ended
        elif last_good is None or each.began >= last_good:
            failures.append(each)
    if failures:
        found.append(_outage(last_good, inf, failures))
    return tuple(found)


def _outage(last_good: float | None, end: float, failures: Sequence[Sample]) -> Outage:
    failed_at = min(each.began for each in failures)
    begin = failed_at if last_good is None else last_good
    return Outage(begin, end, failed_at, len(failures))


def longest_outage(samples: Iterable[Sample], begin: float, end: float) -> Outage | None:
    """Of one target, among those that touch [begin, end]."""
    touching = (each for each in outages(samples) if each.begin <= end and each.end >= begin)
    return max(touching, key=lambda each: each.seconds, default=None)


def longest_silence(samples: Iterable[Sample], begin: float, end: float) -> float | None:
    """The longest time between two good answers that touches [begin, end], in seconds; None when answers on
    both sides are missing. It holds the pause between two attempts as well as what the target took."""
    answers = sorted(each.ended for each in samples if each.ok)
    spans = [b - a for a, b in pairwise(answers) if a <= end and b >= begin]
    return max(spans, default=None)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time during which a target answered throughout, or failed throughout."""

    begin: float
    end: float
    ok: bool


def stretches(samples: Iterable[Sample], patience: float = 3.0) -> tuple[Stretch, ...]:
    """Of one target, for a picture: each attempt speaks for the time until the next one begins, and for
    itself alone when nobody asked for longer than ``patience`` seconds after it."""
    ordered = sorted(samples, key=lambda each: each.began)
    found: list[Stretch] = []
    for number, each in enumerate(ordered):
        following = ordered[number + 1].began if number + 1 < len(ordered) else inf
        end = following if following <= each.ended + patience else max(each.began, each.ended)
        last = found[-1] if found else None
        if last is not None and last.ok == each.ok and last.end >= each.began:
            found[-1] = Stretch(last.begin, max(last.end, end), last.ok)
        else:
            found.append(Stretch(each.began, end, each.ok))
    return tuple(found)
