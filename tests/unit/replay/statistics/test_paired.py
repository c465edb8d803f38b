"""Differences of paired shares, against scipy, statsmodels and published values."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest  # type: ignore[import-untyped]
from statsmodels.stats.contingency_tables import mcnemar  # type: ignore[import-untyped]

from tarx_toollog.replay.statistics.paired import (
    Pair,
    bonett_price,
    clustered_difference,
    paired_difference,
    pairs_to_decide,
)


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


@given(first=st.integers(0, 300), second=st.integers(0, 300))
def test_the_exact_test_agrees_with_statsmodels(first: int, second: int) -> None:
    if first + second:
        expected = mcnemar([[3, first], [second, 4]], exact=True).pvalue
        assert expected == pytest.approx(paired_difference(3, first, second, 4).exact_p, abs=1e-9)


def test_pairs_that_stand_alone_and_count_alike_have_the_plain_interval() -> None:
    pairs = [Pair(True, True)] * 3 + [Pair(True, False)] * 2 + [Pair(False, True)] * 5 + [Pair(False, False, "alone")]
    assert paired_difference(3, 2, 5, 1) == clustered_difference(pairs)


def test_the_cases_of_a_group_change_sides_together() -> None:
    alone = clustered_difference([Pair(True, True)] * 20 + [Pair(False, True)] * 10)
    together = clustered_difference(
        [Pair(True, True, f"c{n // 2}") for n in range(20)] + [Pair(False, True, "one")] * 10
    )

    assert (0.001, None, True) == (round(alone.mid_p, 3), alone.n_parted, alone.is_shown)
    assert (0.5, 1.0, 1, False) == (together.mid_p, together.exact_p, together.n_parted, together.is_shown)
    assert "mcnemar by groups (sign flips)" == together.to_json()["test"]


def test_the_test_counts_weights_as_the_difference_does() -> None:
    """Ten light gains and one heavy loss: more gains, but nothing gained."""
    pairs = [Pair(False, True)] * 10 + [Pair(True, False, weight=10.0)] + [Pair(True, True)] * 20
    found = clustered_difference(pairs)

    assert (0.0, 1.0) == (found.estimate, found.mid_p)


@pytest.mark.parametrize(
    ("largest", "weights"), [(1, [1.0]), (5, [1.0]), (1, [1.0, 9.0]), (5, [1.0, 4.0])],
    ids=["alone", "in conversations", "of uneven weight", "both"],
)  # fmt: skip
def test_models_that_are_alike_are_told_apart_in_less_than_five_of_a_hundred_suites(
    largest: int, weights: list[float]
) -> None:
    draw, n_suites, errors = random.Random(6), 1000, 0
    for _ in range(n_suites):
        pairs: list[Pair] = []
        while len(pairs) < 90:
            gained, weight = draw.random(), draw.choice(weights)
            for _ in range(draw.randint(1, largest)):  # what one model gains in a conversation, it gains mostly again
                differs = draw.random() < 0.3
                second = draw.random() < (gained if largest > 1 else 0.5)
                first = not second if differs else second
                pairs.append(Pair(first, second, f"c{len(pairs)}" if largest == 1 else f"{gained}", weight))
        errors += clustered_difference(pairs).is_shown
    assert errors / n_suites < 0.05 + 0.015  # two-sided 5 %, and what 1,000 suites leave open
