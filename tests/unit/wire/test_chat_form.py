"""Messages and tools of every protocol in the form of chat completions."""

from typing import Any

import pytest
from hypothesis import given

from tarx_toollog.wire.chat_form import NotChatError, chat_messages, chat_tools
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.protocols import WIRE_PROTOCOLS, protocol_named
from tests.support.captures import load_raw, wire_captures
from tests.support.protocol_checks import json_objects

RESPONSES, ANTHROPIC, OLLAMA = "openai_responses", "anthropic_messages", "ollama_chat"
CITY = '{"query": "city"}'
SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}}


def chat_call(call_id: str = "call_a", arguments: str = CITY, name: str = "tarx_recall") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def message_raws(protocol: str, body: dict[str, Any]) -> list[Any]:
    return [message.raw for message in protocol_named(protocol).decode_request(body, DecodeContext()).messages]


def test_chat_completions_are_returned_as_they_are() -> None:
    raws: list[Any] = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {}}], "x": 1},
        {"role": "wizard"},
    ]
    tools: list[Any] = [{"name": "f"}, {"type": "web_search"}]

    assert (raws, tools) == (chat_messages("openai_chat", raws), chat_tools("openai_chat", tools))
    assert raws == chat_messages("unknown", raws)


def test_a_dialogue_of_responses_is_said_as_chat() -> None:
    raws = message_raws(
        RESPONSES,
        {
            "instructions": "Be kind.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Where do I live?"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a city"}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One moment."}]},
                {"type": "function_call", "call_id": "call_a", "name": "tarx_recall", "arguments": CITY},
                {"type": "custom_tool_call", "call_id": "call_b", "name": "run_sql", "input": "SELECT 1"},
                {"type": "function_call_output", "call_id": "call_a", "output": "Lisbon"},
                {
                    "type": "custom_tool_call_output",
                    "call_id": "call_b",
                    "output": [{"type": "input_text", "text": "1"}],
                },
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
                {"role": "developer", "content": "Go on."},
            ],
        },
    )

    assert [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Where do I live?"},
        {
            "role": "assistant",
            "content": "One moment.",
            "reasoning_content": "a city",
            "tool_calls": [
                chat_call(),
                {"id": "call_b", "type": "custom", "custom": {"name": "run_sql", "input": "SELECT 1"}},
            ],
        },
        {"role": "tool", "content": "Lisbon", "tool_call_id": "call_a"},
        {"role": "tool", "content": "1", "tool_call_id": "call_b"},
        {"role": "assistant", "content": "", "refusal": "No."},
        {"role": "developer", "content": "Go on."},
    ] == chat_messages(RESPONSES, raws)


def test_a_dialogue_of_anthropics_is_said_as_chat() -> None:
    raws = message_raws(
        ANTHROPIC,
        {
            "system": [{"type": "text", "text": "Be kind."}],
            "messages": [
                {"role": "user", "content": "Where do I live?"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "a city", "signature": "…"},
                        {"type": "tool_use", "id": "call_a", "name": "tarx_recall", "input": {"query": "city"}},
                        {"type": "tool_use", "id": "call_b", "name": "tarx_recall", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "call_a",
                            "content": [{"type": "text", "text": "Lisbon"}],
                        },
                        {"type": "tool_result", "tool_use_id": "call_b", "content": "no", "is_error": True},
                        {"type": "text", "text": "Hurry."},
                    ],
                },
                {"role": "assistant", "content": "In Lisbon."},
            ],
        },
    )

    assert [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Where do I live?"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "a city",
            "tool_calls": [chat_call(arguments='{"query":"city"}'), chat_call("call_b", "{}")],
        },
        {"role": "tool", "content": "Lisbon", "tool_call_id": "call_a"},
        {"role": "tool", "content": "no", "tool_call_id": "call_b"},
        {"role": "user", "content": "Hurry."},
        {"role": "assistant", "content": "In Lisbon."},
    ] == chat_messages(ANTHROPIC, raws)


def test_results_of_ollama_get_the_ids_of_the_calls_that_they_answer() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": {"query": name}}}

    raws: list[Any] = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call("a"), call("b"), call("a")]},
        {"role": "tool", "tool_name": "b", "content": "1"},
        {"role": "tool", "tool_name": "a", "content": "2"},
        {"role": "tool", "content": "3"},
        {"role": "tool", "content": "4"},
    ]

    _, said, *results = chat_messages(OLLAMA, raws)

    first, second, third = (entry["id"] for entry in said["tool_calls"])
    assert ("assistant", None, "hm") == (said["role"], said["content"], said["reasoning_content"])
    assert '{"query":"a"}' == said["tool_calls"][0]["function"]["arguments"]
    assert [("1", second, "b"), ("2", first, "a"), ("3", third, None), ("4", None, None)] == [
        (entry["content"], entry.get("tool_call_id"), entry.get("name")) for entry in results
    ]


