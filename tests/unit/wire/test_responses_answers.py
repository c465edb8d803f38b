"""OpenAI Responses: whole answers."""

from typing import Any

import pytest

from tarx_toollog.model import Message, Response, ToolCall, Usage
from tarx_toollog.wire.calls import MAX_CALLS, TOO_MANY_CALLS
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.openai_responses import OpenAIResponses

PROTOCOL = OpenAIResponses()

CALL = {
    "type": "function_call",
    "id": "fc_a",
    "call_id": "call_a",
    "name": "tarx_recall",
    "arguments": '{"query": "city"}',
    "status": "completed",
}
RESULT = {"type": "function_call_output", "call_id": "call_a", "output": "Lisbon"}
SAID = {
    "type": "message",
    "id": "msg_a",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "In Lisbon.", "annotations": []}],
}
THOUGHT = {"type": "reasoning", "id": "rs_a", "summary": [{"type": "summary_text", "text": "a city"}]}


def messages_of(*items: Any) -> tuple[Message, ...]:
    return PROTOCOL.decode_request({"input": list(items)}, DecodeContext()).messages


def response_of(body: dict[str, Any]) -> Response:
    return PROTOCOL.decode_response(body, DecodeContext(uid="uid-1"))


def answer(*output: Any, status: str = "completed", **body: Any) -> Response:
    return response_of({"id": "resp_1", "object": "response", "status": status, "output": list(output), **body})


def call_of(item: dict[str, Any], **body: Any) -> ToolCall:
    (call,) = answer(item, **body).choices[0].message.tool_calls
    return call


