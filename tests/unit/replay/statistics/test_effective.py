"""How many independent cases tell as much, against statsmodels and scipy; and that a gate of it keeps its promise."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t  # type: ignore[import-untyped]
from statsmodels.regression.linear_model import OLS  # type: ignore[import-untyped]
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from tarx_toollog.replay.reports.gate import Shares
from tarx_toollog.replay.statistics.effective import CAUTION, effective_cases
from tarx_toollog.replay.statistics.paired import Pair, bonett_price, clustered_difference
from tarx_toollog.replay.statistics.proportion import Case, clustered, wilson

GROUPS = st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=6), min_size=2, max_size=40)


@given(groups=GROUPS.filter(lambda groups: len({value for group in groups for value in group}) > 1))
def test_the_variance_between_clusters_is_that_of_statsmodels(groups: list[list[float]]) -> None:
    names = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    y = np.array([value for group in groups for value in group])
    fitted = OLS(y, np.ones_like(y)).fit(cov_type="cluster", cov_kwds={"groups": names, "use_correction": False})
    # statsmodels has the sum of squares alone; the factor for few clusters is ours.
    variance = float(fitted.cov_params()[0, 0]) * len(groups) / (len(groups) - 1)
    inverse = max(variance / y.var(), 1 / len(y))
    sizes = np.array([len(group) for group in groups])
    n_clusters = sizes.sum() ** 2 / (sizes**2).sum()
    values, counts = np.unique(y, return_counts=True)
    if (counts == counts.max()).sum() > 1:
        return  # no value is the usual one
    telling = np.array([any(value != values[counts.argmax()] for value in group) for group in groups])
    n_telling = n_clusters * (sizes**2)[telling].sum() / (sizes**2).sum()
    cautious = max(inverse, (n_telling * inverse + CAUTION / n_clusters) / (n_telling + CAUTION))
    few = (norm.ppf(0.975) / t.ppf(0.975, max(1, n_clusters - 1))) ** 2

    cases = zip(y.tolist(), map(str, names), [1.0] * len(y), strict=True)
    assert few / cautious == pytest.approx(effective_cases(cases, confidence=0.95), rel=1e-9)


def test_the_intervals_are_those_of_so_many_independent_cases() -> None:
    groups = [[True] * 4, [True, False], [False, True, True], [True] * 3, [True] * 5]
    names = [str(number) for number, group in enumerate(groups) for _ in group]
    right = [each for group in groups for each in group]
    n = effective_cases(((float(each), name, 1.0) for each, name in zip(right, names, strict=True)), confidence=0.95)
    share, half = sum(right) / len(right), len(right) - sum(right)

    found = clustered(map(Case, right, names))
    pairs = clustered_difference(map(Pair, right, [True] * len(right), names))

    assert proportion_confint(share * n, n, method="wilson") == pytest.approx((found.low, found.high), abs=1e-9)
    assert bonett_price(0, half / len(right) * n, n) == pytest.approx((pairs.low, pairs.high), abs=1e-9)


def test_one_failure_more_does_not_make_a_gate_surer() -> None:
    """Five large groups: all right tells as much as five cases; so must all but one."""
    cases = [Case(True, f"c{number % 5}") for number in range(1000)]
    assert clustered(cases).low == wilson(5, 5).low < 0.6
    assert clustered([Case(False, "c0"), *cases[1:]]).low < 0.6


Sizes = Callable[[int], int]
SUITES: dict[str, tuple[int, Sizes, float, Sizes]] = {
    "13 groups of 5, a correlation of 0.3": (13, lambda _: 5, 0.3, lambda _: 1),
    "13 groups, a few of them large, nearly all or nothing": (13, lambda number: 2 ** (number % 6), 0.8, lambda _: 1),
    "8 groups of up to 20": (8, lambda number: 1 + 5 * (number % 5), 0.5, lambda _: 1),
    "3 large groups": (3, lambda _: 40, 0.3, lambda _: 1),
    "30 groups of 3, a fifth of them with nine times the weight": (
        30, lambda _: 3, 0.8, lambda number: 1 if number % 5 else 9),
    "one group as large as all others together": (30, lambda number: 30 if number == 0 else 1, 0.8, lambda _: 1),
}  # fmt: skip
"""Groups, how many chains each has, how they hang together, and what each counts for."""


@pytest.mark.parametrize("bound", [0.6, 0.85])
@pytest.mark.parametrize(("n", "size", "correlation", "weight"), SUITES.values(), ids=SUITES)
def test_a_gate_on_few_groups_errs_in_less_than_five_of_a_hundred_suites(
    n: int, size: Sizes, correlation: float, weight: Sizes, bound: float
) -> None:
    draw, n_suites, passed, failed = random.Random(9), 800, 0, 0
    concentration = 1 / correlation - 1
    for _ in range(n_suites):
        cases: list[Case] = []
        for number in range(n):
            luck = draw.betavariate(bound * concentration, (1 - bound) * concentration)
            cases += (Case(draw.random() < luck, f"c{number}", weight(number)) for _ in range(size(number)))
        verdict = Shares(*[clustered(cases)] * 3).verdict(bound)
        passed += verdict == "pass"
        failed += verdict == "fail"
    assert passed / n_suites < 0.05
    assert failed / n_suites < 0.05
