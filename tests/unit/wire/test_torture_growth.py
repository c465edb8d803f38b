"""Time and memory of decoding stay in step with the bytes, for what servers send and for what hurts."""

import gc
import time
import tracemalloc
from dataclasses import replace

import pytest

from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Chunk, RawExchange
from tests.support.hostile import HOSTILE, ORDINARY, WATCHED, Shape
from tests.support.limits import LIMITS

MIB = 2**20
FAST = 0.05
"""Seconds in which fresh memory and the garbage collector count for more than the bytes."""
SHAPES = (*ORDINARY, *HOSTILE, *WATCHED)


def seconds(raw: RawExchange) -> float:
    """Return CPU time: other processes on the machine do not count, nor does what the tests before have left behind."""
    gc.freeze()  # the garbage collector would look through all of that, again and again
    try:
        start = time.process_time()
        decode(raw)
        return time.process_time() - start
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_time_to_decode_grows_in_step_with_the_bytes(shape: Shape) -> None:
    """Four times the bytes take four times the time; where the time is quadratic, they take sixteen times."""
    size = MIB // 4
    if seconds(shape.build(size)) < FAST:
        size *= 4
    small, large = shape.build(size), shape.build(4 * size)
    best_small = best_large = float("inf")
    for _ in range(4):
        best_small, best_large = min(best_small, seconds(small)), min(best_large, seconds(large))
        if best_large < 9 * best_small + FAST:
            return
    assert best_large < 9 * best_small + FAST


SMALL = ("chat: text", "chat: pieces of one call", "ollama: text", "empty events", "one-byte events", "empty lines")
STREAMS = [shape for shape in SHAPES if shape.name in SMALL]


@pytest.mark.parametrize("shape", STREAMS, ids=lambda shape: shape.name)
def test_the_memory_to_decode_a_stream_is_less_than_twice_its_bytes_even_in_one_piece(shape: Shape) -> None:
    raw = shape.build(MIB)
    raw = replace(raw, chunks=(Chunk(1, raw.response_body),))

    assert peak_of(raw) < 2 * MIB


def peak_of(raw: RawExchange) -> int:
    """Return the bytes that decoding takes beside the exchange itself."""
    tracemalloc.start()
    try:
        decode(raw)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_takes_no_more_memory_than_its_limit() -> None:
    bomb = next(limit for limit in LIMITS if limit.what == "decompressed body, by size").build()

    # The body of 32 MiB, once in the pieces that were decoded, once joined, once as text, and the text stripped.
    assert peak_of(bomb) < 5 * 32 * MIB
