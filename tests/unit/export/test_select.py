import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.example import REASONS, Counts, Dropped
from tarx_toollog.export.select import candidates, require_target
from tarx_toollog.model import LoggedCall, Outcome, Step, Trajectory

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


def reason_for(step: Step) -> str | None:
    try:
        require_target(step)
    except Dropped as dropped:
        return dropped.reason
    return None


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
        ({"protocol": "unknown"}, "other_protocol"),
        ({"params": {"n": 2}}, "several_answers"),
        ({"finish_reason": "length"}, "cut_by_length"),
        ({"finish_reason": "content_filter"}, "cut_by_length"),
        ({"output": None}, "no_answer"),
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
    ],
)
def test_one_bad_call_among_good_ones_spoils_the_step(change: dict[str, Any], reason: str) -> None:
    assert reason == reason_for(replace(STEP, tool_calls=(CALL, replace(CALL, **change))))
    assert reason in REASONS


def test_each_step_of_a_turn_is_a_candidate() -> None:
    trajectory = Trajectory("conv", 3, (STEP, replace(STEP, step_no=2)), "f", "answered")

    found = [(item.conversation_uid, item.turn_no, item.step.step_no) for item in candidates(trajectory)]

    assert [("conv", 3, 1), ("conv", 3, 2)] == found


def test_counts_are_written_in_a_fixed_order_without_zeros() -> None:
    counts = Counts(trajectories=1, steps=3, examples=1)
    counts.dropped.update(["duplicate", "not_completed"])

    assert ["not_completed", "duplicate"] == list(counts.as_json()["dropped"])


def test_the_documentation_explains_every_reason_and_no_other() -> None:
    text = (Path(__file__).parents[3] / "docs" / "export.md").read_text("utf-8")
    section = text.partition("## What is left out")[2].partition("\n## ")[0]

    assert list(REASONS) == re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
