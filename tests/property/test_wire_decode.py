"""What must hold for any bytes: chunks do not matter, nothing is raised, time stays in step with the size."""

import json
import time
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog.canonical import join_surrogates
from tarx_toollog.model import Exchange, Outcome, ToolCall
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.captures import load_raw, split_at, wire_captures, with_chunks

NAMES = [name for name in wire_captures() if len(load_raw(name).request_body) < 10_000]
OFFERED = ["tarx_recall", "tarx_remember"]


@cache
def capture(name: str) -> RawExchange:
    return load_raw(name)


def streamed(events: list[Any]) -> RawExchange:
    """Return a streamed exchange, one chunk per event."""
    tools = [{"type": "function", "function": {"name": name}} for name in OFFERED]
    chunks = tuple(Chunk(1_000_000, f"data: {json.dumps(event)}\n\n".encode()) for event in events)
    return RawExchange(
        Begin("uid-1", "proxy", "POST", "/v1/chat/completions", 0),
        json.dumps({"messages": [], "tools": tools}).encode(),
        ResponseStart(200, (("content-type", "text/event-stream"),)),
        chunks,
        End(1, final_seen=True),
    )


def calls_of(exchange: Exchange) -> list[ToolCall]:
    assert exchange.response is not None
    return [call for choice in exchange.response.choices for call in choice.message.tool_calls]


@given(st.sampled_from(NAMES), st.lists(st.integers(0, 20_000), max_size=30))
def test_a_capture_reads_the_same_however_it_is_cut(name: str, cuts: list[int]) -> None:
    raw = capture(name)

    assert decode(split_at(raw, [])) == decode(split_at(raw, cuts))


mutations = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 6),
        st.sampled_from(
            [b"", b'"', b"{", b"}", b"[", b"null", b"\n", b"\r\n\r\n", b"\xff", b"\\ud83d", b"1e999", b"data: "]
        )
        | st.binary(max_size=4),
    ),
    max_size=8,
)


def mutated(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for place, removed, inserted in changes:
        at = int(place * len(data))
        data = data[:at] + inserted + data[at + removed :]
    return data


@settings(max_examples=300)
@given(st.sampled_from(NAMES), mutations, mutations, st.lists(st.integers(0, 20_000), max_size=5))
def test_mutated_bytes_raise_nothing_and_are_no_bug_of_ours(
    name: str, of_request: list[tuple[float, int, bytes]], of_response: list[tuple[float, int, bytes]], cuts: list[int]
) -> None:
    raw = capture(name)
    raw = replace(raw, request_body=mutated(raw.request_body, of_request))
    raw = with_chunks(raw, [mutated(raw.response_body, of_response)])

    whole = decode(split_at(raw, []))

    # NaN is not equal to itself, so the two are compared as text.
    assert repr(whole) == repr(decode(split_at(raw, cuts)))
    assert not [note for note in whole.notes if note.startswith("decode_error")]
    assert whole.outcome in Outcome


KEYS = [
    "choices",
    "delta",
    "message",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "id",
    "index",
    "error",
    "usage",
    "content",
    "role",
    "finish_reason",
    "messages",
    "tools",
    "timings",
    "type",
    "text",
    "function_call",
    "custom",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=30,
)


@given(json_values, st.lists(json_values, max_size=5), st.sampled_from([200, 400]))
def test_any_json_in_any_place_raises_nothing(request: Any, events: list[Any], status: int) -> None:
    stream = replace(streamed(events), request_body=json.dumps(request).encode())
    stream = replace(stream, response=replace(stream.response or ResponseStart(200), status=status))
    bodies = [with_chunks(stream, [json.dumps(event).encode()]) for event in events]

    for raw in [stream, *bodies]:
        assert not [note for note in decode(raw).notes if note.startswith("decode_error")]


@given(
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.text(max_size=20),
    st.sampled_from(["gzip", "br", "deflate", ""]),
)
def test_any_bytes_raise_nothing(request: bytes, response: bytes, content_type: str, encoding: str) -> None:
    headers = (("content-type", content_type), ("content-encoding", encoding))
    raw = RawExchange(
        Begin("uid-1", "proxy", "POST", "/v1/chat/completions", 0, headers=headers),
        request,
        ResponseStart(200, headers),
        (Chunk(1, response),),
    )

    assert not [note for note in decode(raw).notes if note.startswith("decode_error")]


argument_texts = st.dictionaries(st.text(max_size=6), st.text(max_size=8) | st.integers() | st.none(), max_size=3).map(
    json.dumps
)
whole_calls = st.lists(st.tuples(st.sampled_from(OFFERED), argument_texts), min_size=1, max_size=4)


@given(whole_calls, st.integers(1, 9), st.sampled_from(["", "same index", "no index"]), st.booleans(), st.booleans())
def test_calls_come_back_whole_from_any_server(
    calls: list[tuple[str, str]], step: int, index: str, with_ids: bool, repeat_name: bool
) -> None:
    """Whatever a server does about index, id and name, as long as each call opens with its name.

    A name in every fragment and no id is only told apart by an index.
    """
    repeat_name = repeat_name and index != "no index"
    deltas = []
    for number, (name, arguments) in enumerate(calls):
        place = {"": {"index": number}, "same index": {"index": 0}, "no index": {}}[index]
        head: dict[str, Any] = {**place, "function": {"name": name, "arguments": ""}}
        if with_ids:
            head["id"] = f"call_{number}"
        deltas.append(head)
        for start in range(0, len(arguments), step):
            function = {"arguments": arguments[start : start + step]} | ({"name": name} if repeat_name else {})
            deltas.append({**place, "function": function})
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]} for delta in deltas]

    actual = calls_of(decode(streamed([*events, {"choices": [{"index": 0, "finish_reason": "tool_calls"}]}])))

    assert calls == [(call.name, call.arguments) for call in actual]
    assert len({call.call_id for call in actual}) == len(calls)
    assert [with_ids] * len(calls) == [call.id_state == "ok" for call in actual]
    assert all(call.complete for call in actual)


@given(
    st.lists(
        st.text(alphabet=st.characters(), max_size=5) | st.sampled_from(["\ud83d", "\ude00"]), min_size=1, max_size=8
    )
)
def test_text_split_over_deltas_is_joined_as_it_was(pieces: list[str]) -> None:
    exchange = decode(streamed([{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]))

    assert exchange.response is not None
    texts = [choice.message.text for choice in exchange.response.choices]
    assert [join_surrogates("".join(pieces))] == texts


def events_of_one_call(size: int, *, repeat_name: bool) -> list[Any]:
    pieces = ['{"query": "', *["x{}\\\\" * 40] * (size // 200), '"}']
    name = {"name": "tarx_recall"}
    return [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece} | name}]}}]}
        if repeat_name or not number
        else {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}
        for number, piece in enumerate(pieces)
    ]


@pytest.mark.parametrize("repeat_name", [False, True])
def test_the_time_to_assemble_grows_in_step_with_the_stream(repeat_name: bool) -> None:
    def seconds(size: int) -> float:
        raw = streamed(events_of_one_call(size, repeat_name=repeat_name))
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            (call,) = calls_of(decode(raw))
            best = min(best, time.process_time() - start)
        assert size == len(call.arguments) - len('{"query": ""}')
        return best

    assert seconds(4_000_000) / seconds(1_000_000) < 8
