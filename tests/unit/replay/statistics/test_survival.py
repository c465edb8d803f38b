"""How far chains get, against statsmodels; and several attempts, against counting them all."""

from itertools import combinations
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t  # type: ignore[import-untyped]
from statsmodels.duration.survfunc import SurvfuncRight  # type: ignore[import-untyped]

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.statistics.attempts import attempts
from tarx_toollog.replay.statistics.survival import survival


@given(chains=st.lists(st.tuples(st.integers(1, 7), st.booleans()), min_size=1, max_size=60))
def test_survival_agrees_with_statsmodels(chains: list[tuple[int, bool]]) -> None:
    found = {step.step_no: step for step in survival(chains)}
    expected = SurvfuncRight([last for last, _ in chains], [int(is_wrong) for _, is_wrong in chains])
    for step_no, share, error in zip(expected.surv_times, expected.surv_prob, expected.surv_prob_se, strict=True):
        step = found[int(step_no)]
        assert step.share == pytest.approx(share, abs=1e-9)
        if 0 < share < 1:
            spread = 1.959963984540054 * error / share / abs(log(share))
            assert step.low == pytest.approx(share ** exp(spread), abs=1e-9)
            assert step.high == pytest.approx(share ** exp(-spread), abs=1e-9)


def test_as_long_as_all_is_right_the_bound_is_that_of_n_of_n() -> None:
    (first, second) = survival([(2, False)] * 10 + [(1, False)] * 10)
    assert (20, 10) == (first.at_risk, second.at_risk)
    assert first.low == pytest.approx(0.025 ** (1 / 20))
    assert second.low == pytest.approx(0.025 ** (1 / 10))
    assert first.high == second.high == 1.0


def test_where_nothing_is_left_there_is_an_upper_bound() -> None:
    (only,) = survival([(1, True)] * 10)
    assert (0.0, 0.0) == (only.share, only.low)
    assert only.high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_no_chain_has_no_curve() -> None:
    assert () == survival([])


@given(results=st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=8), k=st.integers(1, 4))
def test_attempts_are_what_counting_all_choices_gives(results: list[list[bool]], k: int) -> None:
    found = attempts([(sum(each), len(each)) for each in results], k)
    chosen = [list(combinations(each, k)) for each in results if len(each) >= k]
    assert found.n_scenarios == len(chosen)
    if chosen:
        every = sum(sum(map(all, each)) / len(each) for each in chosen) / len(chosen)
        some = sum(sum(map(any, each)) / len(each) for each in chosen) / len(chosen)
        assert found.every_time == pytest.approx(every)
        assert found.some_time == pytest.approx(some)
    else:
        assert (None, None) == (found.every_time, found.some_time)


def test_no_attempt_is_no_attempt() -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        attempts([(1, 1)], 0)


@given(chains=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=2, max_size=40))
def test_chains_that_are_there_twice_tell_as_much_as_once(chains: list[tuple[int, bool]]) -> None:
    names = [str(number) for number in range(len(chains))]
    for once, twice in zip(survival(chains), survival(chains * 2, names * 2), strict=True):
        assert once.share == pytest.approx(twice.share)
        assert 2 * once.at_risk == twice.at_risk
        n = len(chains)
        few_clusters = n / (n - 1) * (t.ppf(0.975, max(1, n - 1)) / norm.ppf(0.975)) ** 2 if 0 < once.share < 1 else 1
        assert 2 * few_clusters == pytest.approx(twice.design_effect)
        assert twice.low <= once.low + 1e-9
        assert once.high <= twice.high + 1e-9


def test_chains_of_one_cluster_are_one() -> None:
    (only,) = survival([(1, True)] + [(1, False)] * 9, ["one"] * 10)
    assert (10.0, 1.0) == (only.design_effect, only.to_json()["n_effective"])


def test_few_chains_that_go_on_say_little_of_a_step_however_many_did_the_one_before() -> None:
    many, few = ([(2, True)] * 4 + [(2, False)] * (96 - n) + [(3, False)] * n for n in (96, 3))
    third = [survival(chains)[2] for chains in (many, few)]

    assert [96, 3] == [step.at_risk for step in third]
    assert pytest.approx(third[0].share) == third[1].share == 0.96
    assert third[0].low > 0.85
    assert third[1].low < 0.85
    assert third[0].high == third[1].high
