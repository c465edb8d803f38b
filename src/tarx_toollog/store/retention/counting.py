"""What would go: rows of each table, and what they take. Nothing is written.

*Theory.* The rows of dialogues go with these, as ``rows.PARTS`` says. A shared row goes when none of those that stay
refers to it; of histories this is asked from their ends towards their beginnings, by one query that walks the tree.
So the answer also holds what nothing referred to before, which goes as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.few import among_keys
from tarx_toollog.store.retention.rows import PARTS, SHARED, referring
from tarx_toollog.store.schema import (
    call_uid,
    chat_template,
    conversation,
    exchange,
    label,
    message,
    model_build,
    node,
    scenario,
    tool_call,
)

_NUMBER_BYTES = 4  # what SQLite takes for a key or a count, as a rule


@dataclass(frozen=True, slots=True)
class Doomed:
    """The keys of what is to go, with all that belongs to it."""

    conversations: Sequence[int] = ()
    exchanges: Sequence[int] = ()
    """Of these conversations, and others."""
    scenarios: Sequence[int] = ()

    def keys(self, table: sa.Table) -> list[int] | None:
        """Return the keys of the rows of a table; None where it is no table of these."""
        named = {conversation: self.conversations, exchange: self.exchanges, scenario: self.scenarios}
        return list(named[table]) if table in named else None


@dataclass(slots=True)
class Removed:
    """What went, or would go."""

    rows: dict[str, int] = field(default_factory=dict)
    """Rows by table, without those of which none goes."""
    n_bytes: int | None = None
    """What the rows hold, without indexes; None where it was not counted."""


def count(connection: sa.Connection, doomed: Doomed) -> Removed:
    """Return what would go with these, and what nothing refers to then.

    Args:
        connection: One transaction; reading is enough.
        doomed: What is to go.
    """
    found = Removed(n_bytes=0)
    parts = [part for parts in PARTS.values() for part in parts if part.name != "toolset_item"]
    facts = [(table, _goes(table, doomed)) for table in (conversation, exchange, scenario, *parts)]
    shared = [(table, ~_stays(table, doomed)) for table in (*SHARED, PARTS[SHARED[2]][0], chat_template)]
    for table, condition in (*facts, (label, _label_goes(doomed)), *shared):
        query = sa.select(sa.func.count(), _size(connection, table)).select_from(table).where(condition)
        n, n_bytes = connection.execute(query).one()
        if n:
            found.rows[table.name] = n
            found.n_bytes = (found.n_bytes or 0) + int(n_bytes)
    return found


def nothing_else_says(doomed: Doomed) -> sa.ColumnElement[bool]:
    """Return the condition that a message goes with these."""
    return ~_stays(message, doomed)


def _goes(table: sa.Table, doomed: Doomed) -> sa.ColumnElement[bool]:
    """Return the condition that a row of a dialogue, or of a replay, is doomed."""
    keys = doomed.keys(table)
    if keys is not None:
        return among_keys(table.c.id, keys)
    owners = [owner for owner, parts in PARTS.items() if table in parts]
    columns = [(column, owner) for owner in owners for column in referring(owner) if column.table is table]
    conditions = []
    for column, owner in columns:
        owned = doomed.keys(owner)
        if owned is not None:
            conditions.append(among_keys(column, owned))
        else:
            conditions.append(column.in_(sa.select(owner.c.id).where(_goes(owner, doomed))))
    return sa.or_(*conditions)


def _stays(table: sa.Table, doomed: Doomed) -> sa.ColumnElement[bool]:
    """Return the condition that something refers to a shared row that stays itself."""
    if table is chat_template:
        named = sa.select(model_build.c.chat_template_hash).where(model_build.c.chat_template_hash.is_not(None))
        return chat_template.c.hash.in_(named)
    if table not in SHARED:  # an item of a toolset
        column = table.c.toolset_id
        return column.in_(_kept_keys(column.table.metadata.tables["toolset"], doomed))
    return table.c.id.in_(_kept_keys(table, doomed))


def _kept_keys(table: sa.Table, doomed: Doomed) -> Any:
    """Return the query for the keys of a shared table that something refers to."""
    queries = []
    for column in referring(table):
        if column.table in (table, *PARTS.get(table, ())):
            continue
        is_shared = column.table in SHARED or column.table.name == "toolset_item"
        remains = _stays(column.table, doomed) if is_shared else ~_goes(column.table, doomed)
        queries.append(sa.select(column.label("id")).where(column.is_not(None), remains))
    if table is not node:
        return sa.union(*queries)
    ends = sa.union(*queries).subquery()
    path = sa.select(ends.c.id).cte("kept_node", recursive=True)
    above = sa.select(node.c.parent_id).join(path, path.c.id == node.c.id).where(node.c.parent_id.is_not(None))
    return sa.select(path.union(above).c.id)


def _label_goes(doomed: Doomed) -> sa.ColumnElement[bool]:
    of_exchanges, of_conversations = _goes(exchange, doomed), _goes(conversation, doomed)
    calls = sa.select(call_uid()).join(exchange, exchange.c.id == tool_call.c.exchange_id)
    uids = {
        "conversation": sa.select(conversation.c.uid).where(of_conversations),
        "exchange": sa.select(exchange.c.uid).where(of_exchanges),
        "tool_call": calls.where(of_exchanges),
    }
    return sa.or_(
        *(sa.and_(label.c.target_type == kind, label.c.target_uid.in_(query)) for kind, query in uids.items())
    )


def _size(connection: sa.Connection, table: sa.Table) -> sa.ColumnElement[Any]:
    """Return how many bytes the values of all rows take together."""
    is_sqlite = connection.dialect.name == "sqlite"
    sizes: list[sa.ColumnElement[Any]] = []
    for column in table.columns:
        if not isinstance(column.type, sa.LargeBinary | sa.String | sa.types.TypeDecorator):
            sizes.append(sa.literal_column(str(_NUMBER_BYTES)))
            continue
        plain: sa.ColumnElement[Any] = sa.literal_column(f"{table.name}.{column.name}")
        data = sa.func.length(sa.cast(plain, sa.LargeBinary)) if is_sqlite else sa.func.octet_length(plain)
        is_moment = isinstance(column.type, sa.types.TypeDecorator) and isinstance(column.type.impl, sa.DateTime)
        sizes.append(sa.literal_column("8") if is_moment and not is_sqlite else sa.func.coalesce(data, 0))
    total = sizes[0]
    for size in sizes[1:]:
        total = total + size
    return sa.func.coalesce(sa.func.sum(total), 0)
