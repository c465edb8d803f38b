"""What a history repeats is read once.

*Theory.* A client sends its whole history and all of its tools with every request, so nearly every message that arrives
was read before. An entry is known by its JSON text, key order included: the same text is read to the same object,
which nobody changes. What others compute of it (``Message.memo``) is then computed once as well.

Bounded by what it holds, and by the length of an entry; whatever is forgotten is read again.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tarx_toollog.canonical import json_text

MAX_CHARS = 4 * 2**20  # of the texts that are known by; the objects take about three times that
MAX_ENTRY = 32 * 2**10  # a longer message is rare, and one of them would drive out a hundred
T = TypeVar("T")

_known: dict[tuple[Any, str], Any] = {}
_held = 0
_lock = threading.Lock()  # the writer thread and replays decode at the same time


def familiar(read: Callable[[Mapping[str, Any]], T], raw: Mapping[str, Any]) -> T:
    """Return ``read(raw)``: the same object for the same text.

    Args:
        read: A function of the entry alone.
        raw: A message or a tool as it stood in a request.
    """
    try:
        text = json_text(raw)
    except (RecursionError, ValueError):
        return read(raw)
    found: T | None = _known.get((read, text))
    if found is not None or len(text) > MAX_ENTRY:
        return read(raw) if found is None else found
    made = read(raw)
    _keep((read, text), made)
    return made


def forget() -> None:
    """Drop everything."""
    global _held
    with _lock:
        _known.clear()
        _held = 0


def _keep(key: tuple[Any, str], made: Any) -> None:
    global _held
    with _lock:
        if key not in _known:
            _known[key] = made
            _held += len(key[1])
        while _held > MAX_CHARS:
            oldest = next(iter(_known))
            del _known[oldest]
            _held -= len(oldest[1])
