"""Requests, messages and whole answers of Anthropic Messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.canonical import canonical_json, parse_json
from tarx_toollog.model import Message, Request, Response, ToolDefinition, ToolResult, Usage
from tarx_toollog.wire.anthropic_blocks import message_from_raw
from tarx_toollog.wire.anthropic_messages import AnthropicMessages
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.protocols import is_model_route, protocol_for, protocol_named
from tests.support.captures import captures_of, load_raw

PROTOCOL = AnthropicMessages()
CALL = {"type": "tool_use", "id": "toolu_a", "name": "tarx_recall", "input": {"query": "city", "limit": 3}}


def request_of(body: dict[str, Any], context: DecodeContext | None = None) -> Request:
    return PROTOCOL.decode_request(body, context or DecodeContext())


def response_of(body: dict[str, Any], context: DecodeContext | None = None) -> Response:
    return PROTOCOL.decode_response(body, context or DecodeContext(uid="uid-1"))


def answer(*blocks: Any, stop_reason: Any = "end_turn", **body: Any) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
    return {**head, "content": list(blocks), "stop_reason": stop_reason, "stop_sequence": None, **body}


def user(*blocks: Any) -> Message:
    return message_from_raw({"role": "user", "content": list(blocks)})


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/messages", True),
        ("POST", "/s/demo/v1/messages", True),
        ("POST", "/anthropic/v1/messages", True),
        ("GET", "/v1/messages", False),
        ("POST", "/v1/messages/count_tokens", False),
        ("POST", "/v1/threads/t/messages", False),
        ("POST", "/api/messages", False),
    ],
)
def test_the_route_decides(method: str, path: str, expected: bool) -> None:
    assert expected == PROTOCOL.matches(method, path)


def test_it_is_registered_under_its_name() -> None:
    assert protocol_for("POST", "/s/demo/v1/messages/?beta=true") is protocol_named("anthropic_messages")
    assert is_model_route("POST", "/v1/messages")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": "m", "max_tokens": 1, "messages": []}, True),
        ({"messages": "two"}, True),
        ({"model": "m"}, True),
        ({"max_tokens": 1}, True),
        ({"to": "Ann", "text": "Hi"}, False),
        ({}, False),
    ],
)
def test_what_is_clearly_something_else_is_not_taken(body: dict[str, Any], expected: bool) -> None:
    assert expected == PROTOCOL.accepts(body)


# ---- requests -------------------------------------------------------------------------------------------------------


def test_a_request_is_split_so_that_it_can_be_put_together_again() -> None:
    tool = {"name": "tarx_recall", "description": "Look up", "input_schema": {"type": "object"}}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    body = {
        "model": "m",
        "max_tokens": 100,
        "stream": True,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "Hello"}],
        "tools": [tool, search],
        "metadata": {"user_id": "u"},
    }

    request = request_of(body)

    assert ("m", True, "tools", ("system",)) == (request.model, request.stream, request.tools_key, request.layout)
    assert [("system", "Be brief."), ("user", "Hello")] == [(m.role, m.text) for m in request.messages]
    assert {"role": "system", "content": body["system"]} == request.messages[0].raw
    assert {"model": "m", "max_tokens": 100, "stream": True, "metadata": {"user_id": "u"}} == request.params
    assert (
        ToolDefinition("tarx_recall", tool, "Look up", {"type": "object"}),
        ToolDefinition("web_search", search),
    ) == request.tools
    assert body == PROTOCOL.request_body(request)


@pytest.mark.parametrize("name", captures_of("/v1/messages"))
def test_the_body_of_a_real_request_is_made_again(name: str) -> None:
    raw = load_raw(name)
    request = decode(raw).request
    assert request is not None

    assert canonical_json(PROTOCOL.request_body(request)) == canonical_json(parse_json(raw.request_body))


SCALAR = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "input", "id"]), inner, max_size=3)
    ),
    max_leaves=8,
)
BODY = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("model", "system", "messages", "tools", "stream", "x-unknown", "max_tokens"), JSON)
)


def without_strange_entries(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without entries of lists that cannot be read; they are noted, and kept with the raw bytes."""
    lists = {key: body[key] for key in ("messages", "tools") if isinstance(body.get(key), list)}
    return {**body, **{key: [entry for entry in value if isinstance(entry, dict)] for key, value in lists.items()}}


