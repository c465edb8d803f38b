"""Why calls of a tool fail, and whether the model tried again: read from the latest failed calls."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.answers.calls import FAULTS, KINDS, Latest
from tarx_toollog.store.schema import conversation, exchange, message, tool_call, tool_result
from tarx_toollog.store.tallies import IS_GOOD
from tarx_toollog.store.types import among

_READ = 200  # failed calls: more take longer, and say the same
_REASONS = 12
_LONG = 200  # characters of an error that tell it from others
# What the schema objects to begins with the value, which is another one in each call.
_VALUE = re.compile(r"(.*?: ).+ ((?:is (?:not|too|less|greater)|does not|has |should not).*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why some calls failed."""

    kind: str
    """One of ``calls.KINDS``."""
    text: str
    """What was said about it; empty where the kind says it all."""
    n: int
    conversation_uid: str | None
    """Where the latest of them stands."""
    turn_no: int | None
    step_no: int | None

    @property
    def words(self) -> str:
        """The kind, in words."""
        return KINDS[self.kind].words


@dataclass(frozen=True, slots=True)
class Failures:
    """What is known of the latest calls that failed."""

    n_read: int
    reasons: Sequence[Reason]
    """The most frequent first; a call may have several."""
    retried: int
    """Calls after which the tool was called again in the same turn."""
    mended: int
    """Of these, where such a call was right and came back without an error."""


def tool_failures(connection: sa.Connection, latest: Latest) -> Failures:
    """Return why the latest failed calls failed."""
    text = sa.func.coalesce(tool_result.c.text, message.c.text, message.c.content)
    names = ("id", "conversation_id", "turn_no", "step_no", "name", "schema_errors")
    columns: list[sa.ColumnElement[Any]] = [
        *(tool_call.c[name] for name in names),
        conversation.c.uid.label("conversation_uid"),
        sa.func.substr(text, 1, _LONG, type_=text.type).label("result"),
        *(KINDS[kind].condition.label(kind) for kind in (*FAULTS, "error")),
    ]
    query = (
        sa.select(*columns)
        .select_from(
            _CALLS.outerjoin(conversation, conversation.c.id == tool_call.c.conversation_id).outerjoin(
                message, message.c.id == tool_result.c.message_id
            )
        )
        .where(among(tool_call.c.id, sa.bindparam("ids", type_=sa.Text)))
        .order_by(tool_call.c.id.desc())
    )
    ids = latest.keys(_READ, "failed")
    rows = connection.execute(query, {"ids": json.dumps(ids)}).all()
    return Failures(len(rows), _reasons(rows), *_retries(connection, rows))


def objection(text: str) -> str:
    """Return what a schema objects to, without the value of the one call.

    Example:
        >>> objection("/key: [1, 2] is not of type 'string'")
        "/key: … is not of type 'string'"
    """
    return _VALUE.sub(r"\1… \2", text, count=1)


def _reasons(rows: Sequence[sa.Row[Any]]) -> list[Reason]:
    counts: dict[tuple[str, str], int] = {}
    latest: dict[tuple[str, str], sa.Row[Any]] = {}
    for row in rows:
        for key in dict.fromkeys(_reasons_of(row)):
            counts[key] = counts.get(key, 0) + 1
            latest.setdefault(key, row)
    most = sorted(counts, key=lambda key: -counts[key])[:_REASONS]
    return [
        Reason(kind, text, counts[kind, text], at.conversation_uid, at.turn_no, at.step_no)
        for kind, text in most
        for at in (latest[kind, text],)
    ]


def _reasons_of(row: sa.Row[Any]) -> Iterator[tuple[str, str]]:
    found = row._mapping
    for kind in FAULTS:
        if not found[kind]:
            continue
        objections = row.schema_errors if kind == "schema" and isinstance(row.schema_errors, list) else [""]
        for text in objections:
            yield kind, objection(str(text))[:_LONG]
    if row.error:
        yield "error", row.result or ""


def _retries(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> tuple[int, int]:
    """Return after how many calls the tool was called again in the turn, and how often that went well."""
    is_fine = sa.and_(IS_GOOD, tool_result.c.is_error.is_(sa.false()))
    where = ("conversation_id", "turn_no", "step_no")
    query = (
        sa.select(*(tool_call.c[name] for name in where), is_fine.label("is_fine"))
        .select_from(_CALLS)
        .where(
            among(tool_call.c.conversation_id, sa.bindparam("conversations", type_=sa.Text)),
            tool_call.c.name.in_({row.name for row in rows}),
        )
    )
    wanted = json.dumps(sorted({row.conversation_id for row in rows if row.conversation_id is not None}))
    later: dict[tuple[int, int], list[tuple[int, bool]]] = {}
    for row in connection.execute(query, {"conversations": wanted}):
        later.setdefault((row.conversation_id, row.turn_no), []).append((row.step_no, bool(row.is_fine)))
    again = [
        [is_fine for step_no, is_fine in later.get((row.conversation_id, row.turn_no), ()) if step_no > row.step_no]
        for row in rows
        if row.step_no is not None
    ]
    return sum(bool(made) for made in again), sum(any(made) for made in again)


_CALLS = tool_call.join(exchange, exchange.c.id == tool_call.c.exchange_id).outerjoin(
    tool_result, tool_result.c.tool_call_id == tool_call.c.id
)
