"""Filters that mean few exchanges: these are taken, where a list would otherwise read the whole log to find them.

*Theory.* A list is read from its newest row on. That is quick where what is meant is common, and reads everything where
it is rare. So each filter is asked first for the exchanges that it means, and no further than ``FEW``: a common one has
so many after a moment; a rare one is known then, and the list is of those and of no others. Where no index knows what a
filter means, that may read the whole log after all: a command may take the time, a page (``rare_exchanges``) may not.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.filters import (
    Filters,
    build_ids,
    conversation_ids,
    exchange_conditions,
    model_is,
    times_within,
    turn_conditions,
)
from tarx_toollog.store.label_filter import labelled_rows
from tarx_toollog.store.schema import conversation, exchange, tool_call, turn
from tarx_toollog.store.types import among
from tarx_toollog.store.where import read_where, where_rows

FEW = 10_000
"""Exchanges that can be sorted in the time that a person does not notice."""

_Query = tuple[str, sa.Select[Any]]  # a field of the filters, and the keys of the exchanges that it means
_OF_ONE_EXCHANGE = ("outcomes", "models", "builds", "labels")


def few_exchanges(connection: sa.Connection, filters: Filters) -> list[int] | None:
    """Return the keys of the exchanges that are meant, if one of the filters means few; None where all mean many.

    Args:
        connection: One that may ask what the filters ask (``where.heeding``).
        filters: What is meant.
    """
    for field, query in _rows(filters):
        if (keys := _if_few(connection, query)) is not None:
            rest = exchange_conditions(_without(filters, field))
            return list(connection.scalars(sa.select(exchange.c.id).where(among_keys(exchange.c.id, keys), *rest)))
    return None


def rare_exchanges(connection: sa.Connection, filters: Filters) -> set[int] | None:
    """Return the keys of the few exchanges that can be meant, where an index finds them; None where all mean many.

    Args:
        connection: May only read.
        filters: What is meant.
    """
    keys = _few(connection, _indexed(filters))
    return None if keys is None else set(keys)


def rare_conversations(connection: sa.Connection, filters: Filters) -> set[int] | None:
    """Return the keys of the conversations of these exchanges; None where all filters mean many.

    Args:
        connection: May only read.
        filters: What is meant.
    """
    keys = _few(connection, _indexed(filters))
    if keys is None:
        return None
    of_them = sa.select(exchange.c.conversation_id).where(among_keys(exchange.c.id, keys))
    return set(connection.scalars(of_them.where(exchange.c.conversation_id.is_not(None))))


def turns_meant(
    connection: sa.Connection, filters: Filters, known: list[int] | None = None
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on ``turn`` that say what is meant: ``turn_conditions``, and quick where that is rare.

    Args:
        connection: One that may ask what the filters ask (``where.heeding``).
        filters: What is meant.
        known: What ``few_exchanges`` returned for them, where that was asked already.
    """
    # A turn is meant by when it began, not by when its exchanges did.
    for field, query in _rows(replace(filters, since=None, until=None)):
        is_known = known is not None and _without(filters, field) == Filters(limit=filters.limit)
        keys = known if is_known else _if_few(connection, query)
        if keys is not None:
            place = sa.select(exchange.c.conversation_id, exchange.c.turn_no).where(among_keys(exchange.c.id, keys))
            # What asks for one exchange of the turn is answered by the place, and would take its time for each turn.
            rest = _without(filters, field) if field in _OF_ONE_EXCHANGE else filters
            return [sa.tuple_(turn.c.conversation_id, turn.c.turn_no).in_(place), *turn_conditions(rest)]
    return turn_conditions(filters)


def within_keys(connection: sa.Connection, filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Return up to which key exchanges of a period, or of a build, lie: what came after is not looked at.

    Args:
        connection: May only read.
        filters: What is meant.
    """
    key, found = exchange.c.id, list[sa.ColumnElement[bool]]()
    if filters.until is not None:
        each = key + 0  # without an index of its own, so that the one on the moment is taken
        times = times_within(exchange.c.started_at, filters)
        found.append(key <= (connection.scalar(sa.select(sa.func.max(each)).where(*times)) or 0))
    if filters.builds:
        latest = sa.select(sa.func.max(key)).where(exchange.c.model_build_id.in_(build_ids(filters)))
        found.append(key <= (connection.scalar(latest) or 0))
    return found


def among_keys(column: sa.Column[int], keys: list[int]) -> sa.ColumnElement[bool]:
    """Say that a key is one of a list of any length."""
    return among(column, sa.bindparam("keys", json.dumps(keys), sa.String, unique=True))


def _few(connection: sa.Connection, queries: Iterable[_Query]) -> list[int] | None:
    """Return the keys of the exchanges that one of the filters means, if there is one that means few."""
    found = (_if_few(connection, query) for _, query in queries)
    return next((keys for keys in found if keys is not None), None)


def _without(filters: Filters, field: str) -> Filters:
    """Return the filters but for the one that was asked already: for each row, it may take its time."""
    fields = ("since", "until") if field == "since" else (field,)
    nothing: dict[str, Any] = {name: getattr(Filters(), name) for name in fields}
    return replace(filters, **nothing)


def _if_few(connection: sa.Connection, query: sa.Select[Any]) -> list[int] | None:
    keys = list(connection.scalars(query.limit(FEW + 1)))
    return keys if len(keys) <= FEW else None


def _rows(filters: Filters) -> Iterator[_Query]:
    """Yield each filter with a query for the exchanges that it means; those that an index answers come first."""
    yield from _indexed(filters)
    key = sa.select(exchange.c.id)
    if filters.splits:
        of_split = sa.select(conversation.c.id).where(conversation.c.split.in_(sorted(filters.splits)))
        yield "splits", key.where(exchange.c.conversation_id.in_(of_split))
    if filters.models:
        yield "models", key.where(model_is(filters))
    if filters.where is not None:
        yield "where", where_rows(read_where(filters.where))


def _indexed(filters: Filters) -> Iterator[_Query]:
    """Yield these queries for the filters of which an index knows what they mean."""
    key = sa.select(exchange.c.id)
    if times := times_within(exchange.c.started_at, filters):
        yield "since", key.where(*times)
    if filters.conversation:
        yield "conversation", key.where(exchange.c.conversation_id.in_(conversation_ids(filters.conversation)))
    if filters.tools:
        yield "tools", sa.select(tool_call.c.exchange_id).where(tool_call.c.name.in_(sorted(filters.tools)))
    if filters.outcomes and "completed" not in filters.outcomes:
        # The words of the index, so that SQLite sees that it may be used.
        is_indexed = sa.text("exchange.outcome <> 'completed'")
        yield "outcomes", key.where(is_indexed, exchange.c.outcome.in_(sorted(filters.outcomes)))
    if filters.builds:
        yield "builds", key.where(exchange.c.model_build_id.in_(build_ids(filters)))
    if filters.labels:
        yield "labels", labelled_rows(filters.labels)