@given(BODY)
def test_any_body_is_made_again_from_its_request(body: dict[str, Any]) -> None:
    context = DecodeContext()

    rebuilt = PROTOCOL.request_body(request_of(body, context))

    assert without_strange_entries(body) == rebuilt
    assert (body != rebuilt) == bool(context.notes)


def test_entries_that_are_no_objects_are_left_out_and_noted() -> None:
    context = DecodeContext()

    request = request_of({"messages": ["Hello", {"role": "user", "content": "Hi"}], "tools": [None]}, context)

    assert ["Hi"] == [message.text for message in request.messages]
    assert ["message_not_object:0", "tool_not_object:0"] == context.notes


# ---- messages -------------------------------------------------------------------------------------------------------


def test_a_call_in_the_history_is_read_with_its_arguments_as_text() -> None:
    message = message_from_raw(
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": "x"}, CALL]}
    )

    (call,) = message.tool_calls
    assert ("tarx_recall", '{"query":"city","limit":3}', "toolu_a", "ok", "native", ()) == (
        call.name,
        call.arguments,
        call.call_id,
        call.id_state,
        call.origin,
        call.quirks,
    )
    assert ("", "Hm", False) == (message.text, message.reasoning, message.is_prompt)


def test_every_result_of_a_user_message_is_read_with_its_error_flag() -> None:
    message = user(
        {"type": "tool_result", "tool_use_id": "toolu_a", "content": "Lisbon"},
        {"type": "tool_result", "tool_use_id": "toolu_b", "content": "no such key", "is_error": True},
        {"type": "tool_result", "tool_use_id": "toolu_c", "is_error": False},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_d",
            "content": [{"type": "text", "text": "a"}, {"type": "image", "source": {}}, {"type": "text", "text": "b"}],
        },
    )

    assert (
        ToolResult("toolu_a", "Lisbon", None, False),
        ToolResult("toolu_b", "no such key", None, True),
        ToolResult("toolu_c", "", None, False),
        ToolResult("toolu_d", "ab", None, False),
    ) == message.tool_results
    assert ("", None, False) == (message.text, message.tool_call_id, message.is_prompt)


def test_text_beside_a_result_is_the_text_of_the_message() -> None:
    message = user({"type": "tool_result", "tool_use_id": "toolu_a", "content": "x"}, {"type": "text", "text": "Go on"})

    assert ("Go on", None, ["x"]) == (message.text, message.reasoning, [r.text for r in message.tool_results])


def test_calls_without_ids_get_the_same_ones_each_time() -> None:
    raw = {"role": "assistant", "content": [{"type": "tool_use", "name": "a", "input": {}}] * 2}

    first, second = message_from_raw(raw).tool_calls

    assert ("missing", "missing") == (first.id_state, second.id_state)
    assert first.call_id != second.call_id
    assert (first, second) == message_from_raw(raw).tool_calls


@pytest.mark.parametrize(
    ("block", "arguments", "quirks"),
    [
        ({"input": {}}, "{}", ()),
        ({"input": None}, "", ("arguments_missing",)),
        ({}, "", ("arguments_missing",)),
        ({"input": "city"}, '"city"', ()),
        ({"partial_json": '{"que'}, '{"que', ()),
        ({"input": {"a": 1}, "id": True}, '{"a":1}', ("id_invalid", "id_missing")),
    ],
)
def test_odd_calls_are_read_as_they_are(block: dict[str, Any], arguments: str, quirks: tuple[str, ...]) -> None:
    raw = {"type": "tool_use", "id": "toolu_a", "name": "a", **block}

    (call,) = message_from_raw({"role": "assistant", "content": [raw]}).tool_calls

    assert (arguments, quirks) == (call.arguments, call.quirks)


def test_a_block_that_says_nothing_is_no_call() -> None:
    assert () == message_from_raw({"role": "assistant", "content": [{"type": "tool_use"}, "x", None]}).tool_calls


@pytest.mark.parametrize("kind", ["server_tool_use", "mcp_tool_use"])
def test_a_call_that_the_server_carries_out_says_so(kind: str) -> None:
    (call,) = message_from_raw({"role": "assistant", "content": [{**CALL, "type": kind}]}).tool_calls

    assert "server_side" == call.origin


