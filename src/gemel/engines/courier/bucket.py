"""A token bucket: pure, time passed in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bucket:
    """``rate`` bytes a second on average, at most ``burst`` at once. ``level`` may be negative: a debt."""

    rate: float
    burst: float
    level: float
    at: float


def full(rate: float, now: float, burst: float | None = None) -> Bucket:
    """A quarter of a second's worth at once, unless told otherwise."""
    size = burst if burst is not None else rate / 4
    return Bucket(rate, size, size, now)


def take(bucket: Bucket, amount: int, now: float) -> tuple[Bucket, float]:
    """Take ``amount`` bytes at ``now``; the seconds to wait before the next take make up for the debt."""
    level = min(bucket.burst, bucket.level + max(0.0, now - bucket.at) * bucket.rate) - amount
    after = Bucket(bucket.rate, bucket.burst, level, max(now, bucket.at))
    return after, max(0.0, -level / bucket.rate)
