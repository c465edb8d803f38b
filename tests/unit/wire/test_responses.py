"""OpenAI Responses: routes and requests."""

from typing import Any

import pytest

from tarx_toollog.model import Message, Request, ToolDefinition, ToolResult
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.openai_responses import OpenAIResponses
from tarx_toollog.wire.protocols import protocol_for

PROTOCOL = OpenAIResponses()

USER = {"role": "user", "content": "Where do I live?"}
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


def request_of(body: dict[str, Any]) -> Request:
    return PROTOCOL.decode_request(body, DecodeContext())


def messages_of(*items: Any) -> tuple[Message, ...]:
    return request_of({"input": list(items)}).messages


# ---- routes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/responses", "openai_responses"),
        ("POST", "/v1/responses/", "openai_responses"),
        ("POST", "/s/demo/v1/responses?x=1", "openai_responses"),
        ("GET", "/v1/responses", None),
        ("POST", "/v1/responses/resp_1/cancel", None),
        ("POST", "/v1/responses/input_tokens", None),
    ],
)
def test_the_route_decides(method: str, path: str, expected: str | None) -> None:
    protocol = protocol_for(method, path)

    assert expected == (None if protocol is None else protocol.name)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"input": "hi"}, True),
        ({"previous_response_id": "resp_1"}, True),
        ({"conversation": "conv_1"}, True),
        ({"prompt": {"id": "pmpt_1"}}, True),
        ({"instructions": "x"}, True),
        ({"model": "m"}, True),
        ({"survey": 7, "answers": []}, False),
        ({}, False),
    ],
)
def test_a_body_that_asks_no_model_is_not_ours(body: dict[str, Any], expected: bool) -> None:
    assert expected == PROTOCOL.accepts(body)


# ---- requests -------------------------------------------------------------------------------------------------------


def test_instructions_and_a_text_are_two_messages() -> None:
    body = {"model": "m", "instructions": "Be kind.", "input": "Hello", "stream": True, "unknown": {"kept": [1]}}

    request = request_of(body)

    assert (
        Message("system", {"role": "system", "content": "Be kind."}, "Be kind."),
        Message("user", {"role": "user", "content": "Hello"}, "Hello"),
    ) == request.messages
    assert ("instructions", "text") == request.layout
    assert {"model": "m", "stream": True, "unknown": {"kept": [1]}} == request.params
    assert ("m", True, None) == (request.model, request.stream, request.tools_key)
    assert body == PROTOCOL.request_body(request)


def test_what_the_model_made_in_a_row_is_one_message() -> None:
    user, made, result, said = messages_of(USER, THOUGHT, CALL, RESULT, SAID)

    assert [
        USER,
        {"role": "assistant", "output": [THOUGHT, CALL]},
        RESULT,
        {"role": "assistant", "output": [SAID]},
    ] == [
        user.raw,
        made.raw,
        result.raw,
        said.raw,
    ]
    assert ["user", "assistant", "tool", "assistant"] == [m.role for m in (user, made, result, said)]
    assert ("Where do I live?", "", "Lisbon", "In Lisbon.") == (user.text, made.text, result.text, said.text)
    assert "a city" == made.reasoning
    assert [("tarx_recall", '{"query": "city"}', "call_a", "ok", "native", True)] == [
        (c.name, c.arguments, c.call_id, c.id_state, c.origin, c.complete) for c in made.tool_calls
    ]
    assert ("call_a", (ToolResult("call_a", "Lisbon"),)) == (result.tool_call_id, result.tool_results)
    assert [True, False, False, False] == [m.is_prompt for m in (user, made, result, said)]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "assistant", "content": "In Lisbon."},
        {"type": "item_reference", "id": "rs_a"},
        {"type": "web_search_call", "id": "ws_a", "status": "completed"},
        {"type": "mcp_list_tools", "id": "mcpl_a", "tools": []},
        {"type": "compaction", "encrypted_content": "…"},
        {"role": "assistant", "output": [CALL]},
    ],
)
def test_items_of_the_model_join_those_beside_them_in_one_message(item: dict[str, Any]) -> None:
    assert [{"role": "assistant", "output": [CALL, item]}] == [message.raw for message in messages_of(CALL, item)]