@pytest.mark.parametrize(
    ("protocol", "raw", "reason"),
    [
        (RESPONSES, {"role": "user", "content": [{"type": "input_image", "image_url": "…"}]}, "input_image"),
        (RESPONSES, {"type": "function_call_output", "output": [{"type": "input_file"}]}, "input_file"),
        (RESPONSES, {"role": "assistant", "output": [{"type": "mcp_call", "name": "f", "id": "x"}]}, "mcp_call"),
        (RESPONSES, {"role": "assistant", "output": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        (RESPONSES, {"type": "computer_call_output", "output": {}}, "computer_call_output"),
        (
            RESPONSES,
            {
                "role": "assistant",
                "output": [
                    {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "a", "output": "done"},
                ],
            },
            "server_side_call",
        ),
        (RESPONSES, {"content": "who?"}, "role"),
        (ANTHROPIC, {"role": "user", "content": [{"type": "image", "source": {}}]}, "image"),
        (
            ANTHROPIC,
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image", "source": {}}]}]},
            "image",
        ),
        (ANTHROPIC, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "x"}]}, "server_tool_use"),
        (OLLAMA, {"role": "user", "content": "what is it?", "images": ["…"]}, "images"),
    ],
)
def test_what_text_chat_cannot_say_is_refused_by_name(protocol: str, raw: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotChatError) as caught:
        chat_messages(protocol, [raw])

    assert reason == caught.value.reason


@pytest.mark.parametrize(
    ("protocol", "raw"),
    [
        (RESPONSES, {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": True}),
        (ANTHROPIC, {"name": "f", "description": "d", "input_schema": SCHEMA, "strict": True}),
        (ANTHROPIC, {"type": "custom", "name": "f", "description": "d", "input_schema": SCHEMA, "strict": True}),
    ],
)
def test_a_function_is_offered_as_in_chat(protocol: str, raw: dict[str, Any]) -> None:
    function = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}

    assert [{"type": "function", "function": function}] == chat_tools(protocol, [raw])


@pytest.mark.parametrize(
    ("protocol", "raw", "expected"),
    [
        (RESPONSES, {"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        (
            RESPONSES,
            {"type": "custom", "name": "sql", "format": {"type": "text"}},
            {"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}},
        ),
        (
            OLLAMA,
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
        ),
    ],
)
def test_other_tools_are_offered_in_their_chat_form(protocol: str, raw: Any, expected: Any) -> None:
    assert [expected] == chat_tools(protocol, [raw])


@pytest.mark.parametrize(
    ("protocol", "raw"),
    [(RESPONSES, {"type": "web_search"}), (ANTHROPIC, {"type": "web_search_20250305", "name": "web_search"})],
)
def test_a_tool_of_the_servers_own_is_refused(protocol: str, raw: dict[str, Any]) -> None:
    with pytest.raises(NotChatError) as caught:
        chat_tools(protocol, [raw])

    assert raw["type"] == caught.value.reason


@pytest.mark.parametrize("name", wire_captures())
def test_every_capture_can_be_said_as_chat_without_losing_a_word(name: str) -> None:
    exchange = decode(load_raw(name))
    if exchange.request is None:
        return
    choices = exchange.response.choices if exchange.response else ()
    messages = [*exchange.request.messages, *(choice.message for choice in choices[:1])]

    said = chat_messages(exchange.protocol, [message.raw for message in messages])
    read = [protocol_named("openai_chat").read_message(raw) for raw in said]

    def words(of: Any) -> list[Any]:
        texts = [message.text for message in of if message.text and message.role != "tool"]
        calls = [(call.name, call.arguments) for message in of for call in message.tool_calls]
        return [texts, calls, [result.text for message in of for result in message.tool_results]]

    assert words(messages) == words(read)
    tools = chat_tools(exchange.protocol, [tool.raw for tool in exchange.request.tools])
    assert [(tool.name, tool.parameters) for tool in exchange.request.tools] == [
        (tool.name, tool.parameters) for tool in map(protocol_named("openai_chat").read_tool, tools)
    ]


KEYS = ["role", "content", "output", "type", "text", "tool_calls", "images", "name", "arguments", "call_id", "summary"]
WORDS = ["assistant", "user", "tool", "message", "function_call", "tool_use", "tool_result", "reasoning", "text"]


@given(json_objects(KEYS, WORDS))
def test_anything_else_is_said_or_refused_and_raises_nothing_else(raw: dict[str, Any]) -> None:
    for protocol in WIRE_PROTOCOLS.names():
        for convert in (chat_messages, chat_tools):
            try:
                said = convert(protocol, [raw])
            except NotChatError:
                continue
            assert all(isinstance(entry, dict) for entry in said)
