"""What the writer does when nobody chats: it indexes words and counts days, a little at a time.

*Theory.* A question must be quick, and a chat must not wait for it. So none of this is done with the exchange, all of
it can be left undone (search and counts are right without it), and each step is followed by a longer pause. A day of
many calls takes most of a second to count; SQLite does that without the interpreter's lock.
"""

import time

import sqlalchemy as sa

from tarx_toollog.store.engine import is_store_trouble, look_around
from tarx_toollog.store.search import catch_up
from tarx_toollog.store.tallies import changed_days, fold_changed

QUIET_S = 2.0
"""Seconds without anything to store before the first step."""
_MESSAGES = 200  # some 10 ms, in which a chat that comes has to share the interpreter
_PAUSE = 4  # times as long as the step before it took
_LOOK_S = 3600.0
_AGAIN_S = 30.0  # the day that it is changes with every chat


class Tidying:
    """Remembers what was tidied when. Used by one thread."""

    def __init__(self) -> None:
        self._count_at = 0.0
        self._look_at = 0.0

    def step(self, engine: sa.Engine) -> float | None:
        """Do a little, and return after how many seconds to come again; None: when there is something new."""
        try:
            return self._step(engine)
        except Exception as error:
            if is_store_trouble(error):
                return None  # whatever it is, storing the next exchange meets it too, and says so
            raise

    def _step(self, engine: sa.Engine) -> float | None:
        begun = time.monotonic()
        is_indexed = catch_up(engine, at_most=_MESSAGES) < _MESSAGES
        if is_indexed and begun >= self._count_at and fold_changed(engine, at_most=1):
            self._count_at = begun + (_AGAIN_S if not _has_changed(engine) else 0.0)
        took = time.monotonic() - begun
        if is_indexed and begun >= self._look_at:
            look_around(engine)
            self._look_at = begun + _LOOK_S
        if not is_indexed or (_has_changed(engine) and self._count_at <= begun):
            return took * _PAUSE
        return max(0.0, self._count_at - time.monotonic()) if _has_changed(engine) else None


def _has_changed(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        return bool(changed_days(connection))
