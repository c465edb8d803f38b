import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.reports.details import StepDetail
from tarx_toollog.replay.reports.material import Material, Place
from tarx_toollog.replay.reports.report import Report, summarise
from tarx_toollog.replay.reports.report_html import report_html
from tarx_toollog.replay.reports.report_junit import report_junit
from tarx_toollog.replay.reports.report_markdown import report_markdown
from tarx_toollog.replay.reports.text_report import report_text
from tarx_toollog.replay.scenario import Omitted, Recorded, Scenario, ScenarioStep
from tarx_toollog.store.replays import Answer, RunRow, ScoreRow, TrialRow, TrialStatus

RUN = RunRow(1, "u", "r", "t", "m", "http://x", "teacher_forced", {}, None, "finished", datetime.now(UTC), None)


def scenario(*steps: int, omitted: tuple[int, ...] = ()) -> Scenario:
    frozen = tuple(ScenarioStep(n, "", (), (), {}, (Call("recall", {}),), Recorded({}, None, None)) for n in steps)
    return Scenario("c", 1, frozen, tuple(Omitted(n, "empty_answer") for n in omitted))


def trial(key: int, step_no: int, verdict: bool | None, status: TrialStatus = "ok") -> TrialRow:
    scores: Mapping[str, ScoreRow] = {}
    if verdict is not None:
        detail = {} if verdict else {"code": "wrong_tool", "findings": [{"code": "wrong_tool"}]}
        scores = {"step": ScoreRow(float(verdict), detail), "name": ScoreRow(None, {})}
    return TrialRow(key * 100 + step_no, key, step_no, 1, status, None, Answer(), "x", scores)


def of(scenarios: Mapping[int, Scenario], trials: Sequence[TrialRow], run: RunRow = RUN) -> Material:
    """Return a run whose scenarios have nothing to do with each other."""
    return Material(run, scenarios, {key: Place(f"s{key}", f"c{key}") for key in scenarios}, trials)


def report_of(scenarios: Mapping[int, Scenario], trials: Sequence[TrialRow]) -> Report:
    return summarise(of(scenarios, trials))


def chains(report: Report) -> tuple[int, int]:
    return report.chains.numerator, report.chains.denominator


def test_a_chain_agrees_when_all_its_steps_do() -> None:
    scenarios = {1: scenario(1, 2), 2: scenario(1, 2)}
    trials = [trial(1, 1, True), trial(1, 2, True), trial(2, 1, True), trial(2, 2, False)]
    assert chains(report_of(scenarios, trials)) == (1, 2)


def test_a_chain_with_an_unanswered_step_is_not_judged_even_when_another_is_wrong() -> None:
    scenarios = {1: scenario(1, 2), 2: scenario(1, 2)}
    trials = [trial(1, 1, False), trial(1, 2, None, "infra_error"), trial(2, 1, False)]
    report = report_of(scenarios, trials)
    assert chains(report) == (0, 0)
    assert sum(report.chains_unjudged.values()) == 2
    assert (report.asked.infra_errors, report.scorers["step"].denominator) == (1, 2)


def test_a_chain_with_a_step_left_out_is_not_judged_unless_that_step_is_asked_elsewhere() -> None:
    scenarios = {1: scenario(1, 3, omitted=(2,)), 2: scenario(1, 2, omitted=(2,))}
    trials = [trial(key, step.step_no, True) for key, each in scenarios.items() for step in each.steps]
    assert chains(report_of(scenarios, trials)) == (1, 1)


def test_scores_that_do_not_apply_are_in_no_denominator() -> None:
    report = report_of({1: scenario(1)}, [trial(1, 1, True)])
    assert (report.scorers["name"].denominator, report.scorers["step"].denominator) == (0, 1)


def test_an_answer_without_a_score_is_counted_and_told() -> None:
    report = report_of({1: scenario(1)}, [trial(1, 1, None)])
    assert report.asked.unscored == 1
    assert "toollog replay score r" in report_text(report)


def test_a_run_with_more_than_two_percent_unanswered_is_not_valid() -> None:
    scenarios = {n: scenario(1) for n in range(100)}

    def with_lost(lost: int) -> Report:
        return report_of(
            scenarios, [trial(n, 1, None if n < lost else True, "infra_error" if n < lost else "ok")
                             for n in range(100)]
        )  # fmt: skip

    assert with_lost(2).is_valid
    assert not with_lost(3).is_valid
    assert with_lost(2).chains.denominator == 98


def test_depths_come_in_order_and_failures_by_frequency() -> None:
    scenarios = {1: scenario(*range(1, 12))}
    report = report_of(scenarios, [trial(1, n, n != 4) for n in range(11, 0, -1)])
    assert [part.key for part in report.depths] == [f"step {n}" for n in range(1, 12)]
    assert [(failure.code, failure.count) for failure in report.failures] == [("wrong_tool", 1)]


