"""Requests, messages and whole answers of the chat completions protocol."""

from typing import Any

import pytest

from tarx_toollog.model import Request, Response, ToolDefinition, Usage
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.openai_chat import OpenAIChat, message_from_raw, tool_from_raw

PROTOCOL = OpenAIChat()
FUNCTION = {"name": "tarx_recall", "description": "Look up", "parameters": {"type": "object"}}
CALL = {"id": "a", "type": "function", "function": {"name": "tarx_recall", "arguments": '{"query": "x"}'}}


def request_of(body: dict[str, Any]) -> Request:
    return PROTOCOL.decode_request(body, DecodeContext())


def response_of(body: dict[str, Any], context: DecodeContext | None = None) -> Response:
    return PROTOCOL.decode_response(body, context or DecodeContext(uid="uid-1"))


def answer(message: Any, finish_reason: Any = "stop", **body: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}], **body}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/chat/completions", True),
        ("POST", "/s/demo/v1/chat/completions", True),
        ("GET", "/v1/chat/completions", False),
        ("POST", "/v1/chat/completions/input_tokens", False),
        ("POST", "/v1/completions", False),
    ],
)
def test_the_route_decides(method: str, path: str, expected: bool) -> None:
    assert expected == PROTOCOL.matches(method, path)


@pytest.mark.parametrize("tools_key", ["tools", "functions"])
def test_a_request_is_split_so_that_it_can_be_put_together_again(tools_key: str) -> None:
    tool = {"type": "function", "function": FUNCTION} if tools_key == "tools" else FUNCTION
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        tools_key: [tool],
        "stream": True,
        "unknown": {"kept": [1]},
    }

    request = request_of(body)

    assert ("m", True, tools_key) == (request.model, request.stream, request.tools_key)
    assert (ToolDefinition("tarx_recall", tool, "Look up", {"type": "object"}),) == request.tools
    assert request.params == {"model": "m", "stream": True, "unknown": {"kept": [1]}}
    rebuilt = {
        **request.params,
        "messages": [message.raw for message in request.messages],
        tools_key: [definition.raw for definition in request.tools],
    }
    assert body == rebuilt


def test_a_request_without_tools_says_so() -> None:
    assert None is request_of({"messages": []}).tools_key
    assert request_of({"messages": [], "tools": []}).tools_key == "tools"


@pytest.mark.parametrize("body", [{"messages": "x"}, {"messages": None}, {"tools": None}, {"tools": {}}, {}])
def test_what_is_not_as_the_protocol_says_stays_in_params(body: dict[str, Any]) -> None:
    request = request_of(body)

    assert (body, (), (), None) == (request.params, request.messages, request.tools, request.tools_key)


def test_both_kinds_of_tools_at_once_keep_the_newer_as_tools() -> None:
    request = request_of({"tools": [FUNCTION], "functions": [FUNCTION]})

    assert (request.tools_key, request.params) == ("tools", {"functions": [FUNCTION]})


def test_entries_that_are_no_objects_are_noted() -> None:
    context = DecodeContext()

    request = PROTOCOL.decode_request({"messages": ["x", {"role": "user"}], "tools": [None, FUNCTION]}, context)

    assert (len(request.messages), len(request.tools)) == (1, 1)
    assert context.notes == ["tool_not_object:0", "message_not_object:0"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"type": "function", "function": {"name": "f"}}, ("f", "", None)),
        ({"type": "custom", "custom": {"name": "c", "description": "d"}}, ("c", "d", None)),
        ({"type": "function", "name": "flat", "parameters": {}}, ("flat", "", {})),
        ({"type": "function", "function": {"name": 7, "parameters": "x"}}, ("", "", None)),
        ({"type": "web_search"}, ("", "", None)),
    ],
)
def test_a_tool_definition_is_read_in_every_form(raw: dict[str, Any], expected: tuple[Any, ...]) -> None:
    tool = tool_from_raw(raw)

    assert expected == (tool.name, tool.description, tool.parameters)
    assert raw is tool.raw


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text", "text"),
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "b"}], "ab"),
        (["a", {"text": "b"}, 7, None, {"type": "text", "text": None}], "ab"),
        ({"text": "a"}, "a"),
        ({"city": "Köln"}, '{"city":"Köln"}'),
        (17, ""),
    ],
)
def test_the_text_of_a_message_is_read_from_every_form(content: Any, expected: str) -> None:
    assert expected == message_from_raw({"role": "tool", "content": content}).text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"reasoning_content": "a", "reasoning": "b"}, "a"),
        ({"reasoning_content": "", "reasoning": "b"}, "b"),
        ({"thinking": "c"}, "c"),
        ({"reasoning": {"effort": "low"}}, None),
        ({}, None),
    ],
)
def test_reasoning_is_read_under_every_key(raw: dict[str, Any], expected: str | None) -> None:
    assert expected == message_from_raw(raw).reasoning


