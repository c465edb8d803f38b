import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]

from tarx_toollog.replay.statistics import wilson


@given(data=st.data(), n=st.integers(1, 2000), confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(data: st.DataObject, n: int, confidence: float) -> None:
    k = data.draw(st.integers(0, n))
    expected = binomtest(k, n).proportion_ci(confidence_level=confidence, method="wilson")
    share = wilson(k, n, confidence=confidence)
    assert share.low == pytest.approx(expected.low, abs=1e-9)
    assert share.high == pytest.approx(expected.high, abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (85, 100)])
def test_the_estimate_lies_inside_its_interval(k: int, n: int) -> None:
    share = wilson(k, n)
    assert share.estimate == k / n
    assert 0.0 <= share.low <= share.estimate <= share.high <= 1.0
    assert (share.low == 0.0) == (k == 0)
    assert (share.high == 1.0) == (k == n)


def test_nothing_counted_has_no_estimate_and_excludes_nothing() -> None:
    share = wilson(0, 0)
    assert (share.estimate, share.low, share.high) == (None, 0.0, 1.0)


def test_published_value() -> None:
    # Newcombe 1998, table I: 81 of 263.
    share = wilson(81, 263)
    assert math.isclose(share.low, 0.2553, abs_tol=5e-5)
    assert math.isclose(share.high, 0.3662, abs_tol=5e-5)


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_impossible_counts_are_refused(k: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"share|confidence"):
        wilson(k, n, confidence=confidence)


def test_json_carries_everything_that_is_needed_to_read_the_number() -> None:
    found = wilson(3, 4).to_json()
    assert (found["numerator"], found["denominator"], found["method"], found["confidence"]) == (3, 4, "wilson", 0.95)
