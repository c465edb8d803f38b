"""Turns: the one derived table. A turn's row is made anew from its exchanges when one of them has changed."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tarx_toollog.model import Outcome
from tarx_toollog.store.schema import exchange, tool_call, tool_result, turn

TurnKey = tuple[int, int]
"""Conversation and number of a turn."""

_CONVERSATION: sa.BindParameter[int] = sa.bindparam("conversation")
_NUMBER: sa.BindParameter[int] = sa.bindparam("number")
_STEPS = (
    sa.select(
        exchange.c.id,
        exchange.c.user_message_id,
        exchange.c.outcome,
        exchange.c.n_tool_calls,
        exchange.c.n_leaked_calls,
        exchange.c.started_at,
        exchange.c.total_ms,
    )
    .where(
        exchange.c.conversation_id == _CONVERSATION,
        exchange.c.turn_no == _NUMBER,
        # Inbound exchanges that made others do not count: the model answered the inner ones.
        exchange.c.n_inner == 0,
    )
    .order_by(exchange.c.step_no, exchange.c.id)
)
_CALLS = (
    sa.select(
        tool_call.c.exchange_id,
        tool_call.c.name,
        tool_call.c.argument_state,
        tool_call.c.schema_state,
        tool_call.c.offered,
        tool_call.c.complete,
        tool_call.c.origin,
        tool_result.c.id.label("result_id"),
        tool_result.c.is_error,
    )
    .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
    .where(tool_call.c.exchange_id.in_(sa.bindparam("exchanges", expanding=True)))
    .order_by(tool_call.c.step_no, tool_call.c.exchange_id, tool_call.c.choice, tool_call.c.ordinal)
)
_WHERE = sa.and_(turn.c.conversation_id == _CONVERSATION, turn.c.turn_no == _NUMBER)
_UPDATE = sa.update(turn).where(_WHERE)
_DELETE = sa.delete(turn).where(_WHERE)
_INSERT = sa.insert(turn)


def refresh_turns(connection: sa.Connection, turns: Iterable[TurnKey]) -> None:
    """Make the rows of these turns anew."""
    for conversation_id, turn_no in sorted(turns):
        _refresh(connection, conversation_id, turn_no)


def _refresh(connection: sa.Connection, conversation_id: int, turn_no: int) -> None:
    place = {"conversation": conversation_id, "number": turn_no}
    steps: list[sa.Row[Any]] = list(connection.execute(_STEPS, place))
    if not steps:
        connection.execute(_DELETE, place)
        return
    calls: list[sa.Row[Any]] = []
    n_leaked = 0
    if any(step.n_tool_calls or step.n_leaked_calls for step in steps):
        rows: list[sa.Row[Any]] = list(connection.execute(_CALLS, {"exchanges": [step.id for step in steps]}))
        calls = [row for row in rows if row.origin != "leaked_text"]
        n_leaked = len(rows) - len(calls)
    last = steps[-1]
    values = {
        "user_message_id": last.user_message_id,
        "last_exchange_id": last.id,
        "signature": ">".join(call.name for call in calls),
        "n_steps": len(steps),
        "chain_length": len(calls),
        "n_bad_calls": sum(1 for call in calls if _is_bad(call)),
        "n_leaked": n_leaked,
        "n_error_results": sum(1 for call in calls if call.is_error),
        "n_unanswered": sum(1 for call in calls if call.result_id is None and call.origin != "server_side"),
        "status": _status(last, calls),
        "started_at": min(step.started_at for step in steps),
        "duration_ms": _duration_ms(steps),
    }
    if connection.execute(_UPDATE, values | place).rowcount == 0:
        connection.execute(_INSERT, values | {"conversation_id": conversation_id, "turn_no": turn_no})


def _is_bad(call: sa.Row[Any]) -> bool:
    """Match ``is_bad`` of ``v_tool_calls``."""
    parsed = call.argument_state in ("ok", "empty")
    return not (parsed and call.schema_state != "fail" and call.offered and call.complete)


def _status(last: sa.Row[Any], calls: list[sa.Row[Any]]) -> str:
    if last.outcome == Outcome.OPEN:
        return "pending"
    if last.outcome != Outcome.COMPLETED:
        return "failed"
    # A call that the server itself executed (OpenAI Responses) has its answer in the same exchange.
    waits = any(call.exchange_id == last.id and call.origin != "server_side" for call in calls)
    return "pending" if waits else "answered"


def _duration_ms(steps: list[sa.Row[Any]]) -> float | None:
    last = steps[-1]
    if last.total_ms is None:
        return None
    start: datetime = min(step.started_at for step in steps)
    end: datetime = last.started_at + timedelta(milliseconds=last.total_ms)
    return max(0.0, (end - start).total_seconds() * 1000)
