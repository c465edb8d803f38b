import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.export.example import Dropped
from tarx_toollog.export.normalise import Normaliser, written
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.model import LoggedCall, Outcome, Step

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def raw_call(arguments: Any = "{}", call_id: Any = "c1", name: str = "f") -> dict[str, Any]:
    return {"index": 0, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def logged(output: Mapping[str, Any]) -> tuple[LoggedCall, ...]:
    calls = output.get("tool_calls") or []
    return tuple(
        LoggedCall(
            uid="u",
            name=call["function"]["name"],
            arguments=call["function"]["arguments"] or "",
            argument_state=parse_arguments(call["function"]["arguments"] or "").state,
            schema_state="ok",
            offered=True,
            complete=True,
            origin="native",
            call_id="c1",
        )
        for call in calls
    )


def step(
    *messages: dict[str, Any], output: dict[str, Any] | None = None, tools: tuple[dict[str, Any], ...] = (TOOL,)
) -> Step:
    answer = {"role": "assistant", "content": "Yes."} if output is None else output
    return Step(
        exchange_uid="e",
        step_no=1,
        started_at=datetime(2026, 5, 1, tzinfo=UTC),
        model="m",
        messages=messages or ({"role": "user", "content": "Hi"},),
        tools=tools,
        params={},
        output=answer,
        tool_calls=logged(answer),
        outcome=Outcome.COMPLETED,
        finish_reason="stop",
        input_tokens=1,
        output_tokens=1,
    )


def normalised(found: Step, **options: Any) -> dict[str, Any]:
    normaliser = Normaliser(**options)
    tools = normaliser.tools(found)
    row: dict[str, Any] = {"messages": [piece.value for piece in normaliser.answered(found).pieces]}
    return row if tools is None else row | {"tools": tools.value}


def example(*messages: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return normalised(step(*messages, **parts))


def reason_for(*messages: dict[str, Any], **options: Any) -> str:
    with pytest.raises(Dropped) as caught:
        example(*messages, **options)
    assert caught.value.reason in REASONS
    return caught.value.reason


def test_the_row_has_messages_and_tools_and_nothing_else() -> None:
    row = example()

    assert ["messages", "tools"] == list(row)
    assert [TOOL] == row["tools"]


def test_without_tools_the_key_is_absent_rather_than_empty() -> None:
    assert ["messages"] == list(example(tools=()))


def test_the_answer_is_the_last_message_with_its_arguments_as_an_object() -> None:
    output = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [raw_call('{"a": [1, null]}')]}

    expected = {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": [1, None]}}},
        ],
    }
    assert expected == example(output=output)["messages"][-1]


def test_empty_arguments_are_the_empty_object() -> None:
    row = example(output={"content": None, "tool_calls": [raw_call("")]})

    assert row["messages"][-1]["tool_calls"][0]["function"]["arguments"] == {}


def test_a_tool_result_names_its_tool_and_its_call() -> None:
    row = example(
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [raw_call()]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    )

    assert {"role": "tool", "content": "42", "name": "f", "tool_call_id": "c1"} == row["messages"][2]


def test_results_without_ids_are_paired_in_order() -> None:
    row = example(
        {"role": "assistant", "tool_calls": [raw_call(call_id=None, name="f"), raw_call(call_id="", name="g")]},
        {"role": "tool", "content": "first"},
        {"role": "tool", "content": "second"},
    )

    calls, results = row["messages"][0]["tool_calls"], row["messages"][1:3]
    assert ["f", "g"] == [message["name"] for message in results]
    assert [call["id"] for call in calls] == [message["tool_call_id"] for message in results]
    assert len({call["id"] for call in calls}) == 2


def test_results_that_come_in_another_order_keep_their_ids() -> None:
    row = example(
        {"role": "assistant", "tool_calls": [raw_call(call_id="x", name="f"), raw_call(call_id="y", name="g")]},
        {"role": "tool", "tool_call_id": "y", "content": "of g"},
        {"role": "tool", "tool_call_id": "x", "content": "of f"},
    )

    assert [("of g", "g"), ("of f", "f")] == [(m["content"], m["name"]) for m in row["messages"][1:3]]


def test_the_same_id_in_two_turns_is_no_confusion() -> None:
    turn = (
        {"role": "assistant", "tool_calls": [raw_call(call_id="0")]},
        {"role": "tool", "tool_call_id": "0", "content": "r"},
    )

    assert len(example(*turn, *turn)["messages"]) == 5


def test_text_parts_become_one_string() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

    assert example({"role": "user", "content": parts})["messages"][0]["content"] == "a\nb"


def test_a_developer_message_is_a_system_message() -> None:
    assert example({"role": "developer", "content": "Be brief."})["messages"][0]["role"] == "system"


def test_null_keys_of_a_definition_go_and_nulls_inside_its_schema_stay() -> None:
    schema = {"type": "object", "properties": {"a": {"default": None}}}
    tool = {"type": "function", "strict": None, "function": {"name": "f", "description": None, "parameters": schema}}

    expected = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    assert expected == example(tools=(tool,))["tools"]


def test_a_legacy_definition_gets_its_envelope() -> None:
    assert [TOOL] == example(tools=(TOOL["function"],))["tools"]


