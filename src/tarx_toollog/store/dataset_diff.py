"""What has changed from one build of training data to another.

*Theory.* Both builds are read in the order of their examples' hashes and merged, so that memory does not grow with
them; the database sorts. Rows of one hash are one example, however often and in whichever order it was taken; of a
dialogue, which has a row for each of its exchanges, the one of its line is read. An
example that one build does not know by its hash may have been left out there before it had one, or may be another
example of the same exchange: those few are looked up by their exchange, a page at a time.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from tarx_toollog.store.datasets import IS_LINE, BuildRow
from tarx_toollog.store.schema import conversation, dataset_example, exchange

Change = Literal["added", "removed", "moved", "copies"]
CHANGES: tuple[Change, ...] = ("added", "removed", "moved", "copies")

_PAGE = 500  # changes at a time: well below SQLite's limit of bound parameters

_ROWS: sa.Select[Any] = (
    sa.select(
        dataset_example.c.example_hash,
        dataset_example.c.split,
        dataset_example.c.copies,
        dataset_example.c.reason,
        dataset_example.c.exchange_id,
        dataset_example.c.origin,
    )
    .where(
        dataset_example.c.dataset_build_id == sa.bindparam("build_id"),
        dataset_example.c.example_hash.is_not(None),
        IS_LINE,
    )
    .order_by(dataset_example.c.example_hash, dataset_example.c.seq)
)
_PLACES: sa.Select[Any] = (
    sa.select(exchange.c.id, exchange.c.uid, conversation.c.uid.label("conversation_uid"))
    .outerjoin(conversation, conversation.c.id == exchange.c.conversation_id)
    .where(exchange.c.id.in_(sa.bindparam("ids", expanding=True)))
)
# Of all builds: asked for one, SQLite would rather walk through the whole build than look the exchanges up.
_REASONS: sa.Select[Any] = (
    sa.select(dataset_example.c.dataset_build_id, dataset_example.c.exchange_id, dataset_example.c.reason)
    .where(dataset_example.c.exchange_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(dataset_example.c.dataset_build_id, dataset_example.c.seq)
)


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One example that is not the same in two builds."""

    change: Change
    """``added`` or ``removed``; ``moved`` to another split; other ``copies``."""
    example_id: str
    split_before: str | None
    split_after: str | None
    copies_before: int
    copies_after: int
    reason: str | None
    """Why the build that is without it left it out: a reason of the export, or of ``dataset_queries.ABSENT``."""
    origin: str | None
    exchange_uid: str | None = None
    conversation_uid: str | None = None


class _Example(NamedTuple):
    """All rows of one hash in one build."""

    hash: bytes
    split: str | None
    """None when it is not in. Several, where chance has torn them apart, in order."""
    copies: int
    reason: str | None
    exchange_id: int | None
    origin: str | None


class _Changed(NamedTuple):
    row: DiffRow
    exchange_id: int | None
    without: BuildRow | None
    """The build that says nothing of it."""


def diff(engine: sa.Engine, before: BuildRow, after: BuildRow) -> Iterator[DiffRow]:
    """Yield what is not the same in two builds, in the order of the examples' ids.

    Reads for as long as its caller takes rows.

    Args:
        engine: An engine that may only read.
        before: The one build.
        after: The other.
    """
    # One connection for everything: the engine may have only one. Its cursors do not disturb each other.
    with engine.connect() as connection:
        changes = _changes(_examples(connection, before), _examples(connection, after), before, after)
        while page := list(itertools.islice(changes, _PAGE)):
            yield from _described(connection, page)


def _examples(connection: sa.Connection, build: BuildRow) -> Iterator[_Example]:
    rows = connection.execution_options(yield_per=_PAGE).execute(_ROWS, {"build_id": build.id})
    for value, group in itertools.groupby(rows, lambda row: row.example_hash):
        yield _merged(value, list(group))


def _merged(value: bytes, rows: Sequence[sa.Row[Any]]) -> _Example:
    within = [row for row in rows if row.reason is None]
    first = (within or rows)[0]
    splits = ",".join(sorted({row.split for row in within})) or None
    return _Example(value, splits, sum(row.copies for row in within), first.reason, first.exchange_id, first.origin)


def _changes(old: Iterator[_Example], new: Iterator[_Example], before: BuildRow, after: BuildRow) -> Iterator[_Changed]:
    one, other = next(old, None), next(new, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.hash < other.hash):
            assert one is not None
            yield from _compared(one, None, after)
            one = next(old, None)
        elif one is None or other.hash < one.hash:
            yield from _compared(None, other, before)
            other = next(new, None)
        else:
            yield from _compared(one, other, None)
            one, other = next(old, None), next(new, None)


def _compared(one: _Example | None, other: _Example | None, without: BuildRow | None) -> Iterator[_Changed]:
    """Yield the change, if there is one, between what two builds say of an example."""
    was, now = (None if side is None else side.split for side in (one, other))
    copies = [0 if side is None else side.copies for side in (one, other)]
    if was == now and (was is None or copies[0] == copies[1]):
        return
    change: Change = "added" if was is None else "removed" if now is None else "moved" if was != now else "copies"
    shown = other if now is not None else one
    assert shown is not None
    outside = one if was is None else other
    reason = outside.reason if outside is not None and change in ("added", "removed") else None
    row = DiffRow(change, shown.hash.hex(), was, now, copies[0], copies[1], reason, shown.origin)
    yield _Changed(row, shown.exchange_id, without)


def _described(connection: sa.Connection, page: Sequence[_Changed]) -> Iterator[DiffRow]:
    ids = sorted({changed.exchange_id for changed in page if changed.exchange_id is not None})
    places = {row.id: row for row in connection.execute(_PLACES, {"ids": ids})}
    said = {
        (row.dataset_build_id, row.exchange_id): row.reason or "changed"
        for row in connection.execute(_REASONS, {"ids": ids})
    }
    for changed in page:
        row, place = changed.row, places.get(changed.exchange_id or 0)
        if place is not None:
            row = replace(row, exchange_uid=place.uid, conversation_uid=place.conversation_uid)
        if changed.without is not None:
            row = replace(row, reason=_absence(changed.without, changed.exchange_id, said))
        yield row


def _absence(build: BuildRow, exchange_id: int | None, said: Mapping[tuple[int, int], str]) -> str:
    if exchange_id is None:
        return "not_selected"
    silent = "logged_later" if exchange_id > build.last_exchange_id else "not_selected"
    return said.get((build.id, exchange_id), silent)
