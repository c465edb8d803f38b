"""Redaction on the way into the store, and its rows: what was taken out of an exchange before it was stored.

A history is sent again with every request, and so are the values in it. A mark that an earlier exchange of the
conversation has recorded is not recorded again, or the table would grow with the square of a chain.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

import sqlalchemy as sa

from tarx_toollog.model import Exchange
from tarx_toollog.redaction.exchanges import Mark
from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store.prepared import Connected
from tarx_toollog.store.schema import exchange, redaction
from tarx_toollog.store.verdicts import CallPlace, CallVerdict, judge_calls


class Redaction(NamedTuple):
    """The rules that were in force, and what they took out."""

    policy_id: str
    marks: tuple[Mark, ...] = ()
    verdicts: Mapping[CallPlace, CallVerdict] = MappingProxyType({})
    """Of the calls that were changed, as the model wrote them: a mark may break a schema that the value met."""


def redact_exchange(redactor: Redactor, item: Exchange) -> tuple[Exchange, Redaction]:
    """Return an exchange without the values that the rules find, and what is known of these."""
    redacted, marks = redactor.exchange(item)
    changed = _arguments(item).items() - _arguments(redacted).items()
    if not changed:
        return redacted, Redaction(redactor.policy_id, marks)
    judged = judge_calls(item.request, item.response)
    verdicts = {place: _without_values(judged[place], redactor) for place, _ in changed}
    return redacted, Redaction(redactor.policy_id, marks, verdicts)


def _arguments(item: Exchange) -> dict[CallPlace, str]:
    answers = item.response.choices if item.response else ()
    calls = (call for answer in answers for call in (*answer.message.tool_calls, *answer.leaked_calls))
    return {(call.choice, call.ordinal): call.arguments for call in calls}


def _without_values(verdict: CallVerdict, redactor: Redactor) -> CallVerdict:
    # What a schema objects to quotes the value: the place must do.
    errors = verdict.schema_errors and [f"{error.partition(': ')[0]}: (redacted)" for error in verdict.schema_errors]
    return verdict._replace(arguments_json=redactor.value(verdict.arguments_json)[0], schema_errors=errors)


_KNOWN = (
    sa.select(redaction.c.rule, redaction.c.mark, redaction.c.path, redaction.c.exchange_id)
    .join(exchange, exchange.c.id == redaction.c.exchange_id)
    .where(
        redaction.c.mark.in_(sa.bindparam("marks", expanding=True)),
        sa.or_(
            exchange.c.id == sa.bindparam("exchange_id"),
            exchange.c.conversation_id == sa.bindparam("conversation_id"),
        ),
    )
)
_NEW = sa.insert(redaction)
_REQUEST = ("messages[", "tools[", "params")


def write_marks(connection: Connected, exchange_id: int, conversation_id: int | None, found: Redaction) -> None:
    """Record what was taken out of an exchange, and by which rules; may be called again when it has ended."""
    if not found.marks:
        return
    parameters = {
        "marks": sorted({mark.mark for mark in found.marks}),
        "exchange_id": exchange_id,
        "conversation_id": conversation_id,
    }
    known = connection.execute(_KNOWN, parameters).all()
    here = {(row.rule, row.mark, row.path) for row in known if row.exchange_id == exchange_id}
    before = {(row.rule, row.mark) for row in known if row.exchange_id != exchange_id}
    new = [
        mark
        for mark in found.marks
        if (mark.rule, mark.mark, mark.path) not in here
        and not (mark.path.startswith(_REQUEST) and (mark.rule, mark.mark) in before)
    ]
    if new:
        fixed = {"exchange_id": exchange_id, "policy": found.policy_id, "redacted_at": datetime.now(UTC)}
        rows = [{"path": m.path, "rule": m.rule, "mark": m.mark, "n": m.n} | fixed for m in new]
        connection.execute(_NEW, rows)
