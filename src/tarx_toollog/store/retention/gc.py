"""Shared rows that nothing refers to any more: histories, messages, tool definitions, raw bodies, templates.

*Theory.* Nothing that is stored refers to such a row, but a process that records remembers keys of rows that it used
(``Content``). It may use one that went: then the database refuses, the process forgets its keys and stores the exchange
anew. What must not happen is that SQLite gives the key of a deleted row to another one, which it does with the highest:
so the newest row of each table stays while somebody records.

Candidates are looked for without a lock. Each transaction deletes some and asks again whether nothing refers to them.
Histories go from their ends towards their beginnings.

A message whose first exchange went gets the next one that has it. The index of words holds the words of messages that
went, and SQLite cannot take single ones out of it; so it is made anew.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import sqlalchemy as sa

from tarx_toollog.store.few import among_keys
from tarx_toollog.store.retention.counting import Doomed, Removed, count
from tarx_toollog.store.retention.place import Place, Steps
from tarx_toollog.store.retention.rows import SHARED, Counts, chunks, quick_references, remove, unreferenced
from tarx_toollog.store.schema import (
    SEARCH_TABLE,
    chat_template,
    choice,
    exchange,
    message,
    model_build,
    node,
)
from tarx_toollog.store.search import catch_up, count_waiting, forget_index, indexed_up_to

_PAGE = 5_000  # keys that are looked at in one query


def collect(place: Place, steps: Steps) -> Removed:
    """Delete the shared rows that nothing refers to; return what went. May be interrupted, and run again."""
    with quick_references(place.writer):
        return collect_quickly(place, steps)


def collect_quickly(place: Place, steps: Steps) -> Removed:
    """Do what ``collect`` does, where every reference has an index."""
    gone: Counts = Counts()
    with place.reader.connect() as connection:
        mark = indexed_up_to(connection)
        tables = (*SHARED, chat_template)
        ends = {table: connection.scalar(sa.select(sa.func.max(table.c.id))) or 0 for table in tables}
    lost: list[int] = []
    for table, end in ends.items():
        steps.begin(f"rows of {table.name}", end)
        waiting = _unreferenced_pages(place, table, end, steps)
        if table is node:
            _sweep_histories(place, waiting, gone)
            continue
        for keys in waiting:
            _delete(place, table, keys, gone)
            lost += keys if table is message else []
    _say_who_brought(place)
    if any(key <= mark for key in lost):
        _make_index_anew(place, steps)
    return Removed(dict(+gone))


def would_collect(place: Place) -> Removed:
    """Return what ``collect`` would delete."""
    with place.reader.connect() as connection:
        return count(connection, Doomed())


def _is_free(place: Place, table: sa.Table) -> sa.ColumnElement[bool]:
    if table is chat_template:
        named = sa.select(sa.literal(1)).where(model_build.c.chat_template_hash == chat_template.c.hash)
        return ~named.exists()
    free = unreferenced(table)
    if place.is_sqlite and place.is_shared:
        newest = table.alias("newest")
        free = sa.and_(free, table.c.id < sa.select(sa.func.max(newest.c.id)).scalar_subquery())
    return free


def _unreferenced_pages(place: Place, table: sa.Table, end: int, steps: Steps) -> Iterator[list[int]]:
    """Yield the keys of rows up to ``end`` that nothing refers to."""
    is_free = _is_free(place, table)
    for start in range(0, end, _PAGE):
        within = sa.and_(table.c.id > start, table.c.id <= start + _PAGE)
        with place.reader.connect() as connection:
            keys = list(connection.scalars(sa.select(table.c.id).where(within, is_free).order_by(table.c.id)))
        if keys:
            yield keys
        steps.advance(min(_PAGE, end - start))


def _delete(place: Place, table: sa.Table, keys: Sequence[int], gone: Counts) -> list[sa.Row[tuple[int, ...]]]:
    """Delete those of the rows that nothing refers to now; return them."""
    deleted: list[sa.Row[tuple[int, ...]]] = []
    for some in chunks(keys):
        begun = time.monotonic()
        with place.storing() as connection:
            query = sa.select(*table.c).where(among_keys(table.c.id, some), _is_free(place, table))
            rows = connection.execute(query.with_only_columns(table.c.id, *_above(table))).all()
            free = [row.id for row in rows]
            if table is message and not place.is_sqlite:
                words = sa.text(f"DELETE FROM {SEARCH_TABLE} WHERE message_id = ANY(:keys)")  # noqa: S608 - a name of ours
                connection.execute(words, {"keys": free})
            gone.update(remove(connection, table, free))
            deleted += rows
        place.give_way(begun)
    return deleted


def _above(table: sa.Table) -> list[sa.Column[int]]:
    return [node.c.parent_id] if table is node else []


def _sweep_histories(place: Place, ends: Iterator[list[int]], gone: Counts) -> None:
    for keys in ends:
        waiting = list(keys)
        while waiting:
            deleted = _delete(place, node, waiting, gone)
            waiting = sorted({row.parent_id for row in deleted if row.parent_id is not None})


def _say_who_brought(place: Place) -> None:
    """Give messages whose first exchange went the next exchange of live traffic that has them."""
    with place.reader.connect() as connection:
        found = connection.execute(_next_bringers()).all()
    statement = sa.update(message).where(message.c.id == sa.bindparam("key"), message.c.first_exchange_id.is_(None))
    statement = statement.values(first_exchange_id=sa.bindparam("next"))
    for some in chunks(found):
        begun = time.monotonic()
        with place.storing() as connection:
            connection.execute(statement, [{"key": row.message_id, "next": row.exchange_id} for row in some])
        place.give_way(begun)


def _next_bringers() -> sa.Select[tuple[int, int]]:
    """Return the query for the first exchange of each message that has none: down the tree from where it stands."""
    is_lost = message.c.first_exchange_id.is_(None)
    path = sa.select(node.c.id, node.c.message_id).join(message, message.c.id == node.c.message_id).where(is_lost)
    below = path.cte("below", recursive=True)
    child = node.alias("child")
    below = below.union(sa.select(child.c.id, below.c.message_id).join(below, child.c.parent_id == below.c.id))
    is_live = exchange.c.run_id.is_(None)
    ways = [
        sa.select(below.c.message_id, exchange.c.id.label("exchange_id"))
        .join(exchange, exchange.c[column] == below.c.id)
        .where(is_live)
        for column in ("system_node_id", "input_node_id", "output_node_id")
    ]
    ways.append(
        sa.select(choice.c.message_id, choice.c.exchange_id)
        .join(message, message.c.id == choice.c.message_id)
        .join(exchange, exchange.c.id == choice.c.exchange_id)
        .where(is_lost, is_live)
    )
    found = sa.union_all(*ways).subquery()
    first = sa.func.min(found.c.exchange_id).label("exchange_id")
    return sa.select(found.c.message_id, first).group_by(found.c.message_id)


def _make_index_anew(place: Place, steps: Steps) -> None:
    if not place.is_sqlite:
        return
    with place.storing() as connection:
        forget_index(connection)
    with place.reader.connect() as connection:
        steps.begin("messages indexed", count_waiting(connection))
    told: Callable[[int], None] = steps.advance
    catch_up(place.writer, indexed=told)
