"""The splitter of JSON lines: line ends, limits, and time that grows with the input only."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.wire.ndjson import NdjsonLine, NdjsonSplitter

BOM = b"\xef\xbb\xbf"


def split(*pieces: bytes, max_line_size: int = 1000) -> list[NdjsonLine]:
    splitter = NdjsonSplitter(max_line_size)
    lines = [line for number, piece in enumerate(pieces) for line in splitter.receive_data(piece, number)]
    return lines + splitter.close()


def data_of(*pieces: bytes) -> list[bytes]:
    return [line.data for line in split(*pieces)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b" \r\n\t\r\n"])
def test_a_line_ends_in_lf_and_blank_lines_say_nothing(end: bytes) -> None:
    assert [b'{"a":1}', b'{"b":2}'] == data_of(b'{"a":1}' + end + b'{"b":2}' + end)


@pytest.mark.parametrize("character", ["\r", "\u2028", "\x85", "\x0b", "\x0c", "\x1e"])
def test_nothing_else_ends_a_line(character: str) -> None:
    data = f"a{character}b".encode()

    assert [data] == data_of(data + b"\n")


def test_the_last_line_needs_no_end() -> None:
    assert [b"one", b"two"] == data_of(b"one\ntwo")


def test_the_byte_order_mark_is_removed_at_the_start_only() -> None:
    assert [b"one", BOM + b"two"] == data_of(BOM[:1], BOM[1:] + b"one\n" + BOM + b"two\n")


def test_a_line_has_the_time_of_the_chunk_that_completed_it() -> None:
    assert [
        NdjsonLine(b"one", 1),
        NdjsonLine(b"two", 1),
        NdjsonLine(b"three", 3),
    ] == split(b"on", b"e\ntwo\nth", b"", b"ree")


def test_a_giant_line_is_cut_and_the_next_one_is_whole() -> None:
    assert [
        NdjsonLine(b"12345", 0, cut=True),
        NdjsonLine(b"12345", 0),
        NdjsonLine(b"1234", 0),
    ] == split(b"1234567890\n12345\r\n1234\n", max_line_size=5)


PIECES = [b"{", b'"a":1', b"}", b"\n", b"\n\n", b"\r", b"\r\n", b" ", b"\t", "\U0001f68b".encode(), BOM, b"\xff", b"\0"]
streams = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=60)


@given(streams)
def test_a_stream_splits_into_the_lines_that_python_sees(stream: bytes) -> None:
    lines = [line.strip(b" \t\r") for line in stream.removeprefix(BOM).split(b"\n")]

    assert [line for line in lines if line] == data_of(stream)


@given(streams, st.lists(st.integers(0, 200), max_size=10), st.integers(1, 8))
def test_lines_and_cuts_do_not_depend_on_the_chunks(stream: bytes, cuts: list[int], size: int) -> None:
    def lines(pieces: list[bytes]) -> list[tuple[bytes, bool]]:
        return [(line.data, line.cut) for line in split(*pieces, max_line_size=size)]

    places = [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:stop] for start, stop in pairwise(places)]

    assert lines([stream]) == lines(pieces)
    assert lines([stream]) == lines([bytes((byte,)) for byte in stream])
    assert all(len(data) <= size for data, _ in lines([stream]))


@pytest.mark.parametrize("piece", [b"x" * 7, b"x" * 6 + b"\n", b"\n" * 7])
def test_the_time_grows_in_step_with_the_stream(piece: bytes) -> None:
    def seconds(count: int) -> float:
        best = float("inf")
        for _ in range(3):
            splitter = NdjsonSplitter()
            start = time.process_time()
            for _ in range(count):
                splitter.receive_data(piece)
            splitter.close()
            best = min(best, time.process_time() - start)
        return best

    assert seconds(80_000) / seconds(20_000) < 8
