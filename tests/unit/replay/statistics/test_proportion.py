"""Shares and their intervals, against scipy and statsmodels."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest, t  # type: ignore[import-untyped]

from tarx_toollog.replay.statistics.beta import beta_cdf, student_quantile
from tarx_toollog.replay.statistics.proportion import Case, chance_of_so_few, clustered, posterior_above, wilson


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


# ---- posteriors ------------------------------------------------------------------------------------------------------


@given(a=st.floats(0.5, 3000), b=st.floats(0.5, 3000), x=st.floats(0, 1))
def test_the_beta_distribution_agrees_with_scipy(a: float, b: float, x: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(beta.cdf(x, a, b), abs=1e-9)


@given(probability=st.floats(0.55, 0.9995), freedom=st.floats(1, 20_000))
def test_students_quantile_agrees_with_scipy(probability: float, freedom: float) -> None:
    assert t.ppf(probability, freedom) == pytest.approx(student_quantile(probability, freedom), rel=1e-9)


@pytest.mark.parametrize(("k", "n", "bound"), [(0, 0, 0.85), (20, 20, 0.85), (170, 200, 0.85), (3, 40, 0.5)])
def test_the_posterior_agrees_with_scipy(k: int, n: int, bound: float) -> None:
    assert posterior_above(k, n, bound) == pytest.approx(beta.sf(bound, k + 0.5, n - k + 0.5), abs=1e-9)


@pytest.mark.parametrize(("k", "n", "bound"), [(0, 1, 0.85), (4, 7, 0.85), (78, 100, 0.85), (5, 5, 0.85), (2, 9, 0.5)])
def test_the_chance_of_so_few_agrees_with_scipy(k: int, n: int, bound: float) -> None:
    assert chance_of_so_few(k, n, bound) == pytest.approx(binom.cdf(k, n, bound), abs=1e-9)


# ---- cases that hang together ----------------------------------------------------------------------------------------


@given(results=st.lists(st.booleans(), min_size=1, max_size=80))
def test_cases_that_stand_alone_have_wilsons_interval(results: list[bool]) -> None:
    assert wilson(sum(results), len(results)) == clustered([Case(is_right) for is_right in results])


def test_where_all_is_right_each_cluster_counts_once() -> None:
    found = clustered([Case(True, f"c{n % 10}") for n in range(50)])
    assert (50, 50, 1.0, 10.0) == (found.numerator, found.denominator, found.high, found.n_effective)
    assert found.low == wilson(10, 10).low
    assert found.design_effect == 5.0


def test_weights_move_the_share_and_cost_cases() -> None:
    rare = [Case(False, weight=1.0)] * 10 + [Case(True, weight=9.0)] * 10
    found = clustered([case._replace(cluster=f"c{n}") for n, case in enumerate(rare)])
    assert found.estimate == pytest.approx(0.9)
    assert (10, 20) == (found.numerator, found.denominator)
    assert found.n_effective is not None
    assert found.n_effective <= 20
    assert found.to_json()["weighted"] is True


@given(cases=st.lists(st.tuples(st.booleans(), st.sampled_from("abcde"), st.floats(0.1, 9)), min_size=1, max_size=40))
def test_the_share_lies_inside_whatever_the_weights(cases: list[tuple[bool, str, float]]) -> None:
    found = clustered(Case(*case) for case in cases)
    assert found.estimate is not None
    assert 0 <= found.low <= found.estimate + 1e-12
    assert found.estimate <= found.high + 1e-12
    assert found.high <= 1


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_weights_that_make_no_sense_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weights"):
        clustered([Case(True), Case(True, weight=weight)])


def test_steps_of_conversations_are_covered_as_often_as_promised() -> None:
    """Steps that share a conversation's luck: the plain interval errs too often, this one about as often as it says."""
    draw = random.Random(5)
    inside = Counter[str]()
    n_runs = 600
    for _ in range(n_runs):
        cases = []
        for conversation in range(40):
            luck = draw.betavariate(0.8 * 2.33, 0.2 * 2.33)  # a mean of 0.8, and a correlation of 0.3 within
            cases += [Case(draw.random() < luck, f"c{conversation}") for _ in range(draw.randint(2, 6))]
        right = sum(case.is_right for case in cases)
        for name, share in (("plain", wilson(right, len(cases))), ("clustered", clustered(cases))):
            inside[name] += share.low <= 0.8 <= share.high
    assert inside["plain"] / n_runs < 0.90
    assert 0.92 <= inside["clustered"] / n_runs <= 0.98


@pytest.mark.parametrize(("n", "passes", "fails"), [(50, 48, 37), (100, 92, 78), (200, 180, 160), (400, 354, 326)])
def test_the_numbers_of_the_page_about_gates(n: int, passes: int, fails: int) -> None:
    assert passes == min(k for k in range(n + 1) if wilson(k, n).low >= 0.85)
    assert fails == max(k for k in range(n + 1) if wilson(k, n).high < 0.85)


def test_with_fewer_than_22_cases_not_even_all_of_them_pass() -> None:
    assert 22 == min(n for n in range(1, 100) if wilson(n, n).low >= 0.85)
