"""Lines for OpenAI's fine-tuning."""

from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.openai import OpenAIFormat
from tests.support.export_rows import (
    CLOCK,
    DOTTED,
    PREFERENCE,
    REASONED,
    TRAITS,
    TRAJECTORY,
    answer,
    call,
    export,
    make_row,
    result,
    user,
)


def test_a_line_is_the_wire_with_arguments_as_compact_strings(tmp_path: Path) -> None:
    row = make_row(
        [
            user("Time?"),
            answer("", call("c1", "clock", zone="Zürich", n=[1, 2])),
            result("c1", "clock", "12:00"),
            answer("Noon."),
        ],
        [CLOCK],
    )
    expected = {
        "messages": [
            {"role": "user", "content": "Time?"},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "clock", "arguments": '{"zone":"Zürich","n":[1,2]}'},
                    }
                ],
                "weight": 0,
            },
            {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
            {"role": "assistant", "content": "Noon."},
        ],
        "tools": [{"type": "function", "function": {"name": "clock"}}],
        "parallel_tool_calls": True,
    }
    assert expected == export(OpenAIFormat(), tmp_path, [row]).only


def test_parallel_tool_calls_does_not_tell_how_many_calls_the_answer_has(tmp_path: Path) -> None:
    rows = [TRAITS["one call"], TRAITS["two calls at once, the same tool twice"]]
    lines = export(OpenAIFormat(), tmp_path, rows).lines["train.jsonl"]
    assert [True, True] == [line["parallel_tool_calls"] for line in lines]


def test_without_tools_there_is_neither_key(tmp_path: Path) -> None:
    assert ["messages"] == list(export(OpenAIFormat(), tmp_path, [TRAITS["plain answer without tools"]]).only)


def test_in_a_trajectory_only_the_targets_keep_their_weight(tmp_path: Path) -> None:
    messages = export(OpenAIFormat(), tmp_path, [TRAJECTORY]).only["messages"]
    answers = {place: message for place, message in enumerate(messages) if message["role"] == "assistant"}
    assert {2: None, 4: 0, 6: None} == {place: message.get("weight") for place, message in answers.items()}


def test_a_preference_has_the_question_once_and_no_weights(tmp_path: Path) -> None:
    line = export(OpenAIFormat(), tmp_path, [PREFERENCE], FormatOptions(task="dpo")).only
    assert ["input", "preferred_output", "non_preferred_output"] == list(line)
    assert ["messages", "tools", "parallel_tool_calls"] == list(line["input"])
    assert ["system", "user"] == [message["role"] for message in line["input"]["messages"]]
    assert [{"role": "assistant", "content": "She is three."}] == line["non_preferred_output"]
    assert '{"query":"Miso age"}' == line["preferred_output"][0]["tool_calls"][0]["function"]["arguments"]


def test_keys_of_a_tool_that_the_api_does_not_know_are_left_out(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True, "x-origin": "mcp"}, "cache": 1}
    line = export(OpenAIFormat(), tmp_path, [make_row([user("a"), answer("b")], [tool])]).only
    assert [{"type": "function", "function": {"name": "f", "strict": True}}] == line["tools"]


def test_what_the_api_cannot_say_is_refused(tmp_path: Path) -> None:
    made = export(OpenAIFormat(), tmp_path, [DOTTED, REASONED, TRAITS["one call"]])
    assert (["format_cannot_say"] * 2, 1) == (made.dropped, len(made.places))


def test_a_name_that_only_the_offered_tools_have_is_refused_every_time(tmp_path: Path) -> None:
    rows = [make_row([user(text), answer("b")], [{"type": "function", "function": {"name": "a b"}}]) for text in "xy"]
    assert ["format_cannot_say"] * 2 == export(OpenAIFormat(), tmp_path, rows).dropped


def test_reasoning_in_the_history_is_left_out(tmp_path: Path) -> None:
    messages = export(OpenAIFormat(), tmp_path, [TRAITS["reasoning in the history"]]).only["messages"]
    assert {"role": "assistant", "content": "Hello.", "weight": 0} == messages[1]


def test_a_rejected_answer_with_reasoning_is_refused(tmp_path: Path) -> None:
    row = make_row([user("a"), answer("b")], rejected=answer("c", reasoning="d"))
    assert ["format_cannot_say"] == export(OpenAIFormat(), tmp_path, [row]).dropped


def test_kto_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format openai has no task kto"):
        OpenAIFormat().writer(tmp_path, FormatOptions(task="kto"))
