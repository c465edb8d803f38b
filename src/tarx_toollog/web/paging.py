"""Lists in pages by key: the next page begins after the last row of this one, however much was added meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")

SIZE = 50
"""Rows of a page."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows of a list."""

    rows: Sequence[Row]
    after: int | None
    """Key that the next page begins behind; None: this is the last."""


def page(read: Callable[[int], Sequence[Row]], key: Callable[[Row], Any], size: int = SIZE) -> Page[Row]:
    """Return a page.

    Args:
        read: Gives at most so many rows.
        key: Gives the key of a row.
        size: Rows of a page.

    Example:
        >>> page(lambda n: [3, 5, 8][:n], lambda row: row, 2)
        Page(rows=[3, 5], after=5)
    """
    rows = read(size + 1)  # one more says whether there is a next page
    return Page(rows[:size], key(rows[size - 1]) if len(rows) > size else None)
