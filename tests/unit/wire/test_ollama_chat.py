"""Requests, messages and whole answers of Ollama's chat."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.canonical import canonical_json, parse_json
from tarx_toollog.model import Request, Response, ToolResult, Usage
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.ollama_chat import OllamaChat, message_from_raw
from tarx_toollog.wire.protocols import protocol_for, protocol_named
from tests.support.captures import captures_of, load_raw

PROTOCOL = OllamaChat()
CALL = {"function": {"name": "tarx_recall", "arguments": {"query": "city", "limit": 3}}}


def request_of(body: dict[str, Any], context: DecodeContext | None = None) -> Request:
    return PROTOCOL.decode_request(body, context or DecodeContext())


def response_of(body: dict[str, Any], context: DecodeContext | None = None) -> Response:
    return PROTOCOL.decode_response(body, context or DecodeContext(uid="uid-1"))


def answer(message: dict[str, Any], **body: Any) -> dict[str, Any]:
    return {"model": "m:q4", "created_at": "t", "message": message, "done": True, "done_reason": "stop", **body}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/api/chat", True),
        ("POST", "/s/demo/api/chat", True),
        ("GET", "/api/chat", False),
        ("POST", "/api/generate", False),
        ("POST", "/api/chats", False),
    ],
)
def test_the_route_decides(method: str, path: str, expected: bool) -> None:
    assert expected == PROTOCOL.matches(method, path)


def test_it_is_registered_under_its_name() -> None:
    assert protocol_for("POST", "/s/demo/api/chat?x=1") is protocol_named("ollama_chat")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": "m", "messages": []}, True),
        ({"model": "m", "messages": None}, True),
        ({"model": "m", "keep_alive": 0}, True),
        ({"model": "m", "messages": "Hi"}, False),
        ({"messages": []}, False),
        ({"model": {"id": "m"}, "messages": []}, False),
        ({"text": "Hi"}, False),
    ],
)
def test_what_is_no_body_of_ollamas_is_not_taken(body: dict[str, Any], expected: bool) -> None:
    assert expected == PROTOCOL.accepts(body)


# ---- requests -------------------------------------------------------------------------------------------------------


def test_a_request_is_split_so_that_it_can_be_put_together_again() -> None:
    tool = {
        "type": "function",
        "function": {"name": "tarx_recall", "description": "Look up", "parameters": {"type": "object"}},
    }
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello", "images": ["aGk="]}],
        "tools": [tool],
        "options": {"num_ctx": 8192},
        "think": True,
    }

    request = request_of(body)

    assert ("m", "tools", ()) == (request.model, request.tools_key, request.layout)
    assert [("user", "Hello")] == [(message.role, message.text) for message in request.messages]
    assert [("tarx_recall", "Look up", {"type": "object"})] == [
        (tool.name, tool.description, tool.parameters) for tool in request.tools
    ]
    assert {"model": "m", "options": {"num_ctx": 8192}, "think": True} == request.params
    assert body == PROTOCOL.request_body(request)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [({}, True), ({"stream": None}, True), ({"stream": False}, False), ({"stream": True}, True)],
)
def test_it_streams_unless_it_is_told_not_to(given_value: dict[str, Any], expected: bool) -> None:
    request = request_of({"model": "m", **given_value})

    assert expected == request.stream
    assert {"model": "m", **given_value} == PROTOCOL.request_body(request)


@pytest.mark.parametrize("name", captures_of("/api/chat"))
def test_the_body_of_a_real_request_is_made_again(name: str) -> None:
    raw = load_raw(name)
    request = decode(raw).request
    assert request is not None

    assert canonical_json(PROTOCOL.request_body(request)) == canonical_json(parse_json(raw.request_body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "tool_calls", "function", "arguments"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
BODY = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("model", "messages", "tools", "functions", "stream", "options"), JSON)
)


@given(BODY)
def test_any_body_is_made_again_from_its_request(body: dict[str, Any]) -> None:
    context = DecodeContext()
    lists = {key: body[key] for key in ("messages", "tools") if isinstance(body.get(key), list)}
    readable = {key: [entry for entry in value if isinstance(entry, dict)] for key, value in lists.items()}

    rebuilt = PROTOCOL.request_body(request_of(body, context))

    # Entries that cannot be read are left out and noted; the raw bytes are kept then.
    assert {**body, **readable} == rebuilt
    assert (body != rebuilt) == bool(context.notes)


# ---- messages -------------------------------------------------------------------------------------------------------


def test_a_call_in_the_history_has_its_object_as_text_and_a_minted_id() -> None:
    raw = {"role": "assistant", "content": "", "thinking": "Hm", "tool_calls": [CALL, CALL]}

    message = message_from_raw(raw)

    first, second = message.tool_calls
    assert ("tarx_recall", '{"query":"city","limit":3}', "missing", ("id_missing",)) == (
        first.name,
        first.arguments,
        first.id_state,
        first.quirks,
    )
    assert first.call_id != second.call_id
    assert "Hm" == message.reasoning
    assert message == PROTOCOL.read_message(raw)


def test_a_result_names_the_tool_instead_of_the_call() -> None:
    message = message_from_raw({"role": "tool", "tool_name": "tarx_recall", "content": "Lisbon"})

    assert (ToolResult(None, "Lisbon", "tarx_recall"),) == message.tool_results
    assert ("tarx_recall", None, False) == (message.name, message.tool_call_id, message.is_prompt)


def test_newer_clients_name_the_call_as_well() -> None:
    message = message_from_raw({"role": "tool", "tool_name": "tarx_recall", "tool_call_id": "call_a", "content": "x"})

    assert (ToolResult("call_a", "x", "tarx_recall"),) == message.tool_results


def test_arguments_nested_as_deep_as_can_be_raise_nothing() -> None:
    value: Any = {}
    for _ in range(100_000):
        value = {"a": value}

    (call,) = message_from_raw(
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "b", "arguments": value}}]}
    ).tool_calls

    assert "" == call.arguments


# ---- answers --------------------------------------------------------------------------------------------------------


def test_a_whole_answer_is_read() -> None:
    message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    body = answer(
        message,
        total_duration=5,
        load_duration=1,
        prompt_eval_count=26,
        prompt_eval_duration=1_500_000,
        eval_count=7,
        eval_duration=80_000_000,
    )

    response = response_of(body)

    (choice,) = response.choices
    assert (None, "m:q4", True, 1.5, 80.0) == (
        response.response_id,
        response.model,
        response.terminated,
        response.prompt_ms,
        response.predicted_ms,
    )
    assert Usage(input_tokens=26, output_tokens=7, source="eval_count") == response.usage
    assert {"created_at": "t", "total_duration": 5, "load_duration": 1} == response.extra
    assert (message, "stop", "stop") == (choice.message.raw, choice.finish_reason, choice.finish_reason_raw)
    (call,) = choice.message.tool_calls
    assert ("tarx_recall", True, ("id_missing",), None) == (call.name, call.complete, call.quirks, call.emitted_ms)


def test_an_answer_that_is_not_done_is_not_over() -> None:
    assert not response_of(answer({"role": "assistant", "content": "Hi"}, done=False)).terminated


def test_an_error_is_read() -> None:
    response = response_of({"error": 'model "x" not found'})

    assert ({"message": 'model "x" not found'}, (), False, False) == (
        response.error,
        response.choices,
        response.terminated,
        response.error_in_stream,
    )


def test_an_answer_in_openais_form_is_read_as_such() -> None:
    body = {"id": "c", "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}

    response = response_of(body)

    assert ("c", True, "Hi") == (response.response_id, response.terminated, response.choices[0].message.text)


@given(st.dictionaries(st.sampled_from(["message", "done", "done_reason", "error", "eval_count"]), JSON))
def test_an_answer_of_any_json_raises_nothing(body: dict[str, Any]) -> None:
    response = response_of(body)

    assert response.terminated == (body.get("done") is True)
    assert isinstance(body.get("message"), dict) == bool(response.choices)
