"""Executions: runs of tools as the Workbench reports them, and the calls that they belong to.

*Theory.* A report names the call by its wire id, or only the tool. By id it is the latest call with that id that was
made before the tool began to run, of the same inbound request, process and client where there are several: servers
repeat ids. By name it is a call of the latest step of that request or process, in the order in which the tools began.
A report may come before its call is stored (a tool that starts while the answer still streams); so calls look for
reports when they are written, and reports for calls.

A tool that failed is a failed result, even where the text that went back to the model does not say so.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tarx_toollog.model import EPOCH
from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.lookup import LIMIT
from tarx_toollog.store.prepared import Connected
from tarx_toollog.store.schema import exchange, tool_call, tool_execution, tool_result
from tarx_toollog.store.turns import TurnKey
from tarx_toollog.store.types import UtcDateTime

_RECENT = 64  # calls of a step, or reports without a call, that are looked through; a step has a handful
_outer = exchange.alias("outer_exchange")
_AT = sa.bindparam("at", type_=UtcDateTime())
_WAS_MADE = sa.and_(
    exchange.c.run_id.is_(None), exchange.c.started_at <= _AT, tool_call.c.origin.not_in(("server_side", "leaked_text"))
)
_CALLS = (
    sa.select(
        tool_call.c.id,
        tool_call.c.exchange_id,
        tool_call.c.name,
        exchange.c.started_at,
        exchange.c.uid,
        exchange.c.writer_id,
        exchange.c.client_key,
        _outer.c.uid.label("outer_uid"),
    )
    .join(exchange, exchange.c.id == tool_call.c.exchange_id)
    .outerjoin(_outer, _outer.c.id == exchange.c.outer_exchange_id)
    .where(_WAS_MADE)
)
_BY_ID = _CALLS.where(tool_call.c.call_id == sa.bindparam("call_id")).order_by(tool_call.c.id.desc()).limit(LIMIT)
_inner_recent = (
    sa.select(tool_call.c.id)
    .join(exchange, exchange.c.id == tool_call.c.exchange_id)
    .where(exchange.c.outer_exchange_id.in_(sa.select(exchange.c.id).where(exchange.c.uid == sa.bindparam("inbound"))))
    .order_by(tool_call.c.id.desc())
    .limit(_RECENT)
)
_recent = sa.select(tool_call.c.id).order_by(tool_call.c.id.desc()).limit(4 * _RECENT)
_IN_REQUEST = _CALLS.where(tool_call.c.id.in_(_inner_recent))
_IN_PROCESS = _CALLS.where(
    tool_call.c.id.in_(_recent),
    exchange.c.writer_id.is_not_distinct_from(sa.bindparam("writer_id")),
    exchange.c.client_key.is_not_distinct_from(sa.bindparam("client_key")),
)
_OF_STEP = (
    sa.select(tool_call.c.id, tool_execution.c.id.label("execution_id"))
    .outerjoin(tool_execution, tool_execution.c.tool_call_id == tool_call.c.id)
    .where(tool_call.c.exchange_id == sa.bindparam("exchange_id"), tool_call.c.name == sa.bindparam("name"))
    .order_by(tool_call.c.choice, tool_call.c.ordinal)
)
_KNOWN = sa.select(tool_execution.c.id).where(tool_execution.c.uid == sa.bindparam("uid"))
_INSERT = sa.insert(tool_execution)
_ANY = sa.select(tool_execution.c.id).limit(1)
_PENDING_BY_ID = (
    sa.select(tool_execution)
    .where(
        tool_execution.c.call_id.in_(
            sa.select(tool_call.c.call_id).where(tool_call.c.exchange_id == sa.bindparam("exchange_id"))
        ),
        tool_execution.c.started_at >= sa.bindparam("from", type_=UtcDateTime()),
    )
    .order_by(tool_execution.c.id.desc())
    .limit(_RECENT)
)
_late = sa.select(tool_execution.c.id).order_by(tool_execution.c.id.desc()).limit(_RECENT)
_PENDING_BY_NAME = (
    sa.select(tool_execution)
    .where(
        tool_execution.c.id.in_(_late),
        tool_execution.c.tool_call_id.is_(None),
        tool_execution.c.call_id.is_(None),
        tool_execution.c.writer_id.is_not_distinct_from(sa.bindparam("writer_id")),
        tool_execution.c.started_at >= sa.bindparam("from", type_=UtcDateTime()),
    )
    .order_by(tool_execution.c.started_at, tool_execution.c.uid)
)
_STEP = sa.select(exchange.c.id, exchange.c.started_at, exchange.c.writer_id).where(
    exchange.c.id.in_(sa.bindparam("ids", expanding=True))
)
_ATTACH = (
    sa.update(tool_execution)
    .where(tool_execution.c.id == sa.bindparam("execution"))
    .values(tool_call_id=sa.bindparam("call"))
)
_FAILED = sa.select(tool_execution.c.tool_call_id).where(
    tool_execution.c.tool_call_id.in_(sa.bindparam("calls", expanding=True)), tool_execution.c.is_error
)
_SAY_ERROR = (
    sa.update(tool_result)
    .where(tool_result.c.tool_call_id == sa.bindparam("call"), tool_result.c.is_error.is_(False))
    .values(is_error=True, error_how="exec")
)
_UNSAY_ERROR = (
    sa.update(tool_result)
    .where(tool_result.c.tool_call_id == sa.bindparam("call"), tool_result.c.error_how == "exec")
    .values(is_error=False, error_how=None)
)
_PLACE = sa.select(tool_call.c.conversation_id, tool_call.c.turn_no).where(
    tool_call.c.id.in_(sa.bindparam("calls", expanding=True)),
    tool_call.c.conversation_id.is_not(None),
    tool_call.c.turn_no.is_not(None),
)


def write_execution(connection: Connected, report: ExecutionReport, writer_id: int | None) -> set[TurnKey]:
    """Write one report, once, and attach it to its call where that is known; return the turns that have changed."""
    if connection.execute(_KNOWN, {"uid": report.uid}).first() is not None:
        return set()
    call_id = _find_call(connection, report, writer_id)
    values = {
        "uid": report.uid,
        "tool_call_id": call_id,
        "call_id": report.call_id,
        "name": report.name,
        "started_at": _started_at(report),
        "exec_ms": report.took_ns / 1e6,
        "is_error": report.is_error,
        "error_type": report.error_type,
        "error_text": report.error_text,
        "source": report.source,
        "writer_id": writer_id,
    }
    connection.execute(_INSERT, values)
    return _judge_again(connection, {call_id} - {None})


def attach_pending(connection: Connected, exchange_ids: Collection[int]) -> set[TurnKey]:
    """Attach reports that came before the calls of these exchanges; return the turns that have changed."""
    changed: set[int | None] = set()
    if exchange_ids and connection.execute(_ANY).first() is None:
        return set()  # nobody reports what tools do
    for step in connection.execute(_STEP, {"ids": sorted(exchange_ids)}).all() if exchange_ids else ():
        for row in connection.execute(_PENDING_BY_ID, {"exchange_id": step.id, "from": step.started_at}).all():
            found = _best(connection.execute(_BY_ID, {"call_id": row.call_id, "at": row.started_at}), row.writer_id)
            changed |= _attach(connection, row, found)
        pending = {"writer_id": step.writer_id, "from": step.started_at}
        for row in connection.execute(_PENDING_BY_NAME, pending).all():
            changed |= _attach(connection, row, _next_of_step(connection, step.id, row.name))
    return _judge_again(connection, changed - {None})


def failed_executions(connection: Connected, call_ids: Iterable[int]) -> set[int]:
    """Return those of these calls whose tool was reported to have failed."""
    return set(connection.execute(_FAILED, {"calls": list(call_ids)}).scalars())


def _attach(connection: Connected, row: sa.Row[Any], call_id: int | None) -> set[int | None]:
    if call_id is None or call_id == row.tool_call_id:
        return set()
    connection.execute(_ATTACH, {"execution": row.id, "call": call_id})
    return {call_id, row.tool_call_id}


def _find_call(connection: Connected, report: ExecutionReport, writer_id: int | None) -> int | None:
    at = {"at": _started_at(report)}
    if report.call_id is not None:
        return _best(connection.execute(_BY_ID, {"call_id": report.call_id, **at}), writer_id, report)
    if report.name is None:
        return None
    if report.inbound_uid is not None:
        rows = connection.execute(_IN_REQUEST, {"inbound": report.inbound_uid, **at}).all()
    else:
        rows = connection.execute(_IN_PROCESS, {"writer_id": writer_id, "client_key": report.client_key, **at}).all()
    if not rows:
        return None
    step = max(rows, key=lambda row: (row.started_at, row.uid))
    return _next_of_step(connection, step.exchange_id, report.name)


def _best(rows: Iterable[sa.Row[Any]], writer_id: int | None, report: ExecutionReport | None = None) -> int | None:
    """Return the call that is meant among those with the same id: the nearest one, then the latest."""

    def nearness(row: sa.Row[Any]) -> tuple[Any, ...]:
        of_request = report is not None and report.inbound_uid is not None and row.outer_uid == report.inbound_uid
        of_client = report is not None and row.client_key == report.client_key
        return of_request, row.writer_id == writer_id, of_client, row.started_at, row.uid

    best = max(rows, key=nearness, default=None)
    return None if best is None else int(best.id)


def _next_of_step(connection: Connected, exchange_id: int, name: str | None) -> int | None:
    """Return the first call of a tool in a step that has no execution; the only one may have several."""
    rows = connection.execute(_OF_STEP, {"exchange_id": exchange_id, "name": name}).all()
    free = next((row.id for row in rows if row.execution_id is None), None)
    if free is None and len({row.id for row in rows}) == 1:
        return int(rows[0].id)  # the tool was tried again
    return free


def _judge_again(connection: Connected, call_ids: set[Any]) -> set[TurnKey]:
    """Bring the verdicts on the results of these calls up to date."""
    if not call_ids:
        return set()
    failed = failed_executions(connection, call_ids)
    for call_id in sorted(call_ids):
        connection.execute(_SAY_ERROR if call_id in failed else _UNSAY_ERROR, {"call": call_id})
    return {(row.conversation_id, row.turn_no) for row in connection.execute(_PLACE, {"calls": sorted(call_ids)})}


def _started_at(report: ExecutionReport) -> datetime:
    return EPOCH + timedelta(microseconds=report.started_ns // 1000)