def weighted(*places: tuple[str, float, str | None]) -> Material:
    """Return a run of scenarios in these tiers, with these weights and strata; the odd ones are right."""
    scenarios = {n: replace(scenario(1), tier=tier) for n, (tier, _, _) in enumerate(places, 1)}
    trials = [trial(n, 1, n % 2 == 1) for n in scenarios]
    where = {n: Place(f"s{n}", f"c{n}", weight, stratum) for n, (_, weight, stratum) in enumerate(places, 1)}
    return Material(RUN, scenarios, where, trials)


def test_a_chain_counts_for_as_many_turns_as_it_stands_for() -> None:
    report = summarise(weighted(("gold", 9.0, "a"), ("gold", 1.0, "b")))
    assert (0.9, (1, 2)) == (report.chains.estimate, chains(report))
    assert "each for as many of the log as it stands for" in report_text(report)


def test_labelled_chains_are_accuracy_and_the_others_stand_beside_them() -> None:
    report = summarise(weighted(("gold", 1.0, None), ("bronze", 1.0, None), ("silver", 1.0, None)))
    assert report.bronze_chains is not None
    assert ((2, 2), 0, 1) == (chains(report), report.bronze_chains.numerator, report.bronze_chains.denominator)
    text = report_text(report)
    assert "chain accuracy            100.0 %" in text
    assert "bronze chain agreement      0.0 %" in text
    assert "gold 1, silver 1, bronze 1: chain accuracy is of all but bronze" in text


def test_the_labelled_chains_of_a_stratum_stand_for_all_of_it() -> None:
    kinds = [("gold", 1.0, "easy"), ("gold", 1.0, "hard"), *[("bronze", 1.0, "hard")] * 8]
    report = summarise(weighted(*kinds))
    assert (0.1, (1, 2)) == (report.chains.estimate, chains(report))


def turn(key: int, verdict: bool | None) -> TrialRow:
    detail = {} if verdict else {"code": "wrong_order", "findings": [{"code": "wrong_order"}]}
    scores = {"chain": ScoreRow(None if verdict is None else float(verdict), detail)}
    return TrialRow(key, key, 2, 1, "ok", None, Answer(), "x", scores)


def test_turns_that_left_the_record_are_told_apart_from_right_and_wrong_ones() -> None:
    scenarios = {n: scenario(1, 2) for n in range(1, 6)}
    trials = [turn(1, True), turn(2, True), turn(3, False), turn(4, None)]
    report = summarise(of(scenarios, trials, replace(RUN, mode="closed_loop")))
    assert (2, 3) == chains(report)
    assert ["the turn does not end with an answer"] == list(report.chains_unjudged)
    told = report.to_json()["undetermined"]
    assert (2, 3, 1, 4) == tuple(told[key] for key in ("at_least", "at_most", "undetermined", "chains"))
    assert ("turns", 5, 4) == (report.asked.unit, report.asked.total, report.asked.asked)
    assert [("wrong_order", 2)] == [(failure.code, failure.count) for failure in report.failures]
    assert "between 50.0 % (all of them wrong) and 75.0 % (all of them right)" in report_text(report)


def test_every_share_of_the_json_form_has_its_counts() -> None:
    report = json.loads(json.dumps(report_of({1: scenario(1)}, [trial(1, 1, False)]).to_json()))
    shares = [report["chains"], *report["scorers"].values(), *report["by_depth"], *report["by_signature"]]
    assert len(shares) >= 9
    assert all({"numerator", "denominator", "low", "high", "method"} <= set(share) for share in shares)


def loop_report() -> Report:
    """Return a closed loop of four turns, the heavy one of which nobody can judge."""
    scenarios = {n: scenario(1, 2) for n in range(1, 5)}
    trials = [turn(1, True), turn(2, True), turn(3, False), turn(4, None)]
    run = of(scenarios, trials, replace(RUN, mode="closed_loop"))
    return summarise(
        replace(run, places={n: Place(f"s{n}", f"c{n}", 7.0 if n == 4 else 1.0, f"{n}") for n in scenarios})
    )


def test_what_undetermined_turns_leave_open_is_weighted_like_the_share_itself() -> None:
    report = loop_report()
    assert (0.2, 0.9) == tuple(share.estimate for share in report.undetermined_shares)
    assert "between 20.0 % (all of them wrong) and 90.0 % (all of them right)" in report_text(report)


def test_every_form_tells_what_nobody_can_judge_and_none_draws_a_curve_of_a_closed_loop() -> None:
    report = loop_report()
    forms = report_text(report), report_markdown(report, []), report_html(report, [])
    for form in forms:
        assert "between 20.0 % (all of them wrong) and 90.0 % (all of them right)" in form
    for form in (*forms, report_junit(report, [])):
        assert "no chain could be judged" not in form.lower()


