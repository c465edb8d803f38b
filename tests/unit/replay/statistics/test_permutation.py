"""The test by groups, against McNemar's, and against falling all coins one by one."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm  # type: ignore[import-untyped]

from tarx_toollog.replay.statistics.paired import paired_difference
from tarx_toollog.replay.statistics.permutation import sign_flip


@given(left=st.integers(0, 60), right=st.integers(0, 60))
def test_groups_of_one_case_make_it_mcnemars_test(left: int, right: int) -> None:
    expected = paired_difference(1, left, right, 1)
    assert pytest.approx((expected.mid_p, expected.exact_p), abs=1e-12) == sign_flip([-1] * left + [1] * right)


@given(sums=st.lists(st.integers(-4, 4), max_size=9))
def test_it_counts_all_ways_in_which_the_coins_can_fall(sums: list[int]) -> None:
    ways = [abs(sum(sign * each for sign, each in zip(signs, sums, strict=True)))
            for signs in product((1, -1), repeat=len(sums))]  # fmt: skip
    seen = abs(sum(sums))
    exact = sum(way >= seen for way in ways) / len(ways)
    mid = exact - sum(way == seen for way in ways) / len(ways) / 2
    assert pytest.approx((mid, exact) if seen else (1.0, 1.0)) == sign_flip(sums)


@given(sums=st.lists(st.integers(-4, 4), max_size=9))
def test_sums_that_are_no_whole_numbers_are_counted_alike(sums: list[int]) -> None:
    assert pytest.approx(sign_flip(sums), abs=0.02) == sign_flip([each * 0.37 for each in sums])


def test_many_groups_are_as_good_as_normal_and_hardly_otherwise_than_counted() -> None:
    def sums(n: int) -> list[int]:
        return [-1 if number % 9 < 4 else 1 + number % 3 for number in range(n)]

    for n in (500, 501):
        spread = sum(each**2 for each in sums(n)) ** 0.5
        expected = 2 * float(norm.sf(sum(sums(n)) / spread))
        assert pytest.approx(expected, rel=1e-9 if n == 501 else 0.3) == sign_flip(sums(n))[0]
