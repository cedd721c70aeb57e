from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from gemel.demo.samples import (
    Sample,
    first_answer,
    longest_outage,
    longest_silence,
    of_target,
    outages,
    parse_samples,
    render_sample,
    stretches,
    within,
)


def probe(began: float, ok: bool, took: float = 0.1, target: str = "db", name: str = "") -> Sample:
    return Sample(target, began, began + took, ok, name)


GOOD_BAD_GOOD = [
    probe(0, True),
    probe(1, True),
    probe(2, False, 2.0),
    probe(3, False, 2.0),
    probe(6, True),
    probe(7, True),
]

samples_of_a_target = st.lists(
    st.builds(
        probe,
        st.floats(0, 1000),
        st.booleans(),
        st.floats(0.001, 3),
    ),
    max_size=60,
)


def test_a_line_that_is_being_written_is_left_for_later() -> None:
    first, second = Sample("db", 1.0, 2.0, True, "sql-1"), Sample("web", 1.5, 2.5, False, detail='503 "no"\n')
    text = render_sample(first) + render_sample(second)
    found, taken = parse_samples(text[:-5])
    assert found == (first,)
    rest, more = parse_samples(text[taken:])
    assert rest == (second,) and taken + more == len(text)


def test_the_first_answer_belongs_to_an_attempt_that_began_after_the_event() -> None:
    late = probe(1.9, True, 3.0)  # began before, and so proves nothing
    assert first_answer([late, *GOOD_BAD_GOOD], "db", 2.0) == probe(6, True)
    assert first_answer(GOOD_BAD_GOOD, "web", 0.0) is None
    assert first_answer(GOOD_BAD_GOOD, "db", 8.0) is None


def test_an_outage_lasts_from_the_last_good_answer_to_the_next() -> None:
    (outage,) = outages(GOOD_BAD_GOOD)
    assert (outage.begin, outage.end, outage.failed_at, outage.failures) == (1.1, 6.1, 2, 2)
    assert longest_outage(GOOD_BAD_GOOD, 3, 4) == outage
    assert longest_outage(GOOD_BAD_GOOD, 6.5, 9) is None


def test_an_outage_that_has_not_ended_is_endless() -> None:
    (outage,) = outages(GOOD_BAD_GOOD[:4])
    assert outage.end == inf


def test_a_failure_that_began_before_the_last_answer_is_no_new_outage() -> None:
    hopeless = probe(5.0, False, 2.0)  # sent into the dark, given up at 7, after the answer at 6.1
    assert len(outages([*GOOD_BAD_GOOD, hopeless])) == 1


def test_silence_counts_the_pause_between_attempts() -> None:
    assert longest_silence(GOOD_BAD_GOOD, 0, 0.5) == 1.0
    assert longest_silence(GOOD_BAD_GOOD, 2, 3) == 5.0
    assert longest_silence(GOOD_BAD_GOOD[:1], 0, 9) is None


def test_within_takes_what_was_under_way() -> None:
    assert within(GOOD_BAD_GOOD, 4.5, 5.5) == (GOOD_BAD_GOOD[3],)


@given(samples_of_a_target)
def test_outages_are_apart_and_hold_every_span_without_answers(samples: list[Sample]) -> None:
    found = outages(samples)
    assert all(a.end <= b.begin for a, b in pairwise(found))
    for outage in found:
        assert outage.begin <= outage.end and outage.failures > 0
        assert not any(each.ok and outage.begin < each.ended < outage.end for each in samples)


@given(samples_of_a_target)
def test_stretches_follow_one_another_and_tell_both_kinds(samples: list[Sample]) -> None:
    found = stretches(samples)
    assert {each.ok for each in found} == {each.ok for each in samples}
    assert all(each.begin <= each.end for each in found)
    assert all(a.begin <= b.begin for a, b in pairwise(found))
    touching = [(a, b) for a, b in pairwise(found) if a.end >= b.begin]
    assert all(a.ok != b.ok for a, b in touching)


def test_nobody_asking_is_a_hole_in_the_picture() -> None:
    first, second = stretches([probe(0, True), probe(100, True)])
    assert first.end < 1 and second.begin == 100


def test_targets_are_told_apart() -> None:
    both = [probe(3, True, target="web"), probe(2, True), probe(1, True)]
    assert [each.began for each in of_target(both, "db")] == [1, 2]
