import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.gate import GateOptions, problem_of
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.model import Label, LoggedCall, Outcome, Step

CALL = LoggedCall(
    uid="u",
    name="f",
    arguments="{}",
    argument_state="ok",
    schema_state="ok",
    offered=True,
    complete=True,
    origin="native",
    call_id="c",
    result_text="fine",
    result_is_error=False,
)
STEP = Step(
    exchange_uid="e",
    step_no=1,
    started_at=datetime(2026, 5, 1, tzinfo=UTC),
    model="m",
    messages=(),
    tools=(),
    params={},
    output={"role": "assistant"},
    tool_calls=(CALL,),
    outcome=Outcome.COMPLETED,
    finish_reason="tool_calls",
    input_tokens=1,
    output_tokens=1,
)


def reason_for(step: Step, **options: Any) -> str | None:
    return problem_of(step, GateOptions(**options))


def test_a_step_in_which_all_went_well_is_a_target() -> None:
    assert reason_for(STEP) is None


@pytest.mark.parametrize(
    "change",
    [
        {"result_text": None, "result_is_error": None},
        {"schema_state": "unchecked"},
        {"argument_state": "empty"},
    ],
)
def test_a_call_without_a_result_a_schema_or_arguments_is_a_target(change: dict[str, Any]) -> None:
    assert reason_for(replace(STEP, tool_calls=(replace(CALL, **change),))) is None


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.COMPLETED])
def test_an_exchange_that_did_not_complete_is_never_a_target(outcome: Outcome) -> None:
    assert reason_for(replace(STEP, outcome=outcome)) == "not_completed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"params": {"n": 2}}, "several_answers"),
        ({"finish_reason": "length"}, "cut_by_length"),
        ({"finish_reason": "content_filter"}, "cut_by_length"),
        ({"output": None}, "no_answer"),
        ({"truncation": "suspected"}, "truncated_context"),
        ({"labels": (Label("quality", value_num=-1.0),)}, "labelled_bad"),
        ({"labels": (Label("quality", value_text="Wrong"),)}, "labelled_bad"),
        ({"labels": (Label("quality", correction={"content": "No."}),)}, "labelled_bad"),
    ],
)
def test_an_answer_that_is_not_whole_is_never_a_target(change: dict[str, Any], reason: str) -> None:
    assert reason == reason_for(replace(STEP, **change))
    assert reason in REASONS


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"complete": False, "argument_state": "incomplete"}, "incomplete_call"),
        ({"origin": "leaked_text"}, "not_native_call"),
        ({"argument_state": "invalid"}, "invalid_arguments"),
        ({"offered": False}, "tool_not_offered"),
        ({"schema_state": "fail"}, "schema_failure"),
        ({"result_is_error": True}, "error_result"),
        ({"labels": (Label("quality", value_text="bad"),)}, "labelled_bad"),
    ],
)
def test_one_bad_call_among_good_ones_spoils_the_step(change: dict[str, Any], reason: str) -> None:
    assert reason == reason_for(replace(STEP, tool_calls=(CALL, replace(CALL, **change))))
    assert reason in REASONS


def test_good_labels_and_none_let_a_step_pass() -> None:
    liked = replace(STEP, labels=(Label("quality", value_num=1.0), Label("quality", value_text="good")))

    assert reason_for(liked) is None
    assert reason_for(liked, min_feedback=2.0) == "labelled_bad"


def test_a_verdict_on_the_conversation_counts_for_its_steps() -> None:
    assert problem_of(STEP, GateOptions(), [Label("quality", value_text="bad")]) == "labelled_bad"


def test_a_call_without_a_result_is_left_out_when_results_are_required() -> None:
    unseen = replace(STEP, tool_calls=(replace(CALL, result_text=None, result_is_error=None),))

    assert reason_for(unseen, require_result=True) == "no_result"
    assert reason_for(STEP, require_result=True) is None


def test_the_documentation_explains_every_reason_and_no_other() -> None:
    text = (Path(__file__).parents[3] / "docs" / "export.md").read_text("utf-8")
    section = text.partition("## What is left out")[2].partition("\n## ")[0]

    assert list(REASONS) == re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
