"""Strata, draws and weights: the weighted answer must be that of the whole log."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.suites.sampling import (
    BAD_DECISION,
    FAILED_CALL,
    OK,
    OUTCOMES,
    Stratum,
    TurnFacts,
    strata,
    uncovered_share,
)

RECALL = frozenset({"recall"})


def turn(number: int = 0, **more: Any) -> TurnFacts:
    """Return a turn that is asked; ``waits`` one that is not, without a label."""
    waits = more.pop("waits", False)
    facts = TurnFacts("c", number, 2, OK, RECALL, None if waits else number.to_bytes(17), not waits, waits)
    return replace(facts, **more)


def by_name(found: list[Stratum]) -> dict[str, tuple[int, int, int]]:
    """Return turns, scenarios and turns that wait for a label, by stratum."""
    return {stratum.name: (stratum.turns, len(stratum.drawn), stratum.needs_label) for stratum in found}


def test_what_is_alike_in_length_course_and_rarest_tool_is_one_stratum() -> None:
    found = strata(
        [
            turn(1), turn(2), turn(3, tools=frozenset({"recall", "save"})), turn(4, depth=5), turn(5, depth=4),
            turn(6, outcome=FAILED_CALL), turn(7, tools=frozenset()),
        ]
    )  # fmt: skip
    assert {
        "2 steps, ok, recall": (2, 2, 0),
        "4-5 steps, ok, recall": (2, 2, 0),
        "2 steps, ok, save": (1, 1, 0),
        "2 steps, failed call, recall": (1, 1, 0),
        "2 steps, ok, no tool": (1, 1, 0),
    } == by_name(found)


def test_without_a_sample_every_turn_stands_for_itself() -> None:
    (found,) = strata([turn(1), turn(2)])
    assert [1.0, 1.0] == [found.weight(digest) for digest in found.drawn]


def test_a_scenario_that_several_turns_ask_stands_for_them() -> None:
    one = turn(1)
    found = strata([one, replace(one, turn_no=8), replace(one, turn_no=9, tools=frozenset()), turn(2)])
    weights = {digest: stratum.weight(digest) for stratum in found for digest in stratum.drawn}
    assert {one.hash: 3.0, turn(2).hash: 1.0} == weights

    (stratum,) = strata(
        [one, replace(one, turn_no=8), turn(2), turn(3, waits=True), turn(4, waits=True), turn(5, waits=True)]
    )
    assert {one.hash: 4.0, turn(2).hash: 2.0} == {digest: stratum.weight(digest) for digest in stratum.drawn}


def test_failures_that_were_labelled_stand_for_those_that_were_not_and_nothing_else_does() -> None:
    bad = [turn(number, outcome=BAD_DECISION, waits=number > 2) for number in range(10)]
    good = [turn(number) for number in range(20, 50)]
    of_bad, of_good = sorted(strata(bad + good), key=lambda stratum: stratum.turns)
    assert (10, 3, 7) == (of_bad.turns, of_bad.whole, of_bad.needs_label)
    assert {10 / 3} == {of_bad.weight(digest) for digest in of_bad.drawn}
    assert {1.0} == {of_good.weight(digest) for digest in of_good.drawn}


def test_a_stratum_of_which_no_chain_can_be_judged_is_not_covered() -> None:
    waiting = [turn(number, outcome=BAD_DECISION, waits=True) for number in range(3)]
    partly = [turn(9, outcome=FAILED_CALL, is_whole=False, needs_label=True)]
    found = strata([*waiting, *partly, *(turn(number) for number in range(20, 26))])
    assert {"2 steps, ok, recall"} == {stratum.name for stratum in found if stratum.is_covered}
    assert 0.4 == uncovered_share(found)
    assert 0.0 == uncovered_share([])


def test_a_sample_has_each_stratum_and_goes_where_most_turns_are() -> None:
    many = [turn(number) for number in range(90)]
    few = [turn(number, outcome=FAILED_CALL) for number in range(100, 110)]
    assert {"2 steps, ok, recall": (90, 9, 0), "2 steps, failed call, recall": (10, 1, 0)} == by_name(
        strata(many + few, 10)
    )
    assert {"2 steps, ok, recall": (90, 1, 0), "2 steps, failed call, recall": (10, 1, 0)} == by_name(
        strata(many + few, 2)
    )
    with pytest.raises(ConfigError, match="no place for each of 2 strata") as caught:
        strata(many + few, 1)
    assert "--sample 2" in caught.value.hint


def test_chains_that_can_be_judged_are_drawn_before_those_that_cannot() -> None:
    turns = [turn(number, is_whole=number == 7) for number in range(9)]
    (found,) = strata(turns, 1)
    assert ([turn(7).hash], 1) == (list(found.drawn), found.whole)


def test_a_log_that_grows_keeps_what_was_drawn_or_draws_what_comes_before_it() -> None:
    (before,), (after,) = (strata([turn(number) for number in range(most)], 5) for most in (50, 60))
    assert list(before.drawn) == list(after.drawn)  # the later turns have greater hashes here


log_of_any_kind = st.lists(
    st.tuples(
        st.integers(1, 8), st.sampled_from(OUTCOMES), st.frozensets(st.sampled_from("abc"), max_size=2), st.booleans(),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=60,
)  # fmt: skip


@given(log_of_any_kind, st.none() | st.integers(1, 80))
@settings(max_examples=150, deadline=None)
def test_the_weights_of_a_suite_add_up_to_the_turns_that_it_says_something_about(
    log: list[tuple[int, str, frozenset[str], bool, int]], sample: int | None
) -> None:
    turns = [
        turn(number, depth=depth, outcome=outcome, tools=tools, waits=waits, hash=None if waits else asks.to_bytes(17))
        for number, (depth, outcome, tools, waits, asks) in enumerate(log)
    ]
    try:
        found = strata(turns, sample)
    except ConfigError:
        assert sample is not None
        assert sample < len([stratum for stratum in strata(turns) if stratum.drawn])
        return
    weights = [stratum.weight(digest) for stratum in found for digest in stratum.drawn]
    covered = sum(stratum.turns for stratum in found if stratum.is_covered)
    assert len(turns) == sum(stratum.turns for stratum in found)
    assert pytest.approx(covered) == sum(weights)
    assert sample is None or len(weights) <= sample
    assert len(weights) == len({digest for stratum in found for digest in stratum.drawn})
    assert found == strata(random.Random(7).sample(turns, len(turns)), sample)


def test_the_weighted_share_of_a_sample_is_that_of_the_log_on_average() -> None:
    """A model that is right in nine of ten easy turns and two of ten hard ones, of which only few were labelled."""
    shares = []
    for seed in range(200):
        chance = random.Random(seed)
        right: dict[bytes, bool] = {}
        turns = []
        for number in range(400):
            is_hard = number % 4 == 0
            waits = is_hard and chance.random() < 0.7
            digest = chance.randbytes(17)
            right[digest] = chance.random() < (0.2 if is_hard else 0.9)
            one = turn(number, outcome=BAD_DECISION if is_hard else OK, waits=waits, hash=None if waits else digest)
            turns.append(one)
        found = strata(turns, 60)
        drawn = [(stratum.weight(digest), right[digest]) for stratum in found for digest in stratum.drawn]
        shares.append(sum(weight for weight, is_right in drawn if is_right) / sum(weight for weight, _ in drawn))
    assert pytest.approx(0.75 * 0.9 + 0.25 * 0.2, abs=0.01) == sum(shares) / len(shares)
