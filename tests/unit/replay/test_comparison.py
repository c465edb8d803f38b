"""Two runs, case by case."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tarx_toollog.replay.reports.comparison import Comparison, compared
from tarx_toollog.replay.reports.comparison_text import comparison_text, verdict_text
from tarx_toollog.replay.reports.material import Material, Place
from tarx_toollog.replay.reports.report_html import report_html
from tarx_toollog.replay.statistics.paired import paired_difference
from tests.unit.replay.test_report import RUN, of, scenario, trial, turn

BASE, TUNED = replace(RUN, name="base"), replace(RUN, name="tuned")
SCENARIOS = {key: scenario(1, 2) for key in range(1, 21)}


def half(verdicts: Mapping[int, tuple[bool | None, ...]], name: str = "base", **facts: Any) -> Material:
    """Return a run in which each scenario has these verdicts, step by step; None is no answer."""
    trials = [
        trial(key, step_no, verdict, "ok" if verdict is not None else "infra_error")
        for key, steps in verdicts.items()
        for step_no, verdict in enumerate(steps, 1)
    ]
    scenarios = {key: SCENARIOS[key] for key in verdicts}
    return of(scenarios, trials, replace(RUN, name=name, **facts))


def held(base: Mapping[int, tuple[bool | None, ...]], tuned: Mapping[int, tuple[bool | None, ...]]) -> Comparison:
    return compared(half(base), half(tuned, "tuned"))


def same(keys: range, *steps: bool) -> dict[int, tuple[bool | None, ...]]:
    return dict.fromkeys(keys, steps)


def test_chains_and_steps_are_counted_pair_by_pair() -> None:
    found = held(
        {1: (True, True), 2: (True, False), 3: (True, True), 4: (False, False)},
        {1: (True, True), 2: (True, True), 3: (False, True), 4: (True, False)},
    )

    assert (1, 1, 1, 1) == _counts(found.chains)
    assert (4, 1, 2, 1) == _counts(found.steps)


def test_only_what_both_were_judged_on_is_compared() -> None:
    found = held({1: (True, True), 2: (True, True)}, {2: (True, None), 3: (False, False)})

    assert ((0, 0, 0, 0), 3) == (_counts(found.chains), found.chains_unpaired)
    assert ((1, 0, 0, 0), 5) == (_counts(found.steps), found.steps_unpaired)


def test_regressions_and_gains_name_the_step_and_what_is_wrong() -> None:
    found = held({1: (True, False), 2: (True, True)}, {1: (True, True), 2: (True, False)})

    assert [("s2", 2, "wrong_tool")] == [(one.scenario_uid, one.step_no, one.code) for one in found.regressions]
    assert [("s1", 2)] == [(one.scenario_uid, one.step_no) for one in found.gains]
    assert "regressions: right before, wrong now (1 steps)\n    turn 1, step 2: wrong_tool" in comparison_text(found)


@pytest.mark.parametrize(
    ("base", "tuned", "verdict", "words"),
    [
        (same(range(1, 21), False, True), same(range(1, 21), True, True), "better", "tuned is better than base: +"),
        (same(range(1, 21), True, True), same(range(1, 21), False, True), "worse", "tuned is WORSE than base: -"),
        ({1: (True, True)}, {1: (True, True)}, "undecided", "base and tuned are not told apart: -"),
    ],
)
def test_the_verdict_is_what_the_interval_says(base: Any, tuned: Any, verdict: str, words: str) -> None:
    found = held(base, tuned)

    assert verdict == found.verdict
    assert verdict_text(found).startswith(words)


def test_no_worse_takes_a_lower_bound_within_the_margin() -> None:
    runs = half(same(range(1, 21), True, True)), half(same(range(1, 21), True, True), "tuned")

    assert ["no_worse", "undecided"] == [compared(*runs, margin).verdict for margin in (0.15, 0.03)]
    assert "no worse than base by more than 15 points" in verdict_text(compared(*runs, 0.15))


def test_what_else_differs_is_told_and_the_adapters_that_are_compared_are_not() -> None:
    base = half({1: (True, True)}, server={"chat_template_hash": "a", "n_ctx": 1}, params={"seed": 1, "extra_body": {}})
    asked = {"seed": 2, "extra_body": {"lora": [{"id": 0, "scale": 1}]}}
    tuned = half({1: (True, True)}, server={"chat_template_hash": "b", "n_ctx": 1}, params=asked, status="running")

    found = compared(base, replace(tuned, run=replace(tuned.run, name="tuned")))

    assert (
        "their servers use different chat templates (chat_template_hash: a, b)",
        "they were asked in different ways (seed: 1, 2)",
        "tuned is running: what it has not been asked is not compared",
    ) == found.doubts


def test_a_comparison_with_many_unanswered_steps_is_not_valid_and_says_so() -> None:
    found = held(same(range(1, 5), True, True), {1: (True, None), 2: (True, True), 3: (True, True), 4: (True, True)})

    assert not found.is_valid
    assert "NOT VALID: 1 steps of tuned have no answer" in comparison_text(found)


def _counts(found: Any) -> tuple[int, int, int, int]:
    return found.both, found.only_first, found.only_second, found.neither


def placed(of_run: Material, *places: tuple[str, float]) -> Material:
    """Return a run whose scenarios have these clusters and weights."""
    where = {key: Place(f"s{key}", name, weight, f"{weight}") for key, (name, weight) in enumerate(places, 1)}
    return replace(of_run, places=where)


def test_chains_count_for_the_turns_that_they_stand_for() -> None:
    base = half({1: (True, True), 2: (False, True), 3: (False, True)})
    tuned = half({1: (False, True), 2: (True, True), 3: (True, True)}, "tuned")
    where = ("a", 8.0), ("b", 1.0), ("c", 1.0)

    found = compared(placed(base, *where), placed(tuned, *where))

    assert pytest.approx(-0.6) == found.chains.estimate  # as the shares beside it: 80 % and 20 %
    assert pytest.approx((0.8, 0.2)) == (found.first.chains.estimate, found.second.chains.estimate)
    assert pytest.approx(1 / 6) == found.steps.estimate  # steps count alike
    assert "counts each for as many turns of the log as it stands for" in comparison_text(found)


def test_a_gain_within_one_conversation_is_no_proof() -> None:
    base = half({key: (key > 10, True) for key in range(1, 21)})
    tuned = half(dict.fromkeys(range(1, 21), (True, True)), "tuned")
    together = [("one", 1.0) if key <= 10 else (f"c{key}", 1.0) for key in range(1, 21)]

    found = compared(placed(base, *together), placed(tuned, *together))

    assert ("better", "undecided") == (compared(base, tuned).verdict, found.verdict)
    assert found.chains.n_effective is not None
    text = comparison_text(found)
    assert f"tell as much as {found.chains.n_effective:.0f} that have nothing to do" in text
    assert "each group changes sides as a whole; groups in which one gains: 1" in text
    assert (0.5, "mcnemar by groups (sign flips)") == tuple(found.to_json()["chains"][key] for key in ("mid_p", "test"))


@pytest.mark.parametrize(("n_gains", "verdict"), [(4, "no_worse"), (5, "better")])
def test_better_is_what_the_interval_and_the_test_both_say(n_gains: int, verdict: str) -> None:
    keys = range(1, n_gains + 1)
    found = held(same(keys, False, True), same(keys, True, True))

    assert found.chains.low > 0
    assert ((n_gains == 5), verdict, None) == (found.chains.mid_p < 0.05, found.verdict, found.pairs_to_decide)
    told = "the interval leaves out 0, but p is more than 0.05: too little to say better or worse"
    assert (told in comparison_text(found)) is (n_gains == 4)


def test_it_is_told_when_only_the_test_sees_a_difference() -> None:
    """One loss and seven gains among a hundred: p is 0.039, and the interval reaches 0."""
    found = held({1: (True, True)}, {1: (True, True)})
    text = comparison_text(replace(found, chains=paired_difference(50, 1, 7, 42)))

    assert "are not told apart" in text or "is no worse than" in text
    assert "p is at most 0.05, but the interval holds 0: too little to say better or worse" in text


def test_only_labelled_chains_decide_as_in_a_gate_unless_a_model_is_asked_again() -> None:
    tiers = {1: "gold", 2: "bronze", 3: "bronze"}
    base, tuned = (
        replace(run, scenarios={key: replace(one, tier=tiers[key]) for key, one in run.scenarios.items()})
        for run in (
            half(same(range(1, 4), True, True)),
            half({1: (True, True), 2: (False, True), 3: (True, True)}, "x"),
        )
    )
    again = replace(tuned, run=replace(tuned.run, params={"again": "base"}))

    found = compared(base, tuned)

    assert ((1, 0, 0, 0), 2) == (_counts(found.chains), found.chains_unlabelled)
    assert "2 chains more are not counted: nobody said what is right there" in comparison_text(found)
    assert (2, 1, 0, 0) == _counts(compared(base, again).chains)


def test_in_a_closed_loop_turns_are_compared_and_called_turns() -> None:
    base, tuned = (
        of(
            {1: SCENARIOS[1], 2: SCENARIOS[2]},
            [turn(1, True), turn(2, is_right)],
            replace(RUN, name=name, mode="closed_loop"),
        )
        for name, is_right in (("base", True), ("tuned", False))
    )

    found = compared(base, tuned)
    text, page = comparison_text(found), report_html(found.second, [], found)

    assert [("s2", 0)] == [(one.scenario_uid, one.step_no) for one in found.regressions]
    assert "regressions: right before, wrong now (1 turns)\n    turn 1: wrong_order" in text
    assert "\nsteps " not in text
    assert '<a href="#s2-0">' in page
    assert ", turn 1: <code>wrong_order</code>" in page