def test_a_whole_answer_is_read() -> None:
    response = answer(
        THOUGHT,
        SAID,
        CALL,
        model="m-q4",
        error=None,
        incomplete_details=None,
        instructions="Be kind.",
        tools=[{"type": "function", "name": "tarx_recall"}],
        temperature=0.5,
        usage={
            "input_tokens": 20,
            "output_tokens": 7,
            "total_tokens": 27,
            "input_tokens_details": {"cached_tokens": 5},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
    )

    (choice,) = response.choices
    assert ("resp_1", "m-q4", True, None) == (
        response.response_id,
        response.model,
        response.terminated,
        response.error,
    )
    assert Usage(20, 7, 5, 3) == response.usage
    assert {"object": "response", "temperature": 0.5} == response.extra
    assert (0, "tool_calls", "completed") == (choice.index, choice.finish_reason, choice.finish_reason_raw)
    assert {"role": "assistant", "output": [THOUGHT, SAID, CALL]} == choice.message.raw
    assert ("In Lisbon.", "a city") == (choice.message.text, choice.message.reasoning)
    (call,) = choice.message.tool_calls
    assert ToolCall("tarx_recall", '{"query": "city"}', "call_a") == call


@pytest.mark.parametrize(
    ("status", "reason", "output", "expected"),
    [
        ("completed", None, [SAID], ("stop", "completed")),
        ("completed", None, [], ("stop", "completed")),
        ("completed", None, [CALL], ("tool_calls", "completed")),
        ("incomplete", "max_output_tokens", [CALL], ("length", "incomplete:max_output_tokens")),
        ("incomplete", "content_filter", [SAID], ("content_filter", "incomplete:content_filter")),
        ("incomplete", "max_tool_calls", [SAID], ("max_tool_calls", "incomplete:max_tool_calls")),
        ("incomplete", None, [SAID], ("incomplete", "incomplete")),
        ("cancelled", None, [SAID], ("cancelled", "cancelled")),
        ("in_progress", None, [SAID], (None, "in_progress")),
    ],
)
def test_the_finish_reason_follows_from_the_status(
    status: str, reason: str | None, output: list[Any], expected: tuple[str | None, str]
) -> None:
    (choice,) = answer(*output, status=status, incomplete_details={"reason": reason} if reason else None).choices

    assert expected == (choice.finish_reason, choice.finish_reason_raw)


def test_an_answer_without_status_is_taken_as_it_stands() -> None:
    (choice,) = response_of({"output": [CALL]}).choices

    assert ("tool_calls", "completed") == (choice.finish_reason, choice.finish_reason_raw)


def test_a_response_that_waits_in_the_background_has_no_answer_yet() -> None:
    response = answer(status="queued")

    assert ((), False) == (response.choices, response.terminated)


def test_a_failed_response_is_an_error() -> None:
    response = answer(status="failed", error={"code": "server_error", "message": "went wrong"})

    assert ((), {"code": "server_error", "message": "went wrong"}) == (response.choices, response.error)


@pytest.mark.parametrize("body", [{}, {"output": None}, {"error": {"message": "no"}}, {"output": "x", "status": 7}])
def test_a_body_that_is_no_response_is_not_whole(body: dict[str, Any]) -> None:
    response = response_of(body)

    assert ((), False) == (response.choices, response.terminated)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {"type": "mcp_call", "id": "mcp_a", "name": "read", "arguments": "{}", "output": "x", "server_label": "f"},
            ("read", "{}", "mcp_a", True),
        ),
        (
            {"type": "mcp_call", "id": "mcp_a", "name": "read", "arguments": "{}", "status": "failed", "error": "no"},
            ("read", "{}", "mcp_a", True),
        ),
        (
            {"type": "web_search_call", "id": "ws_a", "status": "completed", "action": {"query": "trams"}},
            ("web_search", '{"action":{"query":"trams"}}', "ws_a", True),
        ),
        (
            {"type": "file_search_call", "id": "fs_a", "status": "searching", "queries": ["x"], "results": None},
            ("file_search", '{"queries":["x"]}', "fs_a", False),
        ),
        (
            {"type": "code_interpreter_call", "id": "ci_a", "status": "completed", "code": "1+1", "outputs": []},
            ("code_interpreter", '{"code":"1+1"}', "ci_a", True),
        ),
        ({"type": "image_generation_call", "id": "ig_a", "result": "…"}, ("image_generation", "{}", "ig_a", True)),
    ],
)
def test_a_call_that_the_server_carries_out_is_kept_as_such(item: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (choice,) = answer(item).choices
    (call,) = choice.message.tool_calls

    assert (expected, "server_side") == ((call.name, call.arguments, call.call_id, call.complete), call.origin)
    assert ("stop", ()) == (choice.finish_reason, choice.message.tool_results)
    assert [item] == choice.message.raw["output"]


def test_a_call_whose_output_is_in_the_same_answer_is_the_servers() -> None:
    (choice,) = answer({**CALL, "type": "shell_call", "name": None}, {**RESULT, "type": "shell_call_output"}).choices

    assert [("shell", "server_side")] == [(call.name, call.origin) for call in choice.message.tool_calls]
    assert "stop" == choice.finish_reason


def test_a_built_in_tool_that_the_client_carries_out_is_the_clients() -> None:
    item = {"type": "computer_call", "id": "cu_a", "call_id": "call_a", "action": {"type": "click"}, "status": "x"}

    call = call_of(item)

    assert ("computer", '{"action":{"type":"click"}}', "call_a", "native", True) == (
        call.name,
        call.arguments,
        call.call_id,
        call.origin,
        call.complete,
    )


@pytest.mark.parametrize(
    ("arguments", "item_status", "complete"),
    [
        ('{"a', "completed", False),
        ("", "completed", False),
        ("{}", "completed", True),
        ("{}", "incomplete", False),
    ],
)
def test_a_limit_leaves_calls_incomplete(arguments: str, item_status: str, complete: bool) -> None:
    item = {**CALL, "arguments": arguments, "status": item_status}

    assert complete == call_of(item, status="incomplete").complete


@pytest.mark.parametrize(("item_status", "complete"), [("completed", True), ("incomplete", False), (None, False)])
def test_free_text_is_whole_when_the_server_says_so(item_status: str | None, complete: bool) -> None:
    item = {"type": "custom_tool_call", "call_id": "a", "name": "sql", "input": "SELECT", "status": item_status}

    call = call_of(item, status="incomplete")

    assert ("custom", "SELECT", complete) == (call.origin, call.arguments, call.complete)


@pytest.mark.parametrize(
    ("limit", "expected"), [(7, ("length", False)), (8, ("tool_calls", True)), (None, ("tool_calls", True))]
)
def test_a_limit_that_was_reached_counts_although_the_server_says_completed(
    limit: int | None, expected: tuple[str, bool]
) -> None:
    context = DecodeContext(uid="uid-1")
    PROTOCOL.decode_request({"input": "x", "max_output_tokens": limit}, context)
    body = {"status": "completed", "output": [{**CALL, "arguments": '{"a'}], "usage": {"output_tokens": 7}}

    (choice,) = PROTOCOL.decode_response(body, context).choices

    assert expected == (choice.finish_reason, choice.message.tool_calls[0].complete)


def test_calls_without_ids_are_told_apart_and_the_same_each_time() -> None:
    item = {key: value for key, value in CALL.items() if key != "call_id"}

    first, second = answer(item, item).choices[0].message.tool_calls
    in_history = messages_of(item, item)[0].tool_calls

    assert (first, second) == answer(item, item).choices[0].message.tool_calls
    assert (in_history[0], in_history[1]) == messages_of(item, item)[0].tool_calls
    assert 4 == len({call.call_id for call in (first, second, *in_history)})
    assert {"missing"} == {call.id_state for call in (first, second, *in_history)}


def test_an_answer_of_endless_calls_is_cut_at_the_measure_of_all_protocols() -> None:
    calls = answer(*[{**CALL, "call_id": f"call_{number}"} for number in range(MAX_CALLS + 9)]).choices[0].message

    assert (MAX_CALLS, (), (TOO_MANY_CALLS,)) == (
        len(calls.tool_calls),
        calls.tool_calls[0].quirks,
        calls.tool_calls[-1].quirks,
    )


def test_values_nested_too_deep_to_be_written_leave_the_rest_of_the_message() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}

    made = messages_of({**CALL, "arguments": deep, "call_id": None}, {"type": "web_search_call", "action": deep}, SAID)[
        0
    ]

    assert ("In Lisbon.", ["tarx_recall", "web_search"], ["", ""]) == (
        made.text,
        [call.name for call in made.tool_calls],
        [call.arguments for call in made.tool_calls],
    )