def test_every_form_says_that_a_run_is_not_valid_and_what_the_figures_are() -> None:
    report = report_of({1: scenario(1), 2: scenario(1)}, [trial(1, 1, True), trial(2, 1, None, "infra_error")])
    step = StepDetail("s1", "c", 1, 1, 1, "recall", "right", None, {}, (), "?", None, (), (), None, None, None)
    for form in (report_text(report), report_markdown(report, []), report_html(report, [])):
        assert "NOT VALID: 1 steps have no answer" in form
    junit = report_junit(report, [step])
    assert '<property name="valid" value="false" />' in junit
    for form in (report_text(report), report_markdown(report, []), report_html(report, []), junit):
        assert "agreement with the log, not accuracy" in form


def test_the_curve_knows_which_chains_hang_together() -> None:
    scenarios = {n: scenario(1) for n in range(1, 41)}
    alone = of(scenarios, [trial(n, 1, n > 8) for n in scenarios])
    grouped = replace(alone, places={n: Place(f"s{n}", f"c{(n - 1) // 8}") for n in scenarios})
    (apart,), (together,) = summarise(alone).survival, summarise(grouped).survival
    assert (0.8, 0.8) == (apart.share, together.share)
    assert together.low < apart.low < apart.high < together.high


def test_a_loop_that_goes_on_after_a_divergence_is_told_to_be_exploratory() -> None:
    run = replace(RUN, mode="closed_loop", params={"on_divergence": "error-result"})
    report = summarise(of({1: scenario(1, 2)}, [turn(1, True)], run))
    for form in (report_text(report), report_markdown(report, []), report_html(report, [])):
        assert "exploratory: models were told that a tool is not available" in form
    assert "exploratory" not in report_text(loop_report())


def detail(step_no: int, code: str, asked: str, findings: Sequence[Mapping[str, object]] = ()) -> StepDetail:
    return StepDetail(
        "s1", "c", 1, step_no, 1, "recall", "wrong", code, {}, findings, asked, None, (), (), None, None, None
    )


def test_junit_can_be_read_whatever_a_run_a_code_or_a_text_holds() -> None:
    report = summarise(of({1: scenario(1)}, [trial(1, 1, False)], replace(RUN, name="r\x00un")))
    finding = {"code": "a\x01b", "actual": {"text": "\x1b \ufffe ]]> é"}}
    root = ET.fromstring(report_junit(report, [detail(1, "a\x01b", "what \x07 & <b>", [finding])]))

    (failure,) = root.iter("failure")
    assert ("toollog replay r�un", "a�b") == (root.get("name"), failure.get("type"))
    assert {"text": "\x1b � ]]> é"} == json.loads(str(failure.text))["actual"]


def test_a_turn_of_a_closed_loop_is_called_a_turn_and_not_its_step_0() -> None:
    report, turns = loop_report(), [detail(0, "undetermined", "Where?")]
    for form in (report_junit(report, turns), report_html(report, turns)):
        assert "whole turn" in form
        assert "step 0" not in form


def test_no_character_of_a_text_means_anything_in_markdown() -> None:
    hostile = "| `a` *b* _c_ [d](e) <f> &lt; ~~g~~ \\ # h"
    text = report_markdown(report_of({1: scenario(1)}, [trial(1, 1, False)]), [detail(1, "own|code", hostile)])

    (row,) = (line for line in text.splitlines() if "own" in line)
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", row)
    assert 6 == len(cells)
    assert hostile == re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cells[2].strip())
    assert not re.search(r"(?<!\\)[`*\[<&~]", cells[2].replace("\\\\", ""))


def test_scorers_are_told_in_words_with_what_each_share_is_of() -> None:
    report = report_of({1: scenario(1)}, [trial(1, 1, True)])
    for form in (report_text(report), report_markdown(report, []), report_html(report, [])):
        assert re.search(r"same arguments.*of steps with the right tools", form)
        assert not re.search(r"step_lenient|arguments_strict", form)


def test_the_curve_has_a_table_behind_it() -> None:
    scenarios = {n: scenario(1, 2) for n in range(1, 11)}
    report = report_of(scenarios, [trial(n, step, step == 1 or n > 4) for n in scenarios for step in (1, 2)])
    first, second = report.survival

    page = report_html(report, [])

    assert f"<tr><td>1<td>100.0 %<td>{first.low * 100:.1f}–100.0 %<td>0<td>10</tr>" in page
    assert f"<tr><td>2<td>60.0 %<td>{second.low * 100:.1f}–{second.high * 100:.1f} %<td>4<td>10</tr>" in page
