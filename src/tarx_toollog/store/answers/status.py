"""What a log holds, in figures that a log of any size has ready: for ``toollog status`` and the doctor.

``v_health`` says more, and counts what has no index: on a million calls that takes seconds.
"""

from typing import Any

import sqlalchemy as sa

from tarx_toollog.model import Outcome
from tarx_toollog.store.schema import conversation, exchange, gap, tool_result
from tarx_toollog.store.tallies import tallied

Row = dict[str, Any]


def status(engine: sa.Engine) -> Row:
    """Return how much live traffic there is, how much of it did not end well, and the first and last capture.

    A call is unanswered when it was right and no result came back for it.
    """
    with engine.connect() as connection:
        found = {**_outcomes(connection), **_calls(connection)}
        found["exchanges"] = _count(connection, exchange) - _count(connection, exchange, exchange.c.run_id.is_not(None))
        found["results_without_call"] = _count(connection, tool_result, tool_result.c.tool_call_id.is_(None))
        found["conversations"] = _count(connection, conversation)
        found["gaps"] = connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(gap.c.n), 0))) or 0
        live = sa.select(exchange.c.started_at).where(exchange.c.run_id.is_(None)).limit(1)
        found["first_at"] = connection.scalar(live.order_by(exchange.c.started_at))
        found["last_at"] = connection.scalar(live.order_by(exchange.c.started_at.desc()))
    return found


def _count(connection: sa.Connection, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table).where(*conditions)) or 0


def _outcomes(connection: sa.Connection) -> Row:
    is_indexed = sa.text("exchange.outcome <> 'completed'")  # the words of the index
    query = sa.select(exchange.c.outcome, sa.func.count().label("n")).where(is_indexed, exchange.c.run_id.is_(None))
    ended = {row.outcome: row.n for row in connection.execute(query.group_by(exchange.c.outcome))}
    n_open = ended.pop(Outcome.OPEN, 0)
    return {
        "not_completed": sum(ended.values()),
        "open": n_open,
        "interrupted": ended.get(Outcome.INTERRUPTED, 0),
    }


def _calls(connection: sa.Connection) -> Row:
    counted = tallied(connection, "calls", ("tool",))
    return {
        "tool_calls": sum(row["n_calls"] for row in counted),
        "unanswered_calls": sum(row["n_unanswered"] for row in counted),
    }
