"""Figures that take seconds to count, kept in the process for as long as nothing that they are made of changed."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The figures that were asked for last, each with the state of what it was made of.

    Args:
        size: How many are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()  # each page is made in a thread of its own
        self._found: OrderedDict[Hashable, tuple[bytes, Value]] = OrderedDict()

    def get(self, key: Hashable, state: Callable[[], bytes], make: Callable[[], Value]) -> Value:
        """Return what belongs to a key, made anew unless the state is the one that it was made in.

        What was made while the state changed is returned and not kept: nobody knows which of the two it shows.

        Example:
            >>> kept: Kept[int] = Kept(8)
            >>> [kept.get("a", lambda: state, lambda: 10 * int(state)) for state in (b"1", b"1", b"2")]
            [10, 10, 20]
        """
        before = state()
        with self._lock:
            found = self._found.get(key)
            if found is not None and found[0] == before:
                self._found.move_to_end(key)
                return found[1]
        value = make()
        if state() == before:
            with self._lock:
                self._found[key] = before, value
                self._found.move_to_end(key)
                if len(self._found) > self._size:
                    self._found.popitem(last=False)
        return value
