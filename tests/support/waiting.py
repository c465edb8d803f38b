"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable


def eventually(is_so: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Wait until something is so; say whether it came to be in time."""
    deadline = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.002)
    return is_so()
