"""How long a host has been away, as one leader saw it."""

from gemel.control.settling import Settling
from gemel.core.identity import HostName

A, B = HostName("par1-1"), HostName("par1-2")


def test_a_host_settles_after_its_seconds() -> None:
    settling = Settling(2.0)
    assert settling.settled([A], 10.0) == frozenset()
    assert settling.settled([A, B], 11.9) == frozenset()
    assert settling.settled([A, B], 12.0) == {A}
    assert settling.settled([A, B], 13.9) == {A, B}


def test_a_host_that_came_back_begins_anew() -> None:
    settling = Settling(2.0)
    settling.settled([A], 10.0)
    settling.settled([], 11.0)
    assert settling.settled([A], 12.5) == frozenset()
    assert settling.settled([A], 14.5) == {A}


def test_the_next_moment_is_the_first_that_still_comes() -> None:
    settling = Settling(2.0)
    assert settling.next_at() is None
    settling.settled([A], 10.0)
    settling.settled([A, B], 11.0)
    assert settling.next_at() == 12.0
    settling.settled([A, B], 12.0)
    assert settling.next_at() == 13.0


def test_a_host_that_stays_away_does_not_keep_the_leader_awake() -> None:
    settling = Settling(2.0)
    settling.settled([A], 10.0)
    settling.settled([A], 5000.0)
    assert settling.next_at() is None


def test_what_is_waited_for_has_settled_when_the_moment_comes() -> None:
    """Also where the sum is not exact in binary: else the leader would turn in place."""
    for start in (0.1, 0.3, 1e6 + 0.7, 123456.789):
        settling = Settling(0.3)
        settling.settled([A], start)
        moment = settling.next_at()
        assert moment is not None
        assert settling.settled([A], moment) == {A}
        assert settling.next_at() is None
