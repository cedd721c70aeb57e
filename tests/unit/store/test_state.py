"""The pure state machine: whatever was committed, a watch from any kept revision rebuilds the keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.core.outcome import Permanent
from gemel.core.store import Compacted, Delete, KeyValue, LeaseLost, Put, Write
from gemel.store.state import StoreState

KEYS = st.sampled_from(["a/1", "a/2", "a/3", "b/1", "b/2"])
PUTS = st.builds(Put, KEYS, st.binary(max_size=2), st.sampled_from([0, 0, 1, 2]))
DELETES = st.one_of(st.builds(Delete, KEYS), st.just(Delete("a/", prefix=True)))
STEPS = st.one_of(
    st.lists(st.one_of(PUTS, DELETES), min_size=1, max_size=3),
    st.just("revoke"),
    st.floats(0.1, 8.0),
)


def run(steps: list[list[Write] | str | float]) -> tuple[StoreState, dict[int, dict[str, KeyValue]]]:
    """The state after all steps, and what stood in it at each revision."""
    state, now = StoreState(), 0.0
    state.grant(5, now)
    state.grant(20, now)
    shown: dict[int, dict[str, KeyValue]] = {state.revision: {}}
    for step in steps:
        before = state.revision
        try:
            if isinstance(step, list):
                state.commit([], step)
            elif isinstance(step, str):
                state.revoke(2)
            else:
                now += step
                state.expire(now)
        except (Permanent, LeaseLost):
            assert state.revision == before, "what is refused changes nothing"
        shown[state.revision] = {item.key: item for item in state.list("").items}
    return state, shown


@given(st.lists(STEPS, max_size=12))
def test_a_watch_from_any_revision_rebuilds_the_keys(steps: list[list[Write] | str | float]) -> None:
    state, shown = run(steps)
    for revision, keys in shown.items():
        rebuilt = dict(keys)
        last = revision
        for event in state.since("", revision).events:
            assert event.revision >= last > 0
            last = event.revision
            if event.value is None:
                del rebuilt[event.key]  # a deletion is told only of what was there
            else:
                rebuilt[event.key] = event.value
        assert rebuilt == {item.key: item for item in state.list("").items}


@given(st.lists(STEPS, max_size=12), st.integers(1, 12))
def test_compaction_loses_only_what_it_says(steps: list[list[Write] | str | float], at: int) -> None:
    state, _ = run(steps)
    if at > state.revision:
        with pytest.raises(Permanent):
            state.compact(at)
        return
    kept = state.since("", at)
    keys = state.list("")
    state.compact(at)
    assert state.since("", at) == kept and state.list("") == keys
    with pytest.raises(Compacted):
        state.since("", at - 1)


@given(st.lists(st.floats(0.1, 8.0), max_size=10))
def test_a_lease_lives_exactly_as_long_as_it_is_renewed(pauses: list[float]) -> None:
    state, now = StoreState(), 0.0
    lease = state.grant(5, now)
    state.commit([], [Put("k", b"", lease)])
    alive = True
    for pause in pauses:
        renewed, now = now, now + pause
        state.expire(now)
        alive = alive and now < renewed + 5
        assert (state.get("k") is not None) is alive
        if not alive:
            with pytest.raises(LeaseLost):
                state.keep_alive(lease, now)
        else:
            assert state.keep_alive(lease, now) == 5
