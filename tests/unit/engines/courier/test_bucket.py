from hypothesis import given
from hypothesis import strategies as st

from gemel.engines.courier.bucket import full, take


@given(
    rate=st.integers(1_000, 10**9),
    takes=st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 2)), min_size=1, max_size=50),
)
def test_no_more_than_the_rate_and_one_burst(rate: int, takes: list[tuple[int, float]]) -> None:
    """Whoever waits as told has never had more than rate x time + burst + the last piece."""
    now = 100.0
    bucket = full(rate, now)
    taken = 0
    for amount, pause in takes:
        assert taken <= rate * (now - 100.0) + bucket.burst + 1e-3 * rate
        bucket, wait = take(bucket, amount, now)
        taken += amount
        assert wait >= 0
        now += wait + pause


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = full(1000, 5.0, burst=100)
    bucket, wait = take(bucket, 100, 5.0)
    assert wait == 0
    bucket, wait = take(bucket, 500, 5.0)
    assert wait == 0.5
    _, wait = take(bucket, 500, 4.0)
    assert wait == 1.0
