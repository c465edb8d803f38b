"""Shares with undetermined attempts."""

from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.replay.results import Bounds, bounds


def test_no_attempts_have_no_share() -> None:
    none = bounds([])

    assert (Bounds(0, 0, 0, 0), None, None) == (none, none.low_share, none.high_share)


def test_an_undetermined_attempt_is_a_failure_below_and_a_pass_above() -> None:
    some = bounds([True, None, False, None])

    assert (Bounds(1, 3, 2, 4), 0.25, 0.75) == (some, some.low_share, some.high_share)


@given(st.lists(st.tuples(st.booleans(), st.booleans())))
def test_however_the_undetermined_end_the_truth_lies_between(attempts: list[tuple[bool, bool]]) -> None:
    some = bounds(passes if is_known else None for passes, is_known in attempts)

    assert some.low <= sum(passes for passes, _ in attempts) <= some.high
    assert some.high - some.low == some.n_undetermined == sum(not is_known for _, is_known in attempts)
