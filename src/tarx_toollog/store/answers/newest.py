"""The newest rows that fit, a page at a time, in a time that does not depend on how rare they are.

*Theory.* A list goes newest first, by key. Where the rows that fit are common, a few steps back fill the page. Where a
filter has an index and fits little (``store.few``), its rows are taken and the rest is never looked at. What is left
are rare rows without an index: the log is walked through backwards, in windows, until the page is full or the time is
up; the page then says how far it has looked, and the next one goes on from there.
"""

import json
import time
from collections.abc import Callable, Collection, Generator, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from tarx_toollog.store.types import among

BUDGET_S = 0.08
"""Seconds that one page walks through the log: it has to be there in 200 ms, with all that is read afterwards."""
TIMEOUT_S = 5.0
"""Seconds of a condition that a person wrote: a page is no place to wait for it."""
_WINDOW = 100  # keys of the first part; the next is twice as wide while that takes little time
_LITTLE_S = 0.01

_Parts = Generator[tuple[int, sa.ColumnElement[bool]], int, None]


class Newest(NamedTuple):
    """The keys of a page, newest first."""

    keys: list[int]
    before: int | None
    """Key below which the next page goes on; None: there is nothing more."""
    is_full: bool
    """Whether the page ends because it is full, and not because the time was up."""


def newest(
    connection: sa.Connection,
    key: sa.Column[int],
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    rare: Collection[int] | None,
    before: int | None,
    size: int,
    clock: Callable[[], float] = time.monotonic,
) -> Newest:
    """Return the newest keys that fit.

    Args:
        connection: May only read.
        key: The key of the table that is listed.
        conditions: What fits.
        rare: The few keys that can fit at all; None where they are many.
        before: Only lower keys.
        size: At most this many.
        clock: Tells how long it takes.
    """
    top = before if before is not None else (connection.scalar(sa.select(sa.func.max(key))) or 0) + 1
    query = sa.select(key).where(*conditions).order_by(key.desc())
    parts = _windows(key, top) if rare is None else _chunks(key, sorted(one for one in rare if one < top))
    found: list[int] = []
    low, width = top, _WINDOW
    began = now = clock()
    next(parts)
    while len(found) <= size and now < began + BUDGET_S:
        try:
            low, part = parts.send(width)
        except StopIteration:
            return Newest(found[:size], None, True)
        before_it = now
        found += connection.scalars(query.where(part).limit(size + 1 - len(found)))
        now = clock()
        width *= 2 if now - before_it < _LITTLE_S else 1
    if len(found) > size:
        return Newest(found[:size], found[size - 1], True)
    return Newest(found, low if low > 1 else None, low <= 1)


def _windows(key: sa.Column[int], top: int) -> _Parts:
    """Yield parts of a table, newest first, each with its lowest key; they are as wide as is sent."""
    low = top
    width = yield low, sa.true()
    while low > 1:
        high, low = low, max(1, low - width)
        width = yield low, sa.and_(key >= low, key < high)


def _chunks(key: sa.Column[int], rare: list[int]) -> _Parts:
    """Yield the same of the keys that can fit at all."""
    width = yield 0, sa.true()
    while rare:
        part = rare[-width:]
        del rare[-width:]
        some = among(key, sa.bindparam(None, json.dumps(part), sa.Text))
        width = yield part[0] if rare else 1, some
