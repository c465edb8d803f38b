import json
from collections.abc import Mapping
from datetime import UTC, datetime

from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.report import Report, summarise
from tarx_toollog.replay.scenario import Omitted, Recorded, Scenario, ScenarioStep
from tarx_toollog.replay.text_report import report_text
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


def chains(report: Report) -> tuple[int, int]:
    return report.chains.numerator, report.chains.denominator


def test_a_chain_agrees_when_all_its_steps_do() -> None:
    scenarios = {1: scenario(1, 2), 2: scenario(1, 2)}
    trials = [trial(1, 1, True), trial(1, 2, True), trial(2, 1, True), trial(2, 2, False)]
    assert chains(summarise(RUN, scenarios, trials)) == (1, 2)


def test_a_chain_with_an_unanswered_step_is_not_judged_even_when_another_is_wrong() -> None:
    scenarios = {1: scenario(1, 2), 2: scenario(1, 2)}
    trials = [trial(1, 1, False), trial(1, 2, None, "infra_error"), trial(2, 1, False)]
    report = summarise(RUN, scenarios, trials)
    assert chains(report) == (0, 0)
    assert sum(report.chains_unjudged.values()) == 2
    assert (report.infra_errors, report.scorers["step"].denominator) == (1, 2)


def test_a_chain_with_a_step_left_out_is_not_judged_unless_that_step_is_asked_elsewhere() -> None:
    scenarios = {1: scenario(1, 3, omitted=(2,)), 2: scenario(1, 2, omitted=(2,))}
    trials = [trial(key, step.step_no, True) for key, each in scenarios.items() for step in each.steps]
    assert chains(summarise(RUN, scenarios, trials)) == (1, 1)


def test_scores_that_do_not_apply_are_in_no_denominator() -> None:
    report = summarise(RUN, {1: scenario(1)}, [trial(1, 1, True)])
    assert (report.scorers["name"].denominator, report.scorers["step"].denominator) == (0, 1)


def test_an_answer_without_a_score_is_counted_and_told() -> None:
    report = summarise(RUN, {1: scenario(1)}, [trial(1, 1, None)])
    assert report.unscored == 1
    assert "toollog replay score r" in report_text(report)


def test_a_run_with_more_than_two_percent_unanswered_is_not_valid() -> None:
    scenarios = {n: scenario(1) for n in range(100)}

    def with_lost(lost: int) -> Report:
        return summarise(
            RUN, scenarios, [trial(n, 1, None if n < lost else True, "infra_error" if n < lost else "ok")
                             for n in range(100)]
        )  # fmt: skip

    assert with_lost(2).is_valid
    assert not with_lost(3).is_valid
    assert with_lost(2).chains.denominator == 98


def test_depths_come_in_order_and_failures_by_frequency() -> None:
    scenarios = {1: scenario(*range(1, 12))}
    report = summarise(RUN, scenarios, [trial(1, n, n != 4) for n in range(11, 0, -1)])
    assert [part.key for part in report.depths] == [f"step {n}" for n in range(1, 12)]
    assert [(failure.code, failure.count) for failure in report.failures] == [("wrong_tool", 1)]


def test_every_share_of_the_json_form_has_its_counts() -> None:
    report = json.loads(json.dumps(summarise(RUN, {1: scenario(1)}, [trial(1, 1, False)]).to_json()))
    shares = [report["chain_agreement"], *report["scorers"].values(), *report["by_depth"], *report["by_signature"]]
    assert len(shares) >= 9
    assert all({"numerator", "denominator", "low", "high", "method"} <= set(share) for share in shares)
