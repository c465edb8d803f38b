"""Streamed answers of Anthropic Messages; what servers and gateways do to them is in ``torture``."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.model import Outcome
from tarx_toollog.wire.anthropic_blocks import message_from_raw
from tarx_toollog.wire.anthropic_messages import AnthropicMessages
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tarx_toollog.wire.terminator import TerminatorScanner
from tests.support.captures import captures_of, golden_path, load_raw
from tests.support.torture import calls_of, cases, messages_of

CASES = {case.name: case.raw for key, case in cases().items() if key.startswith("messages/")}
OFFERED = ("tarx_recall", "tarx_remember")

CAPTURED = captures_of("/v1/messages")
PAIRS = [name for name in CAPTURED if f"{name}_stream" in CAPTURED]


def as_text(event: Any) -> str:
    return event if isinstance(event, str) else f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def streamed(events: list[Any]) -> RawExchange:
    """Return the events as a tap would have seen them, one chunk each."""
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in OFFERED]
    body = json.dumps({"model": "m", "max_tokens": 100, "stream": True, "messages": [], "tools": tools}).encode()
    chunks = tuple(Chunk(number * 1_000_000, as_text(event).encode()) for number, event in enumerate(events, start=1))
    return RawExchange(
        Begin("uid-1", "proxy", "POST", "/v1/messages", 0, body_size=len(body)),
        body,
        ResponseStart(200, (("content-type", "text/event-stream"),)),
        chunks,
        End(offset_ns=100_000_000, final_seen=True),
    )


@pytest.mark.parametrize("name", CASES)
def test_the_assembled_message_reads_back_as_the_same(name: str) -> None:
    for message in messages_of(decode(CASES[name])):
        again = message_from_raw(message.raw, seed="uid-1")

        def known(call: Any) -> Any:  # all but what only the stream knows
            return replace(call, quirks=(), wire_index=None, emitted_ms=None, complete=True)

        assert [known(call) for call in message.tool_calls] == [known(call) for call in again.tool_calls]
        assert replace(message, tool_calls=()) == replace(again, tool_calls=())


@pytest.mark.parametrize("name", PAIRS)
def test_a_real_streamed_answer_has_the_form_of_the_same_answer_without_streaming(name: str) -> None:
    """The server was asked the same at temperature 0, so only ids differ."""

    def shape(capture: str) -> Any:
        raw = json.loads(golden_path(capture).read_text("utf-8"))["response"]["choices"][0]
        content = [{**block, "id": "…"} if "id" in block else block for block in raw["raw_message"]["content"]]
        return {**raw, "tool_calls": len(raw.get("tool_calls", [])), "raw_message": content}

    assert shape(name) == shape(f"{name}_stream")


@pytest.mark.parametrize("name", [name for name in CAPTURED if name.endswith("_stream")])
def test_in_a_real_stream_only_the_last_piece_is_held_back(name: str) -> None:
    raw = load_raw(name)
    scanner = TerminatorScanner("text/event-stream", None)

    assert [b"message_stop" in chunk.data for chunk in raw.chunks] == [scanner.feed(c.data) for c in raw.chunks]
    assert b"message_stop" in raw.chunks[-1].data


def test_the_time_of_a_call_is_that_of_the_start_of_its_block() -> None:
    exchange = decode(CASES["blocks_interleave"])

    assert [2.0, 3.0] == [call.emitted_ms for call in calls_of(exchange)]
    assert 2.0 == exchange.timing.first_tool_ms


def test_minted_ids_are_the_same_each_time_and_differ_within_the_answer() -> None:
    first, second = (call.call_id for call in calls_of(decode(CASES["ids_missing"])))

    assert first != second
    assert (first, second) == tuple(call.call_id for call in calls_of(decode(CASES["ids_missing"])))


def test_a_client_that_hangs_up_is_not_a_server_that_broke_off() -> None:
    raw = CASES["breaks_off_inside_a_call"]

    assert Outcome.CLIENT_DISCONNECTED == decode(replace(raw, end=End(1, disconnected=True))).outcome


def test_what_comes_beside_the_answer_is_kept() -> None:
    response = decode(CASES["events_and_keys_of_tomorrow"]).response

    assert response is not None
    assert {"timings": {"prompt_n": 1}} == response.extra
    assert ("msg_1", "m-q4") == (response.response_id, response.model)


# ---- any content ----------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=8)
INPUTS = st.dictionaries(TEXT, TEXT | st.integers() | st.none() | st.lists(TEXT, max_size=2), max_size=3)
BLOCKS = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXT})
    | st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXT, "signature": TEXT})
    | st.fixed_dictionaries({"type": st.just("tool_use"), "id": TEXT, "name": TEXT, "input": INPUTS}),
    max_size=4,
)


def events_of(blocks: list[dict[str, Any]], step: int) -> list[Any]:
    """Return the events of an answer with these blocks, texts in pieces."""
    events: list[Any] = []
    for index, block in enumerate(blocks):
        empty: dict[str, Any] = {"text": "", "thinking": "", "signature": "", "input": {}}
        start = {key: empty.get(key, value) for key, value in block.items()}
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        deltas: list[dict[str, Any]] = []
        for key, name in (("text", "text"), ("thinking", "thinking"), ("input", "partial_json")):
            if key in block:
                whole = json.dumps(block[key]) if key == "input" else block[key]
                deltas += [{name: whole[at : at + step]} for at in range(0, len(whole), step)]
        deltas += [{"signature": block["signature"]}] if "signature" in block else []
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    return [*events, {"type": "message_delta", "delta": {"stop_reason": reason}}, {"type": "message_stop"}]


@given(BLOCKS, st.integers(1, 5))
def test_a_streamed_answer_and_a_whole_one_of_the_same_content_decode_alike(
    blocks: list[dict[str, Any]], step: int
) -> None:
    events = events_of(blocks, step)
    body = {"role": "assistant", "content": blocks, "stop_reason": events[-2]["delta"]["stop_reason"]}
    whole = AnthropicMessages().decode_response(body, DecodeContext(uid="uid-1")).choices

    response = decode(streamed(events)).response

    assert response is not None
    calls = tuple(replace(call, wire_index=None, emitted_ms=None) for call in response.choices[0].message.tool_calls)
    assert whole == (replace(response.choices[0], message=replace(response.choices[0].message, tool_calls=calls)),)


KEYS = ["type", "index", "delta", "content_block", "message", "content", "usage", "input", "partial_json", "text"]
KEYS += ["thinking", "signature", "citation", "id", "name", "stop_reason", "error", "role", "input_tokens", "is_error"]
KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
KINDS += ["message_stop", "error", "ping", "tool_use", "text", "thinking", "tool_result"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=30,
)
event_values = st.dictionaries(st.sampled_from(KEYS), json_values, max_size=4) | json_values


@given(json_values, st.lists(st.tuples(st.sampled_from(KINDS), event_values), max_size=6), st.sampled_from([200, 400]))
def test_any_json_in_any_place_raises_nothing(request: Any, events: list[tuple[str, Any]], status: int) -> None:
    raw = streamed([f"event: {kind}\ndata: {json.dumps(value)}\n\n" for kind, value in events])
    raw = replace(raw, response=ResponseStart(status, (("content-type", "text/event-stream"),)))
    whole = [replace(raw, chunks=(Chunk(1, json.dumps(value).encode()),)) for _, value in events]

    for exchange in [raw, replace(raw, request_body=json.dumps(request).encode()), *whole]:
        assert not [note for note in decode(exchange).notes if note.startswith("decode_error")]


def test_the_time_to_assemble_grows_in_step_with_the_stream() -> None:
    def seconds(pieces: int) -> float:
        start = {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "a", "name": "b"},
        }
        delta = {"type": "content_block_delta", "index": 0, "delta": {"partial_json": "x{}\\" * 50}}
        raw = streamed([start, *[delta] * pieces])
        best = float("inf")
        for _ in range(2):
            began = time.process_time()
            (call,) = calls_of(decode(raw))
            best = min(best, time.process_time() - began)
        assert pieces * 200 == len(call.arguments)
        return best

    assert seconds(8000) / seconds(2000) < 8
