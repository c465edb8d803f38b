"""The assembly rule against the streams that servers really send, each whole and byte by byte."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tarx_toollog.model import Exchange, Message, Outcome, ToolCall
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.openai_chat import message_from_raw
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.captures import CAPTURES, split_at

TORTURE = json.loads((CAPTURES.parent / "torture" / "chat_streams.json").read_text("utf-8"))
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in TORTURE["cases"]}


def raw_exchange(case: dict[str, Any]) -> RawExchange:
    """Return the case as a tap would have seen it, one chunk per event."""
    tools = [{"type": "function", "function": {"name": name}} for name in TORTURE["offered"]]
    body = json.dumps({"model": "m", "stream": True, "messages": [], "tools": tools}).encode()
    events = [event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n" for event in case["stream"]]
    chunks = tuple(Chunk(number * 1_000_000, event.encode()) for number, event in enumerate(events, start=1))
    return RawExchange(
        Begin("uid-1", "proxy", "POST", "/v1/chat/completions", 0, body_size=len(body)),
        body,
        ResponseStart(200, (("content-type", "text/event-stream"),)),
        chunks,
        End(offset_ns=100_000_000, final_seen=True),
    )


def messages_of(exchange: Exchange) -> list[Message]:
    assert exchange.response is not None
    return [choice.message for choice in exchange.response.choices]


def calls_of(exchange: Exchange) -> list[ToolCall]:
    return [call for message in messages_of(exchange) for call in message.tool_calls]


def as_expected(call: ToolCall) -> dict[str, Any]:
    return {
        "name": call.name,
        "arguments": call.arguments,
        "call_id": None if call.call_id.startswith("tlx_") else call.call_id,
        "id_state": call.id_state,
        "quirks": list(call.quirks),
        "complete": call.complete,
        "wire_index": call.wire_index,
        "origin": call.origin,
        "choice": call.choice,
    }


def everything(exchange: Exchange, expect: dict[str, Any]) -> dict[str, Any]:
    """Return of an exchange what the case has an expectation for."""
    response = exchange.response
    assert response is not None
    first = response.choices[0] if response.choices else None
    usage = response.usage
    found = {
        "calls": [as_expected(call) for call in calls_of(exchange)],
        "finish_reason": None if first is None else first.finish_reason,
        "finish_reason_raw": None if first is None else first.finish_reason_raw,
        "outcome": exchange.outcome.value,
        "text": None if first is None else first.message.text,
        "reasoning": None if first is None else first.message.reasoning,
        "message": None if first is None else first.message.raw,
        "choices": len(response.choices),
        "error": [exchange.error_type, exchange.error_text],
        "usage": None if usage is None else [usage.input_tokens, usage.output_tokens, usage.source],
    }
    return {key: found[key] for key in expect if key != "notes"}


@pytest.mark.parametrize("name", CASES)
def test_a_torture_stream_gives_what_the_server_meant(name: str) -> None:
    expect = CASES[name]["expect"]

    actual = decode(raw_exchange(CASES[name]))

    assert {key: value for key, value in expect.items() if key != "notes"} == everything(actual, expect)
    # Details of the JSON reader's message differ between versions of Python: the code has to agree.
    notes = expect.get("notes", [])
    assert notes == [note[: len(code)] for note, code in zip(actual.notes, notes, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_a_torture_stream_reads_the_same_byte_by_byte(name: str) -> None:
    raw = raw_exchange(CASES[name])

    assert decode(split_at(raw, [])) == decode(split_at(raw, range(len(raw.response_body))))


@pytest.mark.parametrize("name", CASES)
def test_the_assembled_message_reads_back_as_the_same_calls(name: str) -> None:
    for message in messages_of(decode(raw_exchange(CASES[name]))):
        again = message_from_raw(
            message.raw, seed="uid-1", choice=message.tool_calls[0].choice if message.tool_calls else 0
        )

        assert [(call.name, call.arguments, call.call_id, call.id_state, call.origin) for call in again.tool_calls] == [
            (call.name, call.arguments, call.call_id, call.id_state, call.origin) for call in message.tool_calls
        ]
        assert (message.role, message.text, message.reasoning) == (again.role, again.text, again.reasoning)


def test_minted_ids_are_the_same_each_time_and_differ_within_the_answer() -> None:
    raw = raw_exchange(CASES["id_missing"])

    first, second = (call.call_id for call in calls_of(decode(raw)))

    assert (first, second) == tuple(call.call_id for call in calls_of(decode(raw)))
    assert first != second
    other = replace(raw, begin=replace(raw.begin, uid="uid-2"))
    assert first != calls_of(decode(other))[0].call_id


def test_the_time_of_a_call_is_that_of_its_first_fragment() -> None:
    exchange = decode(raw_exchange(CASES["all_pieces_at_index_0"]))

    assert [call.emitted_ms for call in calls_of(exchange)] == [1.0, 6.0]
    assert (
        exchange.timing.first_byte_ms,
        exchange.timing.first_tool_ms,
        exchange.timing.total_ms,
    ) == (1.0, 1.0, 100.0)


def test_a_client_that_closes_early_is_not_a_server_that_broke_off() -> None:
    raw = raw_exchange(CASES["upstream_dies_inside_call"])

    hung_up = decode(replace(raw, end=End(offset_ns=1, disconnected=True)))

    assert hung_up.outcome == Outcome.CLIENT_DISCONNECTED
    assert [call.complete for call in calls_of(hung_up)] == [False]
