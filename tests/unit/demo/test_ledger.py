import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.demo.ledger import Balances, acknowledged, compare, parse_balances
from gemel.demo.samples import Sample


def write(number: int, at: float, ok: bool = True, target: str = "database") -> Sample:
    return Sample(target, at - 0.05, at, ok, f"{target}-{number}")


WRITES = tuple(write(number, float(number)) for number in range(1, 11))


def ids(*numbers: int) -> frozenset[str]:
    return frozenset(f"database-{number}" for number in numbers)


def test_only_answers_that_came_before_the_cut_are_promises() -> None:
    unknown, page = write(99, 5.0, ok=False), Sample("web", 1.0, 2.0, True)
    assert acknowledged([*WRITES, unknown, page], until=8.0) == WRITES[:8]


def test_what_is_lost_is_a_tail_when_the_copy_is_one_moment() -> None:
    found = compare(WRITES, ids(1, 2, 3, 4, 5, 6, 7), moment=10.5)
    assert [each.id for each in found.lost] == ["database-8", "database-9", "database-10"]
    assert (found.acknowledged, found.oldest_lost_age, found.holes) == (10, 2.5, ())


def test_a_lost_write_that_is_older_than_a_kept_one_is_a_hole() -> None:
    found = compare(WRITES, ids(1, 2, 3, 5, 6, 7, 8, 9, 10), moment=10.5)
    assert [each.id for each in found.holes] == ["database-4"]


def test_writers_are_not_compared_with_each_other() -> None:
    """Two writers' commits have no order between them that the client could know."""
    other = write(1, 9.5, target="deposit")
    found = compare([*WRITES, other], ids(1, 2, 3, 4, 5, 6, 7, 8) | {other.id}, moment=10.5)
    assert found.holes == () and len(found.lost) == 2


def test_concurrent_writes_may_be_kept_in_any_order() -> None:
    first, second = Sample("deposit", 1.0, 3.0, True, "a"), Sample("deposit", 1.5, 2.0, True, "b")
    assert compare([first, second], frozenset({"a"}), 4.0).holes == ()


def test_nothing_lost() -> None:
    found = compare(WRITES, ids(*range(1, 11)), moment=10.5)
    assert (found.lost, found.oldest_lost_age) == ((), None)


@given(st.integers(0, 10))
def test_any_prefix_is_a_moment(kept: int) -> None:
    found = compare(WRITES, ids(*range(1, kept + 1)), moment=11.0)
    assert len(found.lost) == 10 - kept and not found.holes


def test_balances() -> None:
    found = parse_balances("-12039|-12039|-12039|-12039|28\n")
    assert found == Balances(-12039, -12039, -12039, -12039, 28) and found.agree
    assert not parse_balances("1|1|1|2|28").agree
    with pytest.raises(ValueError, match="five sums"):
        parse_balances("")
