"""Turns: the one derived table. A turn's row is made anew from its exchanges when one of them has changed.

*Theory.* The exchanges of a conversation are a tree: an answer that was asked for again, and what a user asked instead
of an earlier question, are branches beside the first one. They have the same turn and step numbers as what they
stand beside. A turn's row, and its trajectory, are about one path through the turn, its *main line*: the one that the
next turn continues; in the latest turn the one that was answered last, else the latest. ``last_exchange_id`` is the end
of it, and the parents lead back. So the main line of a conversation is a path as well, from its latest turn to its
first. What is on no main line stays in ``exchange`` and ``tool_call``.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tarx_toollog.model import Outcome
from tarx_toollog.store.prepared import Connected
from tarx_toollog.store.schema import exchange, tool_call, tool_result, turn

TurnKey = tuple[int, int]
"""Conversation and number of a turn."""

_CONVERSATION: sa.BindParameter[int] = sa.bindparam("conversation")
_NUMBER: sa.BindParameter[int] = sa.bindparam("number")
# Inbound exchanges that made others do not count: the model answered the inner ones.
_IN_TURN = sa.and_(exchange.c.conversation_id == _CONVERSATION, exchange.c.turn_no == _NUMBER, exchange.c.n_inner == 0)
_child = exchange.alias("child")
_IS_CONTINUED = (
    sa.select(sa.literal(1))
    .where(
        _child.c.parent_exchange_id == exchange.c.id,
        _child.c.conversation_id + 0 == _CONVERSATION,  # + 0: SQLite is to go by the parent, a turn may be long
        _child.c.turn_no + 0 == _NUMBER,
        _child.c.n_inner == 0,
    )
    .exists()
)
# A redirect completes as well, and answers nothing.
_IS_COMPLETED = sa.and_(exchange.c.outcome == Outcome.COMPLETED, exchange.c.output_node_id.is_not(None))
_BEST_END = (
    sa.select(exchange.c.id)
    .where(_IN_TURN)
    .order_by(
        _IS_CONTINUED,
        sa.and_(_IS_COMPLETED, exchange.c.n_tool_calls == 0).desc(),
        _IS_COMPLETED.desc(),
        exchange.c.started_at.desc(),
        exchange.c.uid.desc(),
    )
    .limit(1)
)
_IS_IN_TURN = sa.select(sa.literal(1)).where(exchange.c.id == sa.bindparam("step"), _IN_TURN)
_STEP = (
    exchange.c.id,
    exchange.c.uid,
    exchange.c.parent_exchange_id,
    exchange.c.user_message_id,
    exchange.c.outcome,
    exchange.c.output_node_id,
    exchange.c.n_tool_calls,
    exchange.c.n_leaked_calls,
    exchange.c.started_at,
    exchange.c.total_ms,
)
_IS_STEP = sa.and_(
    exchange.c.conversation_id + 0 == _CONVERSATION, exchange.c.turn_no + 0 == _NUMBER, exchange.c.n_inner == 0
)
_line = sa.select(*_STEP).where(exchange.c.id == sa.bindparam("end"), _IS_STEP).cte("line", recursive=True)
_line = _line.union(sa.select(*_STEP).join(_line, exchange.c.id == _line.c.parent_exchange_id).where(_IS_STEP))
_LINE = sa.select(_line).order_by(_line.c.started_at, _line.c.uid)
_LAST_INNER = (
    sa.select(exchange.c.id)
    .where(exchange.c.outer_exchange_id == sa.bindparam("outer"))
    .order_by(exchange.c.started_at.desc(), exchange.c.uid.desc())
    .limit(1)
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
    .order_by(tool_call.c.choice, tool_call.c.ordinal)
)
_WHERE = sa.and_(turn.c.conversation_id == _CONVERSATION, turn.c.turn_no == _NUMBER)
_LAST = sa.select(turn.c.last_exchange_id).where(_WHERE)
_UPDATE = sa.update(turn).where(_WHERE)
_DELETE = sa.delete(turn).where(_WHERE)
_INSERT = sa.insert(turn)


def refresh_turns(connection: Connected, turns: Iterable[TurnKey]) -> None:
    """Make the rows of these turns anew, and of those before them where their main line has changed."""
    waiting = set(turns)
    while waiting:
        # The last turn of a conversation first: it decides which branch of the turn before it was continued.
        conversation_id, turn_no = max(waiting)
        waiting.discard((conversation_id, turn_no))
        if _refresh(connection, conversation_id, turn_no) and turn_no > 1:
            waiting.add((conversation_id, turn_no - 1))


def main_line(last: int, parents: Mapping[int, int | None]) -> list[int]:
    """Return the path through one turn that ends at ``last``.

    Args:
        last: The end of it.
        parents: The parent of each exchange of the turn.

    Example:
        >>> main_line(7, {4: 3, 5: 4, 7: 4})
        [4, 7]
    """
    line: list[int] = []
    step: int | None = last
    while step is not None and step in parents and step not in line:
        line.append(step)
        step = parents[step]
    return line[::-1]


def _refresh(connection: Connected, conversation_id: int, turn_no: int) -> bool:
    """Make one row anew; say whether the turn before it has another main line now."""
    place = {"conversation": conversation_id, "number": turn_no}
    last = _last(connection, place)
    if last is None:
        connection.execute(_DELETE, place)
        return True
    steps = list(connection.execute(_LINE, {**place, "end": last}))
    _write(connection, place, steps)
    before = {"conversation": conversation_id, "number": turn_no - 1}
    continued = steps[0].parent_exchange_id
    if continued is None:
        return False
    return connection.execute(_LAST, before).scalar() not in (None, _answering(connection, continued))


def _last(connection: Connected, place: dict[str, int]) -> int | None:
    """Return the end of the main line; None where the turn has no exchange."""
    after = {"conversation": place["conversation"], "number": place["number"] + 1}
    last_after = connection.execute(_LAST, after).scalar()
    line = list(connection.execute(_LINE, {**after, "end": last_after})) if last_after is not None else []
    continued = line[0].parent_exchange_id if line else None
    if continued is not None:
        for step in (continued, _answering(connection, continued)):
            if connection.execute(_IS_IN_TURN, {**place, "step": step}).first() is not None:
                return int(step)
    return connection.execute(_BEST_END, place).scalar()


def _answering(connection: Connected, exchange_id: int) -> int:
    """Return the exchange that really answered: of an inbound one that made others, the last of those."""
    inner = connection.execute(_LAST_INNER, {"outer": exchange_id}).scalar()
    return exchange_id if inner is None else int(inner)


def _write(connection: Connected, place: dict[str, int], steps: list[sa.Row[Any]]) -> None:
    calls: list[sa.Row[Any]] = []
    n_leaked = 0
    if any(step.n_tool_calls or step.n_leaked_calls for step in steps):
        rows = _calls(connection, [step.id for step in steps])
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
        key = {"conversation_id": place["conversation"], "turn_no": place["number"]}
        connection.execute(_INSERT, values | key)


def _calls(connection: Connected, line: list[int]) -> list[sa.Row[Any]]:
    """Return the calls of a main line, in its order."""
    rows: list[sa.Row[Any]] = list(connection.execute(_CALLS, {"exchanges": line}))
    return sorted(rows, key=lambda row: line.index(row.exchange_id))


def _is_bad(call: sa.Row[Any]) -> bool:
    """Match ``is_bad`` of ``v_tool_calls``."""
    parsed = call.argument_state in ("ok", "empty")
    return not (parsed and call.schema_state != "fail" and call.offered and call.complete)


def _status(last: sa.Row[Any], calls: list[sa.Row[Any]]) -> str:
    if last.outcome == Outcome.OPEN:
        return "pending"
    if last.outcome != Outcome.COMPLETED or last.output_node_id is None:
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
