"""Exchanges: what is searched, what is structure, and that the decoder would read the same."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tarx_toollog.model import Exchange, ToolCall
from tarx_toollog.redaction import Mark, Policy, Redactor
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.protocols import protocol_named
from tests.support.builders import TOOLS, assistant, call, exchange, raw_exchange, result, system, user

# Put together here, so that scanners of code hosts do not take it for real.
SECRET = "sk-" + "proj-" + "a8B7c6D5e4F3g2H1i0J9k8L7"


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(Policy.load("all"), bytes(32))


def everything(item: Exchange) -> str:
    return repr(item)


def test_an_exchange_without_a_value_is_the_same_object(redactor: Redactor) -> None:
    item = exchange([system("s"), user("hi")], assistant(None, call("tarx_recall", {"query": "x"}, "c1")), tools=TOOLS)

    assert redactor.exchange(item) == (item, ())
    assert redactor.exchange(item)[0] is item


def test_messages_in_which_nothing_is_found_are_the_same_objects(redactor: Redactor) -> None:
    item = exchange([system("s"), user("hi"), user(f"key {SECRET}")], assistant("ok"), tools=TOOLS)

    new, _ = redactor.exchange(item)

    assert item.request is not None
    assert new.request is not None
    assert [True, True, False] == [a is b for a, b in zip(item.request.messages, new.request.messages, strict=True)]
    assert new.request.tools[0] is item.request.tools[0]
    assert new.response is item.response


def test_a_value_is_taken_out_wherever_it_can_stand(redactor: Redactor) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": SECRET, "parameters": {"enum": [SECRET]}}}
    messages = [
        system(SECRET),
        {"role": "user", "content": [{"type": "text", "text": SECRET}]},
        assistant(SECRET, call("f", {"a": SECRET}, "c1")) | {"reasoning_content": SECRET},
        result("c1", {"b": [SECRET]}),
    ]
    body = {
        "id": "r1",
        "choices": [{"index": 0, "message": assistant(SECRET, call("f", {"a": SECRET})), "finish_reason": "stop"}],
        "error": {"message": SECRET},
        "timings": {"note": SECRET},
    }
    item = exchange(messages, None, tools=[tool], params={"metadata": {"x": SECRET}}, body=body)
    item = replace(item, error_text=f"e {SECRET}", notes=(f"request_json_invalid:{SECRET}",), user_agent=SECRET)

    new, marks = redactor.exchange(item)

    assert SECRET in everything(item)
    assert SECRET not in everything(new)
    assert {
        "messages[0].content",
        "messages[1].content[0].text",
        "messages[2].content",
        "messages[2].tool_calls[0].function.arguments",
        "messages[2].reasoning_content",
        "messages[3].content",
        "tools[0].function.description",
        "tools[0].function.parameters.enum[0]",
        "params.metadata.x",
        "choices[0].message.content",
        "choices[0].message.tool_calls[0].function.arguments",
        "error.message",
        "response.timings.note",
        "error_text",
        "notes[0]",
        "user_agent",
    } == {mark.path for mark in marks}


def test_what_a_server_calls_an_error_and_an_end_is_searched_as_well(redactor: Redactor) -> None:
    body = {
        "choices": [{"index": 0, "message": assistant("ok"), "finish_reason": SECRET}],
        "error": {"code": SECRET, "message": "x"},
    }
    item = exchange([user("hi")], None, status=401, body=body)
    item = replace(item, route=f"/bot/{SECRET}/v1/chat/completions")

    new, marks = redactor.exchange(item)

    assert SECRET == item.error_type
    assert SECRET not in everything(new)
    assert redactor.text(SECRET)[0] == new.error_type
    assert {
        "error_type",
        "error.code",
        "choices[0].finish_reason",
        "route",
    } == {mark.path for mark in marks}


def test_fields_read_from_a_message_are_those_of_the_redacted_message(redactor: Redactor) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": f"a {SECRET}"}, {"type": "text", "text": "b"}]},
        assistant(None, call("f", {"password": "hunter2"}, "c1")) | {"reasoning": f"use {SECRET}"},
        result("c1", f"done {SECRET}"),
    ]

    new, _ = redactor.exchange(exchange(messages, assistant("ok")))

    mark = redactor.text(SECRET)[0]
    assert new.request is not None
    first, second, third = new.request.messages
    assert f"a {mark}b" == first.text
    assert f"use {mark}" == second.reasoning
    assert second.raw["tool_calls"][0]["function"]["arguments"] == second.tool_calls[0].arguments
    assert [f"done {mark}"] == [one.text for one in third.tool_results]


def test_structure_is_left_alone(redactor: Redactor) -> None:
    messages = [
        {
            "role": "user",
            "name": "max@nordwind.se",
            "content": [{"type": "text", "id": "max@nordwind.se", "text": "x"}],
        },
        assistant(None, call("max@nordwind.se", {}, "max@nordwind.se")),
        result("max@nordwind.se", "ok"),
    ]
    params = {
        "metadata": {"conversation_id": "max@nordwind.se", "owner": "max@nordwind.se"},
        "tool_choice": {"type": "function", "function": {"name": "max@nordwind.se"}},
    }

    new, marks = redactor.exchange(exchange(messages, assistant("ok"), params=params))

    assert [("params.metadata.owner", 1)] == [(mark.path, mark.n) for mark in marks]
    assert "max@nordwind.se" == new.conversation_hint
    assert new.request is not None
    assert "max@nordwind.se" == new.request.messages[2].tool_call_id


def test_content_that_is_an_object_has_no_structure_of_ours(redactor: Redactor) -> None:
    message = {"role": "tool", "tool_call_id": "c1", "content": {"name": "max@nordwind.se"}}

    new, _ = redactor.exchange(exchange([message], assistant("ok")))

    assert "nordwind" not in everything(new)


SIGNATURE = "EqQBCkYIARgCKkA1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8=="  # of a thought: it looks like a key, and is none
ANTHROPIC = {
    "model": "m",
    "system": f"s {SECRET}",
    "messages": [
        {"role": "user", "content": f"a {SECRET}"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": f"t {SECRET}", "signature": SIGNATURE},
                {"type": "tool_use", "id": "tu_1", "name": "f", "input": {"password": "hunter2", "k": SECRET}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "tu_1", "content": [{"type": "text", "text": SECRET}]},
                {"type": "text", "text": f"b {SECRET}"},
            ],
        },
    ],
    "tools": [{"name": "f", "description": SECRET, "input_schema": {"type": "object"}}],
}
RESPONSES = {
    "model": "m",
    "instructions": f"s {SECRET}",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": f"a {SECRET}"}]},
        {"type": "reasoning", "id": "r_1", "summary": [{"type": "summary_text", "text": SECRET}]},
        {"type": "function_call", "call_id": "c_1", "name": "f", "arguments": json.dumps({"password": "hunter2"})},
        {"type": "function_call_output", "call_id": "c_1", "output": json.dumps({"k": SECRET})},
    ],
    "tools": [{"type": "function", "name": "f", "description": SECRET, "parameters": {"type": "object"}}],
}
OLLAMA = {
    "model": "m",
    "messages": [
        {"role": "user", "content": f"a {SECRET}"},
        {
            "role": "assistant",
            "content": "",
            "thinking": SECRET,
            "tool_calls": [{"function": {"name": "f", "arguments": {"password": "hunter2", "k": SECRET}}}],
        },
        {"role": "tool", "tool_name": "f", "content": SECRET},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": SECRET}}],
}


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/messages", ANTHROPIC), ("/v1/responses", RESPONSES), ("/api/chat", OLLAMA)]
)
def test_every_protocol_is_redacted_and_reads_its_messages_again(
    redactor: Redactor, path: str, body: dict[str, Any]
) -> None:
    raw = replace(raw_exchange([], None, path=path, body={}), request_body=json.dumps(body).encode())
    item = decode(raw)
    protocol = protocol_named(item.protocol)

    new, _ = redactor.exchange(item)

    assert item.request is not None
    assert new.request is not None
    assert SECRET in everything(item)
    assert SECRET not in everything(new)
    assert "hunter2" not in everything(new)
    assert "unknown" != new.protocol
    assert (SIGNATURE in everything(item)) == (SIGNATURE in everything(new))
    assert [protocol.read_message(message.raw) for message in new.request.messages] == list(new.request.messages)
    assert [protocol.read_tool(tool.raw) for tool in new.request.tools] == list(new.request.tools)
    assert decode(replace(raw, request_body=json.dumps(protocol.request_body(new.request)).encode())).request == (
        new.request
    )
    ids = [[(call.call_id, call.name) for call in m.tool_calls if call.id_state == "ok"] for m in new.request.messages]
    assert ids == [
        [(call.call_id, call.name) for call in m.tool_calls if call.id_state == "ok"] for m in item.request.messages
    ]


def test_leaked_calls_are_redacted(redactor: Redactor) -> None:
    item = exchange([user("hi")], assistant("text"))
    assert item.response is not None
    leaked = ToolCall("f", json.dumps({"password": "hunter2"}), "tlx_1", origin="leaked_text", ordinal=0)
    answer = replace(item.response.choices[0], leaked_calls=(leaked,))
    item = replace(item, response=replace(item.response, choices=(answer,)))

    new, marks = redactor.exchange(item)

    assert "hunter2" not in everything(new)
    assert ["choices[0].leaked_calls[0].arguments"] == [mark.path for mark in marks]


def test_a_mark_says_how_often(redactor: Redactor) -> None:
    _, marks = redactor.exchange(exchange([user(f"{SECRET} {SECRET}")], assistant(SECRET)))

    assert ("openai_key", redactor.text(SECRET)[1][0].mark, "messages[0].content", 2) == tuple(marks[0])
    assert [Mark("openai_key", marks[0].mark, "choices[0].message.content", 1)] == list(marks[1:])


def test_redacting_an_exchange_twice_changes_nothing(redactor: Redactor) -> None:
    answer = assistant(f"ok {SECRET}", call("f", {"password": "hunter2", "n": [1, {"mail": "max@nordwind.se"}]}))
    once, _ = redactor.exchange(exchange([user(f"DB_PASSWORD=hunter2 {SECRET}")], answer))

    twice, marks = redactor.exchange(once)

    assert twice is once
    assert () == marks


def test_off_changes_nothing() -> None:
    item = exchange([user(SECRET)], assistant(SECRET))

    assert Redactor(Policy.load("off"), bytes(32)).exchange(item) == (item, ())


def as_object(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_the_decoded_exchange_itself_is_not_changed(redactor: Redactor) -> None:
    item = exchange([user(f"a {SECRET}")], assistant("ok"), params={"metadata": {"x": [SECRET]}})
    assert item.request is not None
    before = as_object([dict(item.request.messages[0].raw), dict(item.request.params)])

    redactor.exchange(item)

    assert before == [dict(item.request.messages[0].raw), dict(item.request.params)]
