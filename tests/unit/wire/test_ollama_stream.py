"""Streamed answers of Ollama's chat; what servers do to them is in ``torture``."""

import json
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.model import Outcome
from tarx_toollog.wire.calls import KEYS_REPEATED
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.ndjson import NdjsonSplitter
from tarx_toollog.wire.ollama_chat import OllamaChat
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tarx_toollog.wire.terminator import TerminatorScanner
from tests.support.captures import split_at
from tests.support.torture import calls_of, cases, messages_of

CASES = {case.name: case.raw for key, case in cases().items() if key.startswith("ollama/")}
OFFERED = ("tarx_recall", "tarx_remember")
NDJSON = "application/x-ndjson"


def streamed(lines: list[Any], content_type: str = NDJSON) -> RawExchange:
    """Return the lines as a tap would have seen them, one chunk each."""
    tools = [{"type": "function", "function": {"name": name}} for name in OFFERED]
    body = json.dumps({"model": "m", "messages": [], "tools": tools}).encode()
    texts = [line if isinstance(line, str) else f"{json.dumps(line)}\n" for line in lines]
    chunks = tuple(Chunk(number * 1_000_000, text.encode()) for number, text in enumerate(texts, start=1))
    return RawExchange(
        Begin("uid-1", "proxy", "POST", "/api/chat", 0, body_size=len(body)),
        body,
        ResponseStart(200, (("content-type", content_type),)),
        chunks,
        End(offset_ns=100_000_000, final_seen=True),
    )


@pytest.mark.parametrize("name", ["text", "call", "thinking", "error_line", "breaks_off"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", ""])
def test_the_content_type_may_be_wrong(name: str, content_type: str) -> None:
    raw = CASES[name]

    actual = decode(replace(raw, response=ResponseStart(200, (("content-type", content_type),))))

    assert [f"stream_unannounced:{content_type}".rstrip(":")] == list(actual.notes)
    assert decode(raw) == replace(actual, notes=())


@pytest.mark.parametrize("name", CASES)
def test_the_assembled_message_reads_back_as_the_same(name: str) -> None:
    for message in messages_of(decode(CASES[name])):
        again = OllamaChat().read_message(message.raw)

        def known(call: Any) -> Any:  # all but what only the stream knows; minted ids come from another seed
            call_id = None if call.id_state == "missing" else call.call_id
            # Assembled, the calls are a list; keys are looked at in answers only.
            quirks = tuple(quirk for quirk in call.quirks if quirk not in ("tool_calls_object", KEYS_REPEATED))
            return replace(call, call_id=call_id, emitted_ms=None, complete=True, quirks=quirks)

        assert [known(call) for call in message.tool_calls] == [known(call) for call in again.tool_calls]
        assert replace(message, tool_calls=()) == replace(again, tool_calls=())


@pytest.mark.parametrize("name", ["text", "call", "two_calls_in_one_line", "token_limit", "load", "thinking"])
def test_the_end_is_seen_in_the_last_line_and_not_before(name: str) -> None:
    scanner = TerminatorScanner(NDJSON, None)
    pieces = [chunk.data for chunk in CASES[name].chunks]

    assert [number == len(pieces) for number in range(1, len(pieces) + 1)] == [scanner.feed(p) for p in pieces]


def test_times_and_counts_are_in_our_units() -> None:
    response = decode(CASES["text"]).response

    assert response is not None
    assert (200.0, 450.0, "m:q4", None) == (
        response.prompt_ms,
        response.predicted_ms,
        response.model,
        response.response_id,
    )
    assert {
        "created_at": "2026-11-22T18:00:00Z",
        "total_duration": 900_000_000,
        "load_duration": 50_000_000,
    } == response.extra


def test_the_time_of_a_call_is_that_of_its_line() -> None:
    exchange = decode(CASES["calls_in_several_lines"])

    assert [2.0, 4.0] == [call.emitted_ms for call in calls_of(exchange)]
    assert 2.0 == exchange.timing.first_tool_ms


def test_a_giant_line_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.wire.ollama_chat.NdjsonSplitter", partial(NdjsonSplitter, 100))

    notes = decode(streamed([{"message": {"role": "assistant", "content": "x" * 200}, "done": True}])).notes

    assert "line_cut" in notes


def test_a_client_that_hangs_up_is_not_a_server_that_broke_off() -> None:
    raw = CASES["breaks_off"]

    assert Outcome.CLIENT_DISCONNECTED == decode(replace(raw, end=End(1, disconnected=True))).outcome


# ---- any content ----------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=8)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"function": st.fixed_dictionaries({"name": TEXT, "arguments": st.dictionaries(TEXT, TEXT, max_size=3)})},
        optional={"id": TEXT},
    ),
    max_size=3,
)


@given(TEXT, st.none() | TEXT, CALLS, st.integers(1, 4))
def test_a_streamed_answer_and_a_whole_one_of_the_same_content_decode_alike(
    content: str, thinking: str | None, calls: list[dict[str, Any]], step: int
) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    message |= ({} if thinking is None else {"thinking": thinking}) | ({"tool_calls": calls} if calls else {})
    end = {"model": "m", "done": True, "done_reason": "stop", "eval_count": 3}
    lines: list[Any] = [{"message": {"role": "assistant", "content": "", "tool_calls": [call]}} for call in calls]
    lines += [{"message": {"content": content[at : at + step]}} for at in range(0, len(content), step)]
    if thinking is not None:
        lines += [{"message": {"content": "", "thinking": thinking}}]
    whole = OllamaChat().decode_response({**end, "message": message}, DecodeContext(uid="uid-1"))

    response = decode(streamed([*lines, {**end, "message": {"role": "assistant", "content": ""}}])).response

    assert response is not None
    made = response.choices[0].message
    timeless = replace(made, tool_calls=tuple(replace(call, emitted_ms=None) for call in made.tool_calls))
    assert whole == replace(response, choices=(replace(response.choices[0], message=timeless),))


KEYS = ["message", "role", "content", "thinking", "tool_calls", "function", "name", "arguments", "id", "index", "done"]
KEYS += ["done_reason", "error", "eval_count", "prompt_eval_count", "eval_duration", "model", "messages", "tools"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=30,
)


@given(json_values, st.lists(json_values, max_size=5), st.sampled_from([200, 400]))
def test_any_json_in_any_place_raises_nothing(request: Any, lines: list[Any], status: int) -> None:
    raw = replace(streamed(lines), response=ResponseStart(status, (("content-type", NDJSON),)))
    whole = [replace(streamed([line], "application/json"), end=End(1)) for line in lines]

    for exchange in [
        raw,
        replace(raw, request_body=json.dumps({"model": "m"} | {"messages": request}).encode()),
        *whole,
    ]:
        assert not [note for note in decode(exchange).notes if note.startswith("decode_error")]


@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=5))
def test_any_bytes_read_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    raw = replace(streamed([]), chunks=(Chunk(1, data),))

    assert decode(split_at(raw, [])) == decode(split_at(raw, cuts))


def test_the_time_to_assemble_grows_in_step_with_the_stream() -> None:
    def seconds(lines: int) -> float:
        message = {"role": "assistant", "content": "x" * 50, "thinking": "y" * 50}
        raw = streamed([{"message": message, "done": False}] * lines)
        best = float("inf")
        for _ in range(2):
            began = time.process_time()
            (made,) = messages_of(decode(raw))
            best = min(best, time.process_time() - began)
        assert lines * 50 == len(made.text)
        return best

    assert seconds(8000) / seconds(2000) < 8
