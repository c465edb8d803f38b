"""The SSE splitter: line ends, fields, limits, and time that grows with the input only."""

import time
from collections.abc import Callable

import pytest

from tarx_toollog.wire.sse import SseEvent, SseSplitter


def split(*pieces: bytes, max_event_size: int = 1000) -> list[SseEvent]:
    splitter = SseSplitter(max_event_size)
    events = [event for number, piece in enumerate(pieces) for event in splitter.receive_data(piece, number)]
    return events + splitter.close()


def data_of(*pieces: bytes) -> list[bytes]:
    return [event.data for event in split(*pieces)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_all_three_line_ends_end_a_line(end: bytes) -> None:
    assert data_of(end.join([b"data: one", b"", b"data: two", b"data: lines", b"", b""])) == [b"one", b"two\nlines"]


def test_a_crlf_torn_apart_by_the_chunks_is_one_line_end() -> None:
    assert data_of(b"data: one\r", b"\ndata: two\r", b"\n\r", b"\n") == [b"one\ntwo"]


def test_a_lone_cr_at_the_end_of_a_chunk_completes_the_event_at_once() -> None:
    splitter = SseSplitter()

    assert [SseEvent("", b"one", 5)] == splitter.receive_data(b"data: one\r\r", 5)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_what_python_calls_a_line_end_in_text_is_none_here(separator: str) -> None:
    data = f"a{separator}b".encode()

    assert [data] == data_of(b"data: " + data + b"\n\n")


def test_comments_and_unknown_fields_are_no_events() -> None:
    assert split(b": ping\n\n:\n\nid: 7\nretry: 10\nfoo\n\n") == []


def test_only_one_space_after_the_colon_is_removed() -> None:
    assert data_of(b"data:x\n\ndata: x\n\ndata:  x\n\n") == [b"x", b"x", b" x"]


def test_a_field_without_a_colon_has_an_empty_value() -> None:
    assert data_of(b"data\ndata: x\n\n") == [b"\nx"]


def test_the_byte_order_mark_is_removed_at_the_start_only() -> None:
    bom = b"\xef\xbb\xbf"

    assert data_of(bom[:1], bom[1:] + b"data: x\n\n" + bom + b"data: y\n\n") == [b"x"]


def test_an_event_keeps_its_name_and_the_next_has_none() -> None:
    assert [SseEvent("ping", b"1", 0), SseEvent("", b"2", 0)] == split(b"event: ping\ndata: 1\n\ndata: 2\n\n")


def test_an_event_without_data_counts() -> None:
    assert [SseEvent("message_stop", b"", 0)] == split(b"event: message_stop\n\n")


def test_the_error_field_is_an_event_named_error() -> None:
    assert [SseEvent("error", b'{"code":400}', 0)] == split(b'error: {"code":400}\n\n')


def test_close_returns_an_event_without_its_last_line_end() -> None:
    splitter = SseSplitter()
    splitter.receive_data(b"data: one\ndata: two", 3)

    assert [SseEvent("", b"one\ntwo", 3)] == splitter.close()
    assert splitter.close() == []


def test_an_event_has_the_time_of_the_chunk_that_completed_it() -> None:
    events = split(b"data: 1\n\ndata: 2", b"\n", b"\ndata: 3\n\n")

    assert [(event.data, event.offset_ns) for event in events] == [(b"1", 0), (b"2", 2), (b"3", 2)]


def test_an_empty_chunk_does_not_move_the_time() -> None:
    splitter = SseSplitter()
    splitter.receive_data(b"data: 1", 1)
    splitter.receive_data(b"", 9)

    assert [SseEvent("", b"1", 1)] == splitter.close()


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_an_event_above_the_limit_is_cut_and_the_next_one_is_whole(step: int) -> None:
    stream = b"data: " + b"x" * 5000 + b"\n\ndata: next\n\n"
    pieces = [stream[start : start + step] for start in range(0, len(stream), step)]

    events = split(*pieces, max_event_size=1000)

    assert [(event.data, event.cut) for event in events] == [(b"x" * 1000, True), (b"next", False)]


def test_many_lines_together_are_held_to_the_same_limit() -> None:
    events = split(b"data: 0123456789\n" * 500 + b"data\n" * 500 + b"\ndata: next\n\n", max_event_size=1000)

    assert [event.cut for event in events] == [True, False]
    assert len(events[0].data) <= 1000


def test_an_event_of_exactly_the_limit_is_not_cut() -> None:
    assert [event.cut for event in split(b"data: " + b"x" * 1000 + b"\n\n", max_event_size=1000)] == [False]


def seconds(run: Callable[[], object]) -> float:
    """Return the best CPU time of three; other processes on the machine do not count."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda size: b"data: " + b"x" * size, id="one long line"),
        pytest.param(lambda size: b"data: xxxxxxxxxxxxxxxx\n" * (size // 23), id="one event of many lines"),
        pytest.param(lambda size: b"data: xxxxxxxxxxxxxxxxxxxxxxx\n\n" * (size // 31), id="many events"),
    ],
)
def test_time_grows_in_step_with_the_input(make: Callable[[int], bytes]) -> None:
    def run(size: int) -> None:
        stream, splitter = make(size), SseSplitter()
        for start in range(0, len(stream), 100):
            splitter.receive_data(stream[start : start + 100])
        splitter.close()

    assert seconds(lambda: run(4_000_000)) / seconds(lambda: run(1_000_000)) < 8
