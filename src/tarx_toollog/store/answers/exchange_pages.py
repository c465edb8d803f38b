"""Exchanges for people who look: the list, what has come since, what training data says of one, and its request."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.store.answers.conversation_pages import TITLE
from tarx_toollog.store.answers.newest import TIMEOUT_S, newest
from tarx_toollog.store.few import rare_exchanges
from tarx_toollog.store.filters import Filters, exchange_conditions
from tarx_toollog.store.schema import (
    conversation,
    dataset_build,
    dataset_example,
    exchange,
    message,
    tool_call,
    tool_result,
)
from tarx_toollog.store.types import SafeText, among
from tarx_toollog.store.views.training import V_TRAINING_CANDIDATES
from tarx_toollog.store.where import heeding

_FULL = 10  # tenths of the context
_SPAN = timedelta(days=8)  # of which the index of moments is read through in some milliseconds: a week, and its ends
_IDS: sa.BindParameter[str] = sa.bindparam("ids", type_=sa.Text)
_NAMES = (
    "id", "uid", "started_at", "turn_no", "step_no", "outcome", "finish_reason", "input_tokens", "output_tokens",
    "total_ms",
)  # fmt: skip
_LINES = (
    sa.select(
        *(exchange.c[name] for name in _NAMES),
        conversation.c.uid.label("conversation_uid"),
        sa.func.coalesce(exchange.c.response_model, exchange.c.request_model).label("model"),
        # The type again: without it, what no database accepts would stay escaped.
        sa.type_coerce(sa.func.substr(sa.func.coalesce(message.c.text, message.c.content), 1, TITLE), SafeText).label(
            "user_text"
        ),
    )
    .outerjoin(conversation, conversation.c.id == exchange.c.conversation_id)
    .outerjoin(message, message.c.id == exchange.c.user_message_id)
    .where(among(exchange.c.id, _IDS))
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
        tool_result.c.is_error,
    )
    .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
    .where(among(tool_call.c.exchange_id, _IDS))
    .order_by(tool_call.c.exchange_id, tool_call.c.choice, tool_call.c.ordinal)
)


class CallLine(NamedTuple):
    """A call in a list."""

    name: str
    argument_state: str
    schema_state: str
    offered: bool
    complete: bool
    origin: str
    result_is_error: bool


@dataclass(frozen=True, slots=True)
class ExchangeLine:
    """One exchange in a list."""

    id: int
    uid: str
    started_at: datetime
    turn_no: int | None
    step_no: int | None
    outcome: str
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_ms: float | None
    conversation_uid: str | None
    model: str | None
    user_text: str
    """The beginning of what the user said last."""
    calls: tuple[CallLine, ...]


class ExchangeList(NamedTuple):
    """A page of the list."""

    rows: list[ExchangeLine]
    before: int | None
    """Key that the next page goes on below; None: this is the last."""
    is_full: bool
    """Whether it ends because it is full, and not because the time was up."""


class InBuild(NamedTuple):
    """What a build of training data says of an exchange."""

    build: str
    split: str | None
    """Where it is in; None: it is not."""
    copies: int
    reason: str | None
    """Of the export, or of ``dataset_queries.ABSENT``."""


def exchange_list(
    connection: sa.Connection, filters: Filters, before: int | None, size: int, fill: int | None = None
) -> ExchangeList:
    """Return exchanges of live traffic, newest first.

    Args:
        connection: May only read.
        filters: What is meant.
        before: Only exchanges with a lower key.
        size: Rows of a page.
        fill: Tenth of the context that the prompt fills; 10 is all of it, and more.
    """
    conditions = exchange_conditions(filters)
    if fill is not None:
        tenths = exchange.c.input_tokens * 10 // sa.func.nullif(exchange.c.ctx_limit, 0, type_=sa.Integer)
        conditions.append(tenths >= fill if fill >= _FULL else tenths == fill)
    with heeding(connection, filters.where, TIMEOUT_S):
        found = newest(
            connection,
            exchange.c.id,
            conditions,
            rare=rare_exchanges(connection, filters),
            before=_end_of(connection, filters) if before is None else before,
            size=size,
        )
    return ExchangeList(_lines(connection, found.keys), found.before, found.is_full)


def _end_of(connection: sa.Connection, filters: Filters) -> int | None:
    """Return the key below which a short period lies, so that the way to it is not walked; None where it is long."""
    if filters.since is None or filters.until is None or filters.until - filters.since > _SPAN:
        return None
    within = sa.and_(exchange.c.started_at >= filters.since, exchange.c.started_at < filters.until)
    return (connection.scalar(sa.select(sa.func.max(exchange.c.id)).where(within)) or 0) + 1


def live_state(connection: sa.Connection) -> tuple[int, Sequence[int]]:
    """Return the highest key and the keys of what is not finished: while both stay, nothing has come or changed."""
    is_open = sa.and_(sa.text("exchange.outcome <> 'completed'"), exchange.c.outcome == "open")
    unfinished = connection.scalars(sa.select(exchange.c.id).where(is_open).order_by(exchange.c.id)).all()
    return connection.scalar(sa.select(sa.func.max(exchange.c.id))) or 0, unfinished


def live_lines(connection: sa.Connection, after: int | None, size: int) -> list[ExchangeLine]:
    """Return the latest exchanges of live traffic, newest first.

    Args:
        connection: May only read.
        after: Only those with a higher key.
        size: At most this many.
    """
    query = sa.select(exchange.c.id).where(exchange.c.run_id.is_(None)).order_by(exchange.c.id.desc()).limit(size)
    if after is not None:
        query = query.where(exchange.c.id > after)
    return _lines(connection, connection.scalars(query).all())


def exchange_key(connection: sa.Connection, uid: str) -> int:
    """Return the key of an exchange.

    Raises:
        NothingMatchedError: There is no such exchange.
    """
    found: int | None = connection.scalar(sa.select(exchange.c.id).where(exchange.c.uid == uid))
    if found is None:
        raise NothingMatchedError(f"no exchange {uid!r}", hint="`toollog log list` shows their ids")
    return found


def training_reasons(connection: sa.Connection, uids: Collection[str]) -> dict[str, str | None]:
    """Return for steps why an export would leave them out, as far as SQL can say; None: it would take them."""
    view = sa.table(V_TRAINING_CANDIDATES.name, *map(sa.column, V_TRAINING_CANDIDATES.columns))
    query = sa.select(view.c.exchange_uid, view.c.reason).where(view.c.exchange_uid.in_(sorted(uids)))
    return {row.exchange_uid: row.reason for row in connection.execute(query)}


def in_builds(connection: sa.Connection, key: int) -> list[InBuild]:
    """Return what each build of training data says of an exchange, newest build first."""
    b, x = dataset_build.c, dataset_example.c
    said = {
        row.dataset_build_id: row
        for row in connection.execute(sa.select(dataset_example).where(x.exchange_id == key).order_by(x.copies))
    }
    builds = connection.execute(sa.select(b.id, b.name, b.status, b.last_exchange_id).order_by(b.id.desc()))
    return [_in_build(build, said.get(build.id), key) for build in builds]


def _in_build(build: Any, row: Any, key: int) -> InBuild:
    if row is not None:
        return InBuild(build.name, row.split if row.reason is None else None, row.copies, row.reason)
    absence = "not_selected" if build.status == "finished" else "not_finished"
    return InBuild(build.name, None, 0, "logged_later" if key > build.last_exchange_id else absence)


def _lines(connection: sa.Connection, keys: Sequence[int]) -> list[ExchangeLine]:
    ids = {"ids": json.dumps(list(keys))}
    calls: dict[int, list[CallLine]] = {}
    for row in connection.execute(_CALLS, ids):
        facts = {name: getattr(row, name) for name in CallLine._fields[:-1]}
        calls.setdefault(row.exchange_id, []).append(CallLine(**facts, result_is_error=bool(row.is_error)))
    rows = {row.id: row._asdict() for row in connection.execute(_LINES, ids)}
    return [
        ExchangeLine(**rows[key] | {"user_text": rows[key]["user_text"] or "", "calls": tuple(calls.get(key, ()))})
        for key in keys
    ]