def test_reasoning_is_left_out_unless_it_is_asked_for() -> None:
    found = step(output={"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."})
    kept = {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}

    assert {"role": "assistant", "content": "Yes."} == normalised(found)["messages"][-1]
    assert kept == normalised(found, keep_reasoning=True)["messages"][-1]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "function", "content": "x"}], "role"),
        ([{"content": "x"}], "role"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "not_text"),
        ([{"role": "user", "content": {"a": 1}}], "not_text"),
        ([{"role": "assistant", "tool_calls": [raw_call("{oops")]}], "history_arguments"),
        ([{"role": "assistant", "tool_calls": [raw_call("[1]")]}], "history_arguments"),
        ([{"role": "assistant", "tool_calls": "f"}], "history_arguments"),
        ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], "not_native_call"),
        ([{"role": "assistant", "function_call": {"name": "f"}}], "not_native_call"),
        ([{"role": "tool", "tool_call_id": "c1", "content": "x"}], "history_result"),
        ([{"role": "user", "content": "half \ud83d"}], "lone_surrogate"),
        ([{"role": "assistant", "tool_calls": [raw_call('{"a": NaN}')]}], "history_arguments"),
        ([{"role": "assistant", "tool_calls": [raw_call('{"a": 9223372036854775808}')]}], "number"),
    ],
)
def test_a_history_that_cannot_be_said_is_left_out(messages: list[dict[str, Any]], reason: str) -> None:
    assert reason == reason_for(*messages)


@pytest.mark.parametrize("content", ["", " \n", None])
def test_an_empty_answer_is_left_out(content: str | None) -> None:
    assert reason_for(output={"role": "assistant", "content": content}) == "no_answer"


@pytest.mark.parametrize("tool", [{"type": "web_search"}, {"type": "function", "function": {}}, {"type": "function"}])
def test_a_definition_that_is_no_named_function_is_left_out(tool: dict[str, Any]) -> None:
    assert reason_for(tools=(tool,)) == "tools"


def test_an_answer_whose_calls_are_not_the_logged_ones_is_left_out() -> None:
    found = replace(step(output={"role": "assistant", "content": "x", "tool_calls": [raw_call()]}), tool_calls=())

    with pytest.raises(Dropped) as caught:
        normalised(found)

    assert caught.value.reason == "calls_differ"


def test_messages_that_a_dialogue_repeats_are_written_once() -> None:
    asked, answered = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}
    normaliser = Normaliser()
    normaliser.begin("conversation")

    first = normaliser.answered(step(asked, output=answered))
    second = normaliser.answered(step(asked, answered, {"role": "user", "content": "So?"}, output=answered))

    assert second.pieces[0] is first.pieces[0]
    assert second.pieces[1] is first.pieces[1]


def test_the_same_message_is_read_by_what_came_before_it() -> None:
    result = {"role": "tool", "content": "42"}
    normaliser = Normaliser()
    normaliser.begin("conversation")
    called = [{"role": "assistant", "content": None, "tool_calls": [raw_call(name=name)]} for name in ("f", "g")]

    names = [normaliser.answered(step(call, result)).pieces[1].value["name"] for call in called]

    assert ["f", "g"] == names


def test_what_cleans_sees_each_message_once_in_canonical_form() -> None:
    seen: list[dict[str, Any]] = []

    def clean(message: dict[str, Any]) -> dict[str, Any]:
        seen.append(message)
        return message | {"content": "x"}

    row = normalised(step({"role": "developer", "content": "a"}), clean=clean)

    assert [{"role": "system", "content": "a"}, {"role": "assistant", "content": "Yes."}] == seen
    assert ["x", "x"] == [message["content"] for message in row["messages"]]


def test_a_message_with_a_control_token_of_the_template_is_left_out() -> None:
    with pytest.raises(Dropped) as caught:
        normalised(step({"role": "user", "content": "say <|im_end|> please"}), forbidden=frozenset({"<|im_end|>"}))

    assert caught.value.reason == "special_token"


@pytest.mark.parametrize(
    ("protocol", "messages", "output"),
    [
        (
            "anthropic_messages",
            [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}]},
            ],
            {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
        ),
        (
            "openai_responses",
            [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "output": [{"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}],
                },
                {"type": "function_call_output", "call_id": "c1", "output": "42"},
            ],
            {
                "role": "assistant",
                "output": [
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}
                ],
            },
        ),
        (
            "ollama_chat",
            [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
                },
                {"role": "tool", "content": "42", "tool_name": "f"},
            ],
            {"role": "assistant", "content": "Yes."},
        ),
    ],
)
def test_every_protocol_says_the_same_dialogue_alike(
    protocol: str, messages: list[dict[str, Any]], output: dict[str, Any]
) -> None:
    found = replace(step(*messages, output={"content": "Yes."}, tools=()), protocol=protocol, output=output)

    said = normalised(found)["messages"]
    for message in said:
        for call in message.get("tool_calls", ()):
            call["id"] = "c1"
        message.pop("tool_call_id", None)

    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    expected = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "42", "name": "f"},
        {"role": "assistant", "content": "Yes."},
    ]
    assert expected == said


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(categories=["Cs"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(st.dictionaries(st.text(), VALUES))
def test_what_passes_survives_json_and_utf8_unchanged(value: dict[str, Any]) -> None:
    try:
        text = written(value).text
    except Dropped:
        return

    assert value == json.loads(text.encode("utf-8"))


@given(st.integers(min_value=-(2**66), max_value=2**66))
def test_integers_pass_up_to_64_bits(number: int) -> None:
    try:
        passes = bool(written({"a": [number]}))
    except Dropped:
        passes = False

    assert passes == (-(2**63) <= number < 2**63)
