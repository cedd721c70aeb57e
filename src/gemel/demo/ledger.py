"""Was anything lost? What the client was told is written, held against what the database has. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from gemel.demo.samples import Sample


@dataclass(frozen=True, slots=True)
class Comparison:
    """``lost``: acknowledged, and not there. ``oldest_lost_age``: seconds before ``moment`` at which the oldest
    of them was acknowledged; None when nothing is lost. ``holes``: lost writes that are older than one of the
    same writer that was kept, which no consistent moment of the database can explain."""

    acknowledged: int
    lost: tuple[Sample, ...]
    holes: tuple[Sample, ...]
    oldest_lost_age: float | None


def acknowledged(samples: Iterable[Sample], until: float) -> tuple[Sample, ...]:
    """Writes whose acknowledgement arrived by ``until``, oldest first."""
    return tuple(sorted((each for each in samples if each.ok and each.id and each.ended <= until), key=_ended))


def compare(writes: Iterable[Sample], present: frozenset[str], moment: float) -> Comparison:
    """``writes`` were acknowledged; ``present`` are the ids that the database has now; ``moment`` is when the
    site was lost."""
    ordered = sorted(writes, key=_ended)
    lost = tuple(each for each in ordered if each.id not in present)
    # A kept write that was *begun* after a lost one was acknowledged proves an order that was broken.
    last_kept: dict[str, float] = {}
    for each in ordered:
        if each.id in present:
            last_kept[each.target] = max(each.began, last_kept.get(each.target, each.began))
    holes = tuple(each for each in lost if each.ended <= last_kept.get(each.target, float("-inf")))
    oldest = max((moment - lost[0].ended, 0.0)) if lost else None
    return Comparison(len(ordered), lost, holes, oldest)


def _ended(sample: Sample) -> float:
    return sample.ended


@dataclass(frozen=True, slots=True)
class Balances:
    """The four sums of TPC-B, which every committed transaction changes by the same amount."""

    accounts: int
    tellers: int
    branches: int
    history: int
    transactions: int
    """Rows of the history."""

    @property
    def agree(self) -> bool:
        return self.accounts == self.tellers == self.branches == self.history


BALANCES = (
    "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), "
    "(SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM pgbench_history), "
    "(SELECT count(*) FROM pgbench_history)"
)
"""One statement, so one snapshot: transactions that go on meanwhile are in all sums or in none."""


def parse_balances(text: str) -> Balances:
    """The answer to ``BALANCES``, unaligned. Raises ValueError for anything else."""
    fields = text.strip().split("|")
    if len(fields) != 5:
        raise ValueError(f"expected five sums, got {text.strip()[:200]!r}")
    return Balances(*(int(field) for field in fields))
