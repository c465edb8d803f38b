"""What belongs to what, as the schema says it: rows that go with another one, and rows that only lose a reference.

*Theory.* Which columns refer to a table is asked of the schema, so that a new one cannot be forgotten. A row goes with
the one that it is a part of (``PARTS``); every other reference becomes NULL. The order is that of the schema, what
refers before what is referred to.

A database looks for references to each row that is deleted. Most of the columns it looks into have no index, since
nobody else asks, and a look would read a whole table. So they get one for as long as much is deleted
(``quick_references``); what a killed process has left of these, the next one uses and drops.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.few import among_keys
from tarx_toollog.store.schema import (
    choice,
    conversation,
    dataset_example,
    exchange,
    label,
    message,
    metadata,
    node,
    raw_body,
    redaction,
    scenario,
    score,
    tool_call,
    tool_definition,
    tool_execution,
    tool_result,
    toolset,
    toolset_item,
    trial,
    turn,
    work_unit,
)

PARTS: Mapping[sa.Table, tuple[sa.Table, ...]] = {
    conversation: (turn,),
    exchange: (choice, tool_call, tool_result, redaction),
    tool_call: (tool_execution,),
    toolset: (toolset_item,),
    scenario: (trial, work_unit),
    trial: (score,),
}
"""Table → those whose rows go with one of its rows."""

SHARED = (node, message, toolset, tool_definition, raw_body)
"""Content-addressed tables, each before those that it refers to."""

_SHRINKS = (conversation, exchange, tool_call, label, scenario, trial, *SHARED)
_PREFIX = "retention"
CHUNK = 500  # keys of one step: its transaction is short

# A result without its call is one that was never paired; an example without its exchange must not look like a file's.
_LEFT_BEHIND: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("tool_result", "tool_call_id"): {"match_how": "none", "confidence": 0.0, "latency_ms": None},
    ("dataset_example", "exchange_id"): {
        "origin": sa.literal("removed exchange ")
        + sa.select(exchange.c.uid).where(exchange.c.id == dataset_example.c.exchange_id).scalar_subquery()
    },
}

Counts = Counter[str]
"""Rows by table."""


@cache
def referring(table: sa.Table) -> Sequence[sa.Column[Any]]:
    """Return the columns that refer to a table; those of tables that refer to others of them come first."""
    return [
        key.parent
        for other in reversed(metadata.sorted_tables)
        for key in sorted(other.foreign_keys, key=lambda key: key.parent.name)
        if key.column.table is table
    ]


@cache  # of statements: to make one costs more than to run it
def unreferenced(table: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition that nothing refers to a row, its own parts aside."""
    conditions = []
    for column in referring(table):
        if column.table not in PARTS.get(table, ()):
            held_by = column.table.alias().c[column.name] if column.table is table else column
            conditions.append(~sa.select(sa.literal(1)).where(held_by == table.c.id).correlate(table).exists())
    return sa.and_(*conditions)


def remove(connection: sa.Connection, table: sa.Table, keys: Sequence[int]) -> Counts:
    """Delete rows with all their parts, inside the caller's transaction; return how many of each table.

    What else refers to them refers to nothing then.
    """
    gone: Counts = Counter()
    if not keys:
        return gone
    for column in referring(table):
        child, is_hers = column.table, among_keys(column, list(keys))
        if child not in PARTS.get(table, ()):
            if child is table:
                is_hers = sa.and_(is_hers, ~among_keys(table.c.id, list(keys)))
            left = _LEFT_BEHIND.get((child.name, column.name), {})
            connection.execute(sa.update(child).where(is_hers).values({column.name: None, **left}))
        elif "id" in child.c:
            gone += remove(connection, child, list(connection.scalars(sa.select(child.c.id).where(is_hers))))
        else:
            gone[child.name] += connection.execute(sa.delete(child).where(is_hers)).rowcount
    gone[table.name] += connection.execute(sa.delete(table).where(among_keys(table.c.id, list(keys)))).rowcount
    return gone


def chunks(items: Sequence[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """Yield the items in lists of at most ``size``."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


@contextmanager
def quick_references(engine: sa.Engine) -> Iterator[None]:
    """Give each column that the database would have to look through an index, and drop them at the end."""
    try:
        for name, statement in _helpers():
            with engine.begin() as connection:
                connection.exec_driver_sql(f"CREATE INDEX IF NOT EXISTS {name} {statement}")
        yield
    finally:
        with engine.begin() as connection:
            drop_helpers(connection)


def drop_helpers(connection: sa.Connection) -> None:
    """Drop these indexes, also those that a killed process left."""
    for name, _ in _helpers():
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")


def _helpers() -> Iterator[tuple[str, str]]:
    columns = [column for table in _SHRINKS for column in referring(table) if not _has_index(column)]
    for column in (*columns, message.c.first_exchange_id):
        table = column.table.name
        # SQLite takes IS NOT NULL for nothing where a column cannot be NULL, and then does not know the index again.
        where = f" WHERE {column.name} IS NOT NULL" if column.nullable else ""
        yield f"{_PREFIX}_{table}_{column.name}", f"ON {table} ({column.name}){where}"


def _has_index(column: sa.Column[Any]) -> bool:
    keys = [constraint for constraint in column.table.constraints if isinstance(constraint, sa.UniqueConstraint)]
    lists: list[Any] = [column.table.primary_key, *keys, *column.table.indexes]
    return column.unique is True or any(next(iter(each.columns), None) is column for each in lists)
