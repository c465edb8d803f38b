"""The scanner that tells the tap which piece to make durable before it is released."""

import time
import timeit

import pytest

from tarx_toollog.wire.raw import Chunk
from tarx_toollog.wire.terminator import TerminatorScanner
from tests.support.captures import chat_captures, load_raw

SSE = "text/event-stream; charset=utf-8"

ENDS = [
    b"data: [DONE]\n\n",
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}\n\n',
    b"event: message_stop\ndata: {}\n\n",
    b'data: {"type":"response.completed"}\n\n',
]
OTHERS = [
    b": ping\n\n",
    b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":null}]}\n\n',
    b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": null}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":""}]}\n\n',
    b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": ""}]}\n\n',
    b"event: message_start\ndata: {}\n\n",
]


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_an_event_stream_is_seen_wherever_it_is_cut(end: bytes) -> None:
    for cut in range(len(end) + 1):
        scanner = TerminatorScanner(SSE, None)
        answers = [scanner.feed(piece) for piece in (OTHERS[1], end[:cut], end[cut:])]
        assert not answers[0]
        assert any(answers), cut


@pytest.mark.parametrize("other", OTHERS)
def test_other_events_are_let_through(other: bytes) -> None:
    scanner = TerminatorScanner(SSE, None)

    assert [scanner.feed(other), scanner.feed(other)] == [False, False]


def test_a_finish_reason_beside_an_empty_one_is_seen() -> None:
    assert TerminatorScanner(SSE, None).feed(b'{"finish_reason":""},{"finish_reason":"stop"}')


def test_byte_by_byte_the_marker_is_seen_at_its_last_byte() -> None:
    scanner = TerminatorScanner(SSE, None)
    answers = [scanner.feed(bytes((byte,))) for byte in b"data: [DONE]"]

    assert answers == [False] * 11 + [True]


@pytest.mark.parametrize("line", [b'{"done":true}\n', b'{"done": true, "eval_count": 3}\n'])
def test_the_last_line_of_ndjson_is_seen(line: bytes) -> None:
    scanner = TerminatorScanner("application/x-ndjson", None)

    assert [scanner.feed(b'{"done":false}\n'), scanner.feed(line)] == [False, True]


def test_with_a_length_the_last_byte_is_the_end() -> None:
    scanner = TerminatorScanner("application/json", 10)

    assert [scanner.feed(b"12345"), scanner.feed(b"6789"), scanner.feed(b"0")] == [False, False, True]


def test_an_event_stream_with_a_length_has_both_ends() -> None:
    scanner = TerminatorScanner(SSE, 20)

    assert [scanner.feed(b"data: [DONE]"), scanner.feed(b"12345678")] == [True, True]


def test_an_empty_body_is_complete_at_once() -> None:
    assert TerminatorScanner("application/json", 0).feed(b"")


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain"])
def test_without_length_and_markers_any_piece_may_be_the_last(content_type: str) -> None:
    assert TerminatorScanner(content_type, None).feed(b"x")


def test_a_compressed_stream_cannot_be_searched() -> None:
    assert TerminatorScanner(SSE, None, "gzip").feed(b"\x1f\x8b")
    assert not TerminatorScanner(SSE, None, "identity").feed(b"data: 1")


def content_type_of(name: str) -> str:
    response = load_raw(name).response
    return "" if response is None else dict(response.headers).get("content-type", "")


@pytest.mark.parametrize("name", [name for name in chat_captures() if "event-stream" in content_type_of(name)])
def test_in_a_real_stream_only_pieces_at_the_end_are_held_back(name: str) -> None:
    raw = load_raw(name)
    scanner = TerminatorScanner(content_type_of(name), None)

    def carries_end(chunk: Chunk) -> bool:
        return b"[DONE]" in chunk.data or b'"finish_reason":"' in chunk.data

    answers = [scanner.feed(chunk.data) for chunk in raw.chunks]

    assert [carries_end(chunk) for chunk in raw.chunks] == answers


def test_a_piece_costs_about_a_microsecond_at_most() -> None:
    scanner = TerminatorScanner(SSE, None)
    piece = OTHERS[1].replace(b"x", b"x" * 200)
    runs = 2000

    best = min(timeit.repeat(lambda: scanner.feed(piece), number=runs, repeat=5, timer=time.process_time)) / runs

    assert best < 5e-6  # measured below 1 µs; the rest is for slow and busy machines