def test_arguments_nested_as_deep_as_can_be_raise_nothing() -> None:
    value: Any = {}
    for _ in range(100_000):
        value = {"a": value}

    (call,) = message_from_raw({"role": "assistant", "content": [{**CALL, "input": value}]}).tool_calls

    assert "" == call.arguments


# ---- answers --------------------------------------------------------------------------------------------------------


def test_a_whole_answer_is_read() -> None:
    usage = {"input_tokens": 1, "cache_read_input_tokens": 254, "cache_creation_input_tokens": 10, "output_tokens": 7}
    body = answer({"type": "text", "text": "Let me look."}, CALL, stop_reason="tool_use", usage=usage)

    response = response_of(body)

    (choice,) = response.choices
    assert ("msg_1", "m", True, {}) == (response.response_id, response.model, response.terminated, response.extra)
    assert Usage(input_tokens=265, output_tokens=7, cached_tokens=254) == response.usage
    assert ("tool_calls", "tool_use", "Let me look.") == (
        choice.finish_reason,
        choice.finish_reason_raw,
        choice.message.text,
    )
    assert {"role": "assistant", "content": body["content"]} == choice.message.raw
    assert [("toolu_a", None, True)] == [(c.call_id, c.wire_index, c.complete) for c in choice.message.tool_calls]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        (None, None),
        (7, None),
    ],
)
def test_stop_reasons_become_the_usual_words(raw: Any, expected: str | None) -> None:
    (choice,) = response_of(answer({"type": "text", "text": "Hi"}, stop_reason=raw)).choices

    assert expected == choice.finish_reason


@pytest.mark.parametrize(
    ("blocks", "stop_reason", "expected"),
    [
        ([{**CALL, "input": {}}], "max_tokens", [(False, ("arguments_lost",))]),
        ([{**CALL, "input": {}}], "tool_use", [(True, ())]),
        ([{**CALL, "input": {}}, {**CALL, "id": "toolu_b"}], "max_tokens", [(True, ()), (True, ())]),
        ([CALL, {"type": "text", "text": "and th"}], "max_tokens", [(True, ())]),
    ],
)
def test_arguments_that_the_token_limit_took_are_lost(
    blocks: list[dict[str, Any]], stop_reason: str, expected: list[Any]
) -> None:
    """llama.cpp puts an empty object where the text of the arguments ends in the middle."""
    (choice,) = response_of(answer(*blocks, stop_reason=stop_reason)).choices

    assert expected == [(call.complete, call.quirks) for call in choice.message.tool_calls]


def test_timings_of_llama_cpp_are_read() -> None:
    timings = {"cache_n": 2, "prompt_n": 3, "prompt_ms": 12.5, "predicted_n": 4, "predicted_ms": 80}

    response = response_of(answer({"type": "text", "text": "Hi"}, timings=timings))

    assert (12.5, 80.0) == (response.prompt_ms, response.predicted_ms)
    assert Usage(input_tokens=5, output_tokens=4, cached_tokens=2, source="timings") == response.usage
    assert {"timings": timings} == response.extra


@pytest.mark.parametrize(
    ("body", "expected", "extra"),
    [
        (
            {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}, "request_id": "req_1"},
            {"type": "not_found_error", "message": "model: x"},
            {"request_id": "req_1"},
        ),
        ({"error": {"code": 400, "message": "no"}}, {"code": 400, "message": "no"}, {}),
        ({"error": "no"}, {"message": "no"}, {}),
    ],
)
def test_errors_of_either_shape_are_read(body: dict[str, Any], expected: Any, extra: Any) -> None:
    response = response_of(body)

    assert (expected, extra, (), False, False) == (
        response.error,
        response.extra,
        response.choices,
        response.terminated,
        response.error_in_stream,
    )


def test_an_answer_whose_content_is_a_string_is_read() -> None:
    (choice,) = response_of({"content": "Hi", "stop_reason": "end_turn"}).choices

    assert ("Hi", "assistant") == (choice.message.text, choice.message.role)


@given(st.dictionaries(st.sampled_from(["content", "usage", "error", "role", "stop_reason", "timings"]), JSON))
def test_an_answer_of_any_json_raises_nothing(body: dict[str, Any]) -> None:
    response = response_of(body)

    assert response.terminated == isinstance(body.get("content"), str | list | dict)
