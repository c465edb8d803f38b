"""Intervals that may be looked at after every case: what they are, and that they keep their promise."""

import random
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln  # type: ignore[import-untyped]
from scipy.stats import binom  # type: ignore[import-untyped]

from tarx_toollog.replay.statistics.proportion import wilson
from tarx_toollog.replay.statistics.sequential import PRIOR_CASES, any_time, first_decision

BOUND = 0.85


def martingale(share: float, right: int, n: int) -> float:
    """Return M(share) by scipy."""
    a, b = PRIOR_CASES * BOUND, PRIOR_CASES * (1 - BOUND)
    return exp(betaln(a + right, b + n - right) - betaln(a, b)) / (share**right * (1 - share) ** (n - right))


@given(data=st.data(), n=st.integers(1, 250))
def test_the_bounds_are_where_the_martingale_reaches_its_limit(data: st.DataObject, n: int) -> None:
    right = data.draw(st.integers(0, n))
    found = any_time(right, n, expected=BOUND)
    for bound in (found.low, found.high):
        if 0 < bound < 1:
            assert martingale(bound, right, n) == pytest.approx(20, rel=1e-6)
    assert found.low <= right / n <= found.high


@pytest.mark.parametrize("truth", [0.6, 0.85, 0.95])
def test_the_martingale_stays_level_when_the_share_is_true(truth: float) -> None:
    """Its expectation after any number of cases is 1: that is what Ville's inequality needs."""
    for n in (1, 20, 150):
        expected = sum(binom.pmf(right, n, truth) * martingale(truth, right, n) for right in range(n + 1))
        assert expected == pytest.approx(1.0, abs=1e-9)


def test_the_price_is_a_wider_interval() -> None:
    for right, n in ((85, 100), (180, 200), (20, 20)):
        often, once = any_time(right, n, expected=BOUND), wilson(right, n)
        assert often.low < once.low
        assert often.high >= once.high


def test_looking_after_every_case_errs_no_more_than_it_says() -> None:
    """With the true share at the bound, any decision for good is an error in one direction: together below 5 %."""
    draw = random.Random(3)
    n_runs, peeked, decided = 700, 0, 0
    for _ in range(n_runs):
        results = [draw.random() < BOUND for _ in range(400)]
        decided += first_decision(results, BOUND)[0] is not None
        right, sure = 0, False
        for n, result in enumerate(results, 1):
            right += result
            share = wilson(right, n)
            sure |= n >= 20 and (share.low > BOUND or share.high < BOUND)
        peeked += sure
    assert decided / n_runs < 0.05
    assert peeked / n_runs > 0.2  # what the plain interval does when it is looked at like this


def test_clear_cases_are_decided_early() -> None:
    draw = random.Random(4)
    for truth, verdict, most in ((0.6, False, 60), (0.98, True, 80)):
        found = [first_decision((draw.random() < truth for _ in range(400)), BOUND) for _ in range(100)]
        assert [verdict] * 100 == [decision for decision, _ in found]
        assert sum(n for _, n in found) / 100 < most


def test_a_doubtful_case_is_not_decided() -> None:
    assert (None, 100) == first_decision(([True] * 17 + [False] * 3) * 5, BOUND)
    assert first_decision([], BOUND) == (None, 0)


@pytest.mark.parametrize(
    ("right", "n", "expected", "confidence"),
    [(2, 1, 0.5, 0.95), (1, 2, 0.0, 0.95), (1, 2, 1.0, 0.95), (1, 2, 0.5, 1.0)],
)
def test_what_makes_no_sense_is_refused(right: int, n: int, expected: float, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"share|confidence"):
        any_time(right, n, expected=expected, confidence=confidence)