@pytest.mark.parametrize(("value", "expected"), [("a", "a"), (7, "7"), ("", None), (None, None), ([], None)])
def test_the_id_that_a_tool_result_answers_is_text(value: Any, expected: str | None) -> None:
    message = message_from_raw({"role": "tool", "name": "tarx_recall", "tool_call_id": value, "content": "x"})

    assert (expected, "tarx_recall") == (message.tool_call_id, message.name)


def test_a_message_of_nonsense_is_empty() -> None:
    raw = {"role": 7, "content": 1.5, "tool_calls": "x", "function_call": "y", "name": []}

    message = message_from_raw(raw)

    assert (message.role, message.text, message.name, message.tool_calls) == ("", "", None, ())
    assert raw is message.raw


def test_calls_in_the_history_without_ids_get_the_same_minted_id_each_time() -> None:
    raw = {"role": "assistant", "tool_calls": [{"function": CALL["function"]}, {"function": CALL["function"]}]}

    first, second = message_from_raw(raw).tool_calls

    assert (first, second) == message_from_raw(dict(raw)).tool_calls
    assert (first.id_state, second.id_state) == ("missing", "missing")
    assert first.call_id != second.call_id
    assert first.call_id.startswith("tlx_")
    assert first.call_id != message_from_raw({**raw, "content": "other"}).tool_calls[0].call_id


def test_whole_calls_are_never_joined() -> None:
    entry = {"index": 0, "id": "a", "function": {"name": "tarx_recall"}}

    calls = message_from_raw({"tool_calls": [entry, entry, {}, None]}).tool_calls

    assert [(call.name, call.id_state, call.wire_index, call.ordinal) for call in calls] == [
        ("tarx_recall", "duplicate", 0, 0),
        ("tarx_recall", "duplicate", 0, 1),
    ]