@pytest.mark.parametrize(
    ("item", "role"),
    [
        ({"role": "developer", "content": "x"}, "developer"),
        ({"type": "message", "role": "system", "content": []}, "system"),
        ({"type": "message"}, ""),
        ({}, ""),
        ({"type": "mcp_approval_response", "approve": True, "approval_request_id": "mcpr_a"}, "tool"),
        ({"type": "agent_message", "role": "user", "content": "x"}, "user"),
    ],
)
def test_other_items_are_messages_of_their_own(item: dict[str, Any], role: str) -> None:
    _, message, _ = messages_of(CALL, item, CALL)

    assert (item, role, ()) == (message.raw, message.role, message.tool_results)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (
            {"type": "function_call_output", "output": [{"type": "input_text", "text": "Lis"}, {"text": "bon"}]},
            "Lisbon",
        ),
        ({"type": "custom_tool_call_output", "output": "1 row"}, "1 row"),
        ({"type": "computer_call_output", "output": {"type": "computer_screenshot", "text": "done"}}, "done"),
        ({"type": "local_shell_call_output"}, ""),
    ],
)
def test_every_kind_of_output_is_a_result(item: dict[str, Any], text: str) -> None:
    (message,) = messages_of({**item, "id": "x", "call_id": "call_a"})

    assert ("tool", (ToolResult("call_a", text),)) == (message.role, message.tool_results)


def test_a_result_is_found_by_call_id_and_never_by_id() -> None:
    (message,) = messages_of({"type": "function_call_output", "id": "fc_a", "output": "x"})

    assert (None, (ToolResult(None, "x"),)) == (message.tool_call_id, message.tool_results)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
            ("f", "d", {"type": "object"}),
        ),
        ({"type": "function", "function": {"name": "f", "parameters": {}}}, ("f", "", {})),
        ({"type": "custom", "name": "run_sql", "format": {"type": "text"}}, ("run_sql", "", None)),
        (
            {"type": "mcp", "server_label": "files", "server_url": "u", "server_description": "Files"},
            ("files", "Files", None),
        ),
        ({"type": "web_search"}, ("web_search", "", None)),
        ({"type": "function", "name": 7, "parameters": "x"}, ("function", "", None)),
        ({}, ("", "", None)),
    ],
)
def test_a_tool_of_every_kind_has_a_name(raw: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (tool,) = request_of({"input": "x", "tools": [raw]}).tools

    assert ToolDefinition(expected[0], raw, expected[1], expected[2]) == tool


@pytest.mark.parametrize(
    ("body", "layout", "notes"),
    [
        ({}, ("no_input",), []),
        ({"input": None}, ("no_input",), []),
        ({"input": {"role": "user"}}, ("no_input",), []),
        ({"input": []}, (), []),
        ({"input": [USER, "x"]}, ("no_input",), ["message_not_object:1"]),
        ({"input": "x", "instructions": None}, ("text",), []),
        ({"input": "x", "instructions": ["y"]}, ("text",), []),
        ({"input": "x", "tools": [None]}, ("text",), ["tool_not_object:0"]),
        ({"input": "x", "tools": []}, ("text",), []),
        ({"input": "", "instructions": ""}, ("instructions", "text"), []),
    ],
)
def test_what_is_not_as_the_protocol_says_stays_as_it_came(
    body: dict[str, Any], layout: tuple[str, ...], notes: list[str]
) -> None:
    context = DecodeContext()

    request = PROTOCOL.decode_request(body, context)

    assert (layout, notes) == (request.layout, context.notes)
    assert body == PROTOCOL.request_body(request)


def test_a_request_that_continues_a_response_says_which() -> None:
    request = request_of({"previous_response_id": "resp_1", "input": [RESULT]})

    assert ("resp_1", ["tool"]) == (request.previous_response_id, [message.role for message in request.messages])
