"""The SSE splitter against a reference that is too slow and too simple to be wrong in the same way."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.wire.sse import SseEvent, SseSplitter

PIECES = [b"data", b"event", b"error", b"id", b":", b": ", b" ", b"\n", b"\n\n", b"\r", b"\r\n", b"x", b"{}", b"[DONE]"]
ODD_PIECES = ["\ufeff".encode(), "\u2028".encode(), b"\x0b", b"\x0c", b"\x85", b"\xff", b"\0"]
streams = st.lists(st.sampled_from(PIECES + ODD_PIECES), max_size=40).map(b"".join) | st.binary(max_size=60)


def reference(stream: bytes) -> list[tuple[str, bytes]]:
    """Read a whole stream as the standard says, one line at a time."""
    events: list[tuple[str, bytes]] = []
    name, data, seen = "", b"", False
    lines = re.split(rb"\r\n|\r|\n", stream)
    for line in [lines[0].removeprefix(b"\xef\xbb\xbf"), *lines[1:], b""]:
        if line == b"":
            if seen or name:
                events.append((name, data.removesuffix(b"\n")))
            name, data, seen = "", b"", False
            continue
        match = re.fullmatch(rb"([^:]*)(?:: ?(.*))?", line, re.DOTALL)
        assert match is not None
        field, value = match.group(1), match.group(2) or b""
        if field == b"event":
            name = value.decode("utf-8", "replace")
        if field == b"error":
            name = "error"
        if field in (b"data", b"error"):
            data, seen = data + value + b"\n", True
    return events


def split(pieces: list[bytes]) -> list[SseEvent]:
    splitter = SseSplitter()
    events = [event for piece in pieces for event in splitter.receive_data(piece, 7)]
    return events + splitter.close()


@given(streams)
def test_a_stream_splits_into_the_events_of_the_reference(stream: bytes) -> None:
    assert reference(stream) == [(event.event, event.data) for event in split([stream])]


@given(streams, st.lists(st.integers(0, 200), max_size=10))
def test_the_events_do_not_depend_on_the_chunks(stream: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:stop] for start, stop in pairwise(places)]

    assert split([stream]) == split(pieces)
    assert split([stream]) == split([bytes((byte,)) for byte in stream])


@given(streams, st.integers(1, 10), st.lists(st.integers(0, 200), max_size=5))
def test_no_event_is_larger_than_the_limit_and_cutting_does_not_depend_on_the_chunks(
    stream: bytes, limit: int, cuts: list[int]
) -> None:
    def limited(pieces: list[bytes]) -> list[SseEvent]:
        splitter = SseSplitter(limit)
        return [event for piece in pieces for event in splitter.receive_data(piece)] + splitter.close()

    places = [0, *sorted(cuts), len(stream)]
    events = limited([stream])

    assert events == limited([stream[start:stop] for start, stop in pairwise(places)])
    for event, (_, data) in zip(events, reference(stream), strict=True):
        assert len(event.data) <= limit
        assert data.startswith(event.data)
        assert event.cut or event.data == data