def test_a_whole_answer_is_read() -> None:
    body = answer(
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        "tool_calls",
        id="chatcmpl-1",
        model="m",
        usage={"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
        timings={"prompt_ms": 1.5, "predicted_ms": 2.5, "prompt_n": 1, "cache_n": 4, "predicted_n": 2},
        system_fingerprint="b0",
    )

    response = response_of(body)

    assert (
        response.response_id,
        response.model,
        response.terminated,
        response.prompt_ms,
        response.predicted_ms,
    ) == ("chatcmpl-1", "m", True, 1.5, 2.5)
    assert Usage(5, 2, 4) == response.usage
    assert {"timings": body["timings"], "system_fingerprint": "b0"} == response.extra
    (call,) = response.choices[0].message.tool_calls
    assert (
        call.name,
        call.arguments,
        call.call_id,
        call.complete,
        call.quirks,
    ) == ("tarx_recall", '{"query": "x"}', "a", True, ())


@pytest.mark.parametrize(
    ("finish_reason", "arguments", "complete"),
    [
        ("length", '{"a', False),
        ("length", "", False),
        ("length", "{}", True),
        ("content_filter", '{"a', False),
        ("tool_calls", '{"a', True),
        (None, '{"a', False),
        (None, "", True),
        (None, "{a: 1}", True),
        (None, "words", True),
    ],
)
def test_a_call_is_incomplete_when_a_limit_or_an_end_without_a_reason_cut_its_arguments(
    finish_reason: str | None, arguments: str, complete: bool
) -> None:
    message = {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": arguments}}]}

    (call,) = response_of(answer(message, finish_reason)).choices[0].message.tool_calls

    assert complete == call.complete


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("stop", "stop"),
        ("tool_call", "tool_calls"),
        ("function_call", "tool_calls"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("abort", "abort"),
        ("", None),
        (None, None),
    ],
)
def test_finish_reasons_are_mapped_and_kept(raw: str | None, expected: str | None) -> None:
    choice = response_of(answer({"content": "x"}, raw)).choices[0]

    assert (expected, raw) == (choice.finish_reason, choice.finish_reason_raw)


@pytest.mark.parametrize(
    ("usage", "timings", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2}, None, Usage(5, 2)),
        ({"input_tokens": 5, "output_tokens": 2}, None, Usage(5, 2)),
        ({"prompt_tokens": 5}, None, Usage(5, None)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_n": 3}, Usage(3, None, source="timings")),
        (None, {"prompt_n": 1, "cache_n": 4, "predicted_n": 2}, Usage(5, 2, 4, source="timings")),
        (None, {"predicted_n": 2}, Usage(None, 2, source="timings")),
        (None, {"prompt_ms": 3}, None),
        ({"prompt_tokens": True, "completion_tokens": 2**70}, None, None),
        ({"prompt_tokens": float("nan"), "completion_tokens": 2.0}, None, Usage(None, 2)),
        ({"prompt_tokens": -1, "completion_tokens": 2.5}, None, None),
        ("x", [], None),
    ],
)
def test_token_counts_come_from_usage_or_else_from_timings(usage: Any, timings: Any, expected: Usage | None) -> None:
    assert expected == response_of(answer({}, usage=usage, timings=timings)).usage


def test_reasoning_tokens_are_counted() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 7}}

    assert Usage(1, None, None, 7) == response_of(answer({}, usage=usage)).usage


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"code": 400, "message": "m"}}, {"code": 400, "message": "m"}),
        ({"error": "m"}, {"message": "m"}),
        ({"error": ""}, None),
        ({"error": None}, None),
        ({"object": "error", "message": "m"}, {"object": "error", "message": "m"}),
        ({"choices": [{"error": {"code": 502}}]}, {"code": 502}),
    ],
)
def test_an_error_is_found_in_every_form(body: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert expected == response_of(body).error


@pytest.mark.parametrize("choices", [None, "x", [], [None, 7]])
def test_an_answer_without_choices_is_not_whole(choices: Any) -> None:
    response = response_of({"choices": choices})

    assert (response.choices, response.terminated) == ((), False)


def test_choices_without_index_are_numbered_and_unknown_fields_of_a_choice_are_kept() -> None:
    context = DecodeContext()
    body = {"choices": [{"message": {}, "stop_reason": 7}, {"message": "x", "logprobs": {"content": []}}]}

    response = response_of(body, context)

    assert [choice.index for choice in response.choices] == [0, 1]
    assert response.extra == {"choice_fields": {"0": {"stop_reason": 7}}}
    assert context.notes == ["not_kept:logprobs"]


def test_values_nested_too_deep_to_be_written_leave_the_rest_of_the_message() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    call = {"function": {"name": "tarx_recall", "arguments": deep}}

    message = message_from_raw({"role": "tool", "content": deep, "tool_calls": [call]})

    assert ("tool", "") == (message.role, message.text)
    assert [("tarx_recall", "", ("arguments_object", "id_missing"))] == [
        (call.name, call.arguments, call.quirks) for call in message.tool_calls
    ]


def test_a_null_field_of_a_choice_is_passed_over_without_a_note() -> None:
    context = DecodeContext()

    response_of({"choices": [{"message": {}, "logprobs": None, "token_ids": []}]}, context)

    assert [] == context.notes
