"""Lines for Mistral's fine-tuning. ``tests/consumers`` holds them against the real validator."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Message, Task
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.mistral import MistralFormat
from tests.support.export_rows import (
    CLOCK,
    DOTTED,
    REASONED,
    SYSTEM,
    TRAITS,
    TRAJECTORY,
    answer,
    call,
    export,
    make_row,
    result,
    user,
)


def test_results_follow_their_calls_under_ids_of_nine_letters_and_digits(tmp_path: Path) -> None:
    row = TRAITS["results of two calls in the history"]
    messages = export(MistralFormat(), tmp_path, [row]).only["messages"]
    ids = [made["id"] for made in messages[1]["tool_calls"]]
    assert [True, True] == [re.fullmatch("[a-zA-Z0-9]{9}", made) is not None for made in ids]
    assert ids == [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert 2 == len(set(ids))


def test_an_id_that_the_server_gave_twice_becomes_two(tmp_path: Path) -> None:
    messages = export(MistralFormat(), tmp_path, [TRAITS["the same call id in every step"]]).only["messages"]
    ids = [made["id"] for message in messages for made in message.get("tool_calls", ())]
    assert 2 == len(set(ids))
    assert ids == [message["tool_call_id"] for message in messages if message["role"] == "tool"]


def test_the_same_row_gets_the_same_ids_again(tmp_path: Path) -> None:
    row = TRAITS["one call"]
    first = export(MistralFormat(), tmp_path / "a", [row])
    assert first.lines == export(MistralFormat(), tmp_path / "b", [row]).lines


def test_only_the_targets_keep_their_weight(tmp_path: Path) -> None:
    messages = export(MistralFormat(), tmp_path, [TRAJECTORY]).only["messages"]
    answers = {place: message for place, message in enumerate(messages) if message["role"] == "assistant"}
    assert {2: None, 4: 0, 6: None} == {place: message.get("weight") for place, message in answers.items()}


def test_a_tool_without_parameters_gets_empty_ones(tmp_path: Path) -> None:
    tools = export(MistralFormat(), tmp_path, [TRAITS["no arguments"]]).only["tools"]
    expected = {"name": "clock", "description": "", "parameters": {}}
    assert [{"type": "function", "function": expected}] == tools


_CALL = answer("", call("a", "clock"))
_REFUSED: dict[str, Sequence[Message]] = {
    "an answer before any question": [answer("How can I help?"), user("x"), answer("y")],
    "an answer and nothing else": [answer("y")],
    "a system message after an answer": [user("x"), answer("y"), SYSTEM, user("z"), answer("!")],
    "a call without a result": [user("x"), _CALL, user("z"), answer("y")],
    "two results of one call": [user("x"), _CALL, result("a", "clock", "1"), result("a", "clock", "2"), answer("y")],
    "a result of another call": [user("x"), _CALL, result("b", "clock", "1"), answer("y")],
    "a result after a question": [user("x"), result("a", "clock", "1"), answer("y")],
    "two calls with one id": [user("x"), answer("", call("a", "clock"), call("a", "clock"))],
    "a tool's name that is none": [user("x"), _CALL, result("a", "my clock", "1"), answer("y")],
}


@pytest.mark.parametrize("trait", _REFUSED)
def test_what_the_validator_would_refuse_is_refused(trait: str, tmp_path: Path) -> None:
    assert ["format_cannot_say"] == export(MistralFormat(), tmp_path, [make_row(_REFUSED[trait], [CLOCK])]).dropped


def test_names_schemas_and_reasoning_that_cannot_be_said_are_refused(tmp_path: Path) -> None:
    broken = {"type": "function", "function": {"name": "f", "parameters": {"type": "nothing"}}}
    rows = [DOTTED, REASONED, make_row([user("a"), answer("b")], [broken])]
    assert ["format_cannot_say"] * 3 == export(MistralFormat(), tmp_path, rows).dropped


@pytest.mark.parametrize("task", ["dpo", "kto"])
def test_preferences_are_refused(task: Task, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"format mistral has no task {task}"):
        MistralFormat().writer(tmp_path, FormatOptions(task=task))
