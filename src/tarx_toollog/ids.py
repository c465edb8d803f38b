"""Identifiers: UUIDv7 (RFC 9562 §5.7), time-ordered, and strictly increasing within a process."""

import os
import random
import threading
import time

_lock = threading.Lock()  # two threads must not mint the same (millisecond, counter) pair
_last_ms = 0
_counter = 0
_COUNTER_BITS = 12
# Not os.urandom: an id must be unique, not secret, and that call costs 10 µs on the way of a chat. A generator of
# our own, because programs seed the global one with constants; a forked child must not repeat its parent's ids.
_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)


def uuid7(*, now_ns: int | None = None) -> str:
    """Return a new UUIDv7 in its 36-character text form.

    The 12 bits after the version are a counter that starts at random, in its lower half, in each millisecond
    (RFC 9562 §6.2, method 1), so ids of one process sort in the order in which they were made, also when the wall clock
    steps back.

    Args:
        now_ns: Unix time in nanoseconds; the wall clock when left out.
    """
    global _last_ms, _counter
    ms = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    bits = _random.getrandbits(62 + 11)
    with _lock:
        if ms > _last_ms:
            _last_ms = ms
            _counter = bits >> 62
        else:
            _counter += 1
            if _counter >> _COUNTER_BITS:
                _last_ms += 1
                _counter = 0
        value = ((_last_ms & 0xFFFF_FFFF_FFFF) << 80) | (0x7 << 76) | (_counter << 64)
    value |= (0b10 << 62) | (bits & 0x3FFF_FFFF_FFFF_FFFF)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
