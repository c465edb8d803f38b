import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest  # type: ignore[import-untyped]

from tarx_toollog.replay.statistics import bonett_price, paired_difference, pairs_to_decide, wilson


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


# ---- pairs -----------------------------------------------------------------------------------------------------------


@given(first=st.integers(0, 400), second=st.integers(0, 400))
def test_mcnemar_agrees_with_scipy(first: int, second: int) -> None:
    found = paired_difference(3, first, second, 4)
    n, fewer = first + second, min(first, second)
    exact = binomtest(fewer, n).pvalue if n else 1.0

    assert exact == pytest.approx(found.exact_p, abs=1e-9)
    assert (1.0 if first == second else exact - binom.pmf(fewer, n, 0.5)) == pytest.approx(found.mid_p, abs=1e-9)


def test_published_values_of_pairs() -> None:
    # Fagerland, Lydersen and Laake 2014, airway hyper-responsiveness before and after transplantation.
    found = paired_difference(1, 7, 1, 12)

    assert (-0.508, -0.013) == (round(found.low, 3), round(found.high, 3))
    assert (0.039, 0.070) == (round(found.mid_p, 3), round(found.exact_p, 3))


@given(counts=st.tuples(*[st.integers(0, 300)] * 4))
def test_the_interval_of_a_difference_holds_still_when_the_models_change_places(counts: tuple[int, ...]) -> None:
    both, first, second, neither = counts
    found, turned = paired_difference(*counts), paired_difference(both, second, first, neither)

    assert -1 <= found.low <= found.high <= 1
    assert found.low == pytest.approx(-turned.high)
    assert (found.mid_p, found.exact_p) == (turned.mid_p, turned.exact_p)
    assert found.estimate is None or found.low <= found.estimate <= found.high


def test_nothing_compared_excludes_nothing() -> None:
    found = paired_difference(0, 0, 0, 0)
    assert (None, -1.0, 1.0, 1.0) == (found.estimate, found.low, found.high, found.mid_p)


@pytest.mark.parametrize(("first", "second", "n"), [(2, 5, 20), (30, 45, 400), (1, 0, 3)])
def test_the_number_of_pairs_that_decide_is_the_least_that_does(first: int, second: int, n: int) -> None:
    needed = pairs_to_decide(paired_difference(n - first - second, first, second, 0))
    assert needed is not None

    decided = [
        low > 0 or high < 0
        for pairs in (needed - 1, needed)
        for low, high in [bonett_price(first / n * pairs, second / n * pairs, pairs)]
    ]
    assert [False, True] == decided


def test_where_no_difference_was_found_no_number_of_pairs_shows_one() -> None:
    assert [None, None] == [pairs_to_decide(paired_difference(*counts)) for counts in ((9, 4, 4, 1), (0, 0, 0, 0))]


def test_impossible_counts_of_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        paired_difference(1, -1, 2, 3)
    with pytest.raises(ValueError, match="confidence"):
        paired_difference(1, 1, 2, 3, confidence=1.0)
