"""The linker's questions, answered by SQL on the writer's connection.

*Theory.* Everything is asked about *earlier* exchanges: those that began before the one that is being linked, by
``started_at`` and, at the same moment, by uid. In a log that arrives in order that is all there is; when exchanges
arrive out of order it makes the answer the same as if they had not.

No answer may take longer because the store is large. Ten thousand dialogues that begin with "Hello" share one hash,
and thousands of calls share the id ``call_0``. So every query goes down an index from the latest row and stops after
``LIMIT`` rows; that many candidates are enough to know that the choice is ambiguous.

Statements are made once: building and hashing one costs SQLAlchemy more than running it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.canonical import HASH_SIZE
from tarx_toollog.model import ToolCall
from tarx_toollog.store.candidates import Answer, Outer, Parent, Scope
from tarx_toollog.store.content import raw_message
from tarx_toollog.store.linker import message_sem
from tarx_toollog.store.pairing import Made, OpenCall
from tarx_toollog.store.prepared import Connected
from tarx_toollog.store.schema import conversation, exchange, message, node, tool_call, tool_result
from tarx_toollog.store.types import UtcDateTime
from tarx_toollog.wire.protocols import protocol_named

LIMIT = 8  # candidates with one hash, or calls with one id
_RECENT = 64  # exchanges of a given conversation among which the parent is looked for
_ANSWERS = 16  # answers that are compared with a history which was cut; each costs two messages to read
_CALLS = 256  # calls of a conversation, from the latest on, that a result may answer beside those of the parent
_CHUNK = 32  # hashes that one statement asks for


class Moment(NamedTuple):
    """The place of an exchange in the order of time."""

    started_at: datetime
    uid: str


def is_before(table: Any = exchange) -> sa.ColumnElement[bool]:
    """Return the condition that an exchange began before the moment that is bound as ``moment`` and ``moment_uid``."""
    moment = sa.bindparam("moment", type_=UtcDateTime())
    same = sa.and_(table.c.started_at == moment, table.c.uid < sa.bindparam("moment_uid"))
    return sa.and_(table.c.started_at <= moment, sa.or_(table.c.started_at < moment, same))


def is_after(table: Any = exchange) -> sa.ColumnElement[bool]:
    """Return the condition that an exchange began after the moment that is bound."""
    moment = sa.bindparam("moment", type_=UtcDateTime())
    same = sa.and_(table.c.started_at == moment, table.c.uid > sa.bindparam("moment_uid"))
    return sa.and_(table.c.started_at >= moment, sa.or_(table.c.started_at > moment, same))


def bound(moment: Moment) -> dict[str, Any]:
    """Return the parameters of ``is_before`` and ``is_after``."""
    return {"moment": moment.started_at, "moment_uid": moment.uid}


_OF_CLIENT = exchange.c.client_key.is_not_distinct_from(sa.bindparam("client_key"))
# A turn number says that the request could be read: nothing continues what nobody understands.
_IS_CANDIDATE = sa.and_(exchange.c.conversation_id.is_not(None), exchange.c.turn_no.is_not(None), is_before())
_COLUMNS = (
    exchange.c.id,
    exchange.c.uid,
    exchange.c.conversation_id,
    exchange.c.turn_no,
    exchange.c.step_no,
    exchange.c.started_at,
    exchange.c.conversation_confidence,
    exchange.c.output_sem,
    exchange.c.input_sem,
    exchange.c.outcome,
    exchange.c.total_ms,
    exchange.c.parent_exchange_id,
)
_PARENTS = (
    sa.select(*_COLUMNS, message.c.hash.label("output_hash"))
    .select_from(exchange)
    .outerjoin(node, node.c.id == exchange.c.output_node_id)
    .outerjoin(message, message.c.id == node.c.message_id)
    .where(_IS_CANDIDATE)
)
_LATEST = _PARENTS.order_by(exchange.c.id.desc())
_BY_OUTPUT = _LATEST.where(exchange.c.output_sem == sa.bindparam("sem"), _OF_CLIENT).limit(LIMIT)
_BY_INPUT = _LATEST.where(exchange.c.input_sem == sa.bindparam("sem"), _OF_CLIENT).limit(LIMIT)
_IN_CONVERSATION = _LATEST.where(exchange.c.conversation_id == sa.bindparam("conversation_id")).limit(_RECENT)
_BY_RESPONSE_ID = _LATEST.where(
    # The only protocol whose servers keep histories; the index holds no other.
    exchange.c.protocol == sa.literal_column("'openai_responses'"),
    exchange.c.response_id == sa.bindparam("response_id"),
    sa.or_(_OF_CLIENT, exchange.c.upstream == sa.bindparam("upstream")),
).limit(LIMIT)
_BY_CALL = (
    _PARENTS.add_columns(tool_call.c.name, tool_call.c.arguments, tool_call.c.call_id)
    .join(tool_call, tool_call.c.exchange_id == exchange.c.id)
    .where(tool_call.c.call_id == sa.bindparam("call_id"), _OF_CLIENT)
    .order_by(tool_call.c.id.desc())
    .limit(LIMIT)
)
_recent_call = (
    sa.select(tool_call)
    .where(tool_call.c.conversation_id == sa.bindparam("conversation_id"))
    .order_by(tool_call.c.id.desc())
    .limit(_CALLS)
    .subquery()
)
_BY_CALL_HERE = (
    _PARENTS.add_columns(_recent_call.c.name, _recent_call.c.arguments, _recent_call.c.call_id)
    .join(_recent_call, _recent_call.c.exchange_id == exchange.c.id)
    .where(_recent_call.c.call_id == sa.bindparam("call_id"))
    .order_by(_recent_call.c.id.desc())
)
_KNOWN_SEMS = sa.union_all(
    *(
        sa.select(exchange.c.output_sem)
        .where(exchange.c.output_sem == sa.bindparam(f"sem_{i}", type_=sa.LargeBinary(HASH_SIZE)))
        .limit(1)
        .subquery()
        .select()
        for i in range(_CHUNK)
    )
)
_of_late = (
    sa.select(exchange.c.id, exchange.c.client_key, exchange.c.output_node_id)
    .where(_IS_CANDIDATE)
    .order_by(exchange.c.started_at.desc(), exchange.c.uid.desc())
    .limit(_CALLS)
    .subquery()
)
_ANSWERED = (
    sa.select(*_COLUMNS, exchange.c.protocol, exchange.c.input_node_id, exchange.c.output_node_id)
    .where(_IS_CANDIDATE, exchange.c.output_node_id.is_not(None))
    .limit(_ANSWERS)
)
_ANSWERED_CLIENT = (
    _ANSWERED.join(_of_late, _of_late.c.id == exchange.c.id)
    .where(_OF_CLIENT)
    .order_by(exchange.c.started_at.desc(), exchange.c.uid.desc())
)
_ANSWERED_HERE = _ANSWERED.where(exchange.c.conversation_id == sa.bindparam("conversation_id")).order_by(
    exchange.c.id.desc()
)
_MESSAGES = (
    sa.select(node.c.id.label("node_id"), *message.c)
    .join(message, message.c.id == node.c.message_id)
    .where(node.c.id.in_(sa.bindparam("nodes", expanding=True)))
)
_CONTINUED = sa.select(exchange.c.parent_exchange_id).where(
    exchange.c.parent_exchange_id.in_(sa.bindparam("ids", expanding=True)), is_before()
)
_FOLLOWED = sa.select(sa.literal(1)).where(exchange.c.parent_exchange_id == sa.bindparam("exchange_id")).limit(1)
_BY_EXTERNAL_ID = sa.select(conversation.c.id).where(
    conversation.c.source == sa.bindparam("source"), conversation.c.external_id == sa.bindparam("external_id")
)
_OUTER = sa.select(exchange.c.id, exchange.c.conversation_id).where(exchange.c.uid == sa.bindparam("uid"))
_answered = exchange.alias("answered")
_is_open = sa.or_(tool_result.c.id.is_(None), is_after(_answered))
_OPEN_CALLS = (
    sa.select(
        tool_call.c.id,
        tool_call.c.exchange_id,
        tool_call.c.call_id,
        tool_call.c.name,
        _is_open.label("is_open"),
        sa.case((_is_open, tool_result.c.exchange_id)).label("taken_by"),
        exchange.c.conversation_id,
        exchange.c.turn_no,
        exchange.c.started_at,
        exchange.c.total_ms,
    )
    .select_from(tool_call)
    .join(exchange, exchange.c.id == tool_call.c.exchange_id)
    .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
    .outerjoin(_answered, _answered.c.id == tool_result.c.exchange_id)
    .where(
        is_before(),
        # Nobody returns a result for a call that the server executed, or that stood in the text.
        tool_call.c.origin.not_in(("server_side", "leaked_text")),
        sa.or_(_is_open, tool_call.c.exchange_id == sa.bindparam("parent_id")),
    )
    .order_by(exchange.c.started_at.desc(), exchange.c.uid.desc(), tool_call.c.choice, tool_call.c.ordinal)
)
_OPEN_CALLS_HERE = _OPEN_CALLS.join(_recent_call, _recent_call.c.id == tool_call.c.id)
_OPEN_CALLS_OF = _OPEN_CALLS.where(tool_call.c.exchange_id == sa.bindparam("exchange_id"))


class SqlLookup:
    """``candidates.Lookup`` over a connection. Only live traffic counts: replays never join a conversation.

    Args:
        connection: The writer's connection.
        moment: When the exchange began that is being linked.
    """

    def __init__(self, connection: Connected, moment: Moment) -> None:
        self._connection = connection
        self._moment = bound(moment)

    def conversation_by_external_id(self, source: str, external_id: str) -> int | None:
        """Return the conversation that a client named so."""
        return self._connection.execute(_BY_EXTERNAL_ID, {"source": source, "external_id": external_id}).scalar()

    def outer(self, uid: str) -> Outer | None:
        """Return the inbound exchange with this uid."""
        row = self._connection.execute(_OUTER, {"uid": uid}).first()
        return None if row is None else Outer(row.id, row.conversation_id)

    def by_response_id(self, response_id: str, client_key: str | None, upstream: str | None) -> Parent | None:
        """Return the exchange that gave this response, to this client or from this server."""
        rows = self._rows(_BY_RESPONSE_ID, response_id=response_id, client_key=client_key, upstream=upstream)
        return _parent(rows[0]) if rows else None

    def by_output(self, sems: Sequence[bytes], scope: Scope) -> tuple[bytes, list[Parent]] | None:
        """Return the exchanges whose answer completes one of these histories; earlier entries are preferred."""
        if scope.conversation_id is not None:
            here = self._rows(_IN_CONVERSATION, conversation_id=scope.conversation_id)
        for sem in sems if len(sems) == 1 or scope.conversation_id is not None else self._known(sems):
            if scope.conversation_id is not None:
                rows = [row for row in here if row.output_sem == sem]
            else:
                rows = self._rows(_BY_OUTPUT, sem=sem, client_key=scope.client_key)
            if rows:
                return sem, [_parent(row) for row in rows]
        return None

    def by_input(self, sem: bytes, scope: Scope) -> list[Parent]:
        """Return the exchanges that asked exactly this."""
        if scope.conversation_id is not None:
            rows = self._rows(_IN_CONVERSATION, conversation_id=scope.conversation_id)
            return [_parent(row) for row in rows if row.input_sem == sem]
        return [_parent(row) for row in self._rows(_BY_INPUT, sem=sem, client_key=scope.client_key)]

    def by_call(self, call_id: str, scope: Scope) -> list[tuple[Parent, ToolCall]]:
        """Return the exchanges that emitted a call with this id; none when the id is too common to tell anything."""
        if scope.conversation_id is not None:
            rows = self._rows(_BY_CALL_HERE, call_id=call_id, conversation_id=scope.conversation_id)
        else:
            rows = self._rows(_BY_CALL, call_id=call_id, client_key=scope.client_key)
            rows = rows if len(rows) < LIMIT else []
        return [(_parent(row), ToolCall(row.name, row.arguments, row.call_id)) for row in rows]

    def answers(self, scope: Scope) -> list[Answer]:
        """Return the latest answers."""
        if scope.conversation_id is not None:
            rows = self._rows(_ANSWERED_HERE, conversation_id=scope.conversation_id)
        else:
            rows = self._rows(_ANSWERED_CLIENT, client_key=scope.client_key)
        nodes = [n for row in rows for n in (row.input_node_id, row.output_node_id) if n is not None]
        found = {row.node_id: row for row in self._connection.execute(_MESSAGES, {"nodes": nodes})} if nodes else {}
        answers = []
        for row in rows:
            read = protocol_named(row.protocol).read_message
            asked, answered = found.get(row.input_node_id), found[row.output_node_id]
            answers.append(
                Answer(
                    _parent(row, answered.hash),
                    None if asked is None else message_sem(read(raw_message(asked))),
                    message_sem(read(raw_message(answered))),
                )
            )
        return answers

    def continued(self, exchange_ids: Sequence[int]) -> frozenset[int]:
        """Return those of these exchanges that another one continues."""
        rows = self._connection.execute(_CONTINUED, {"ids": list(exchange_ids), **self._moment})
        return frozenset(rows.scalars())

    def failed_with_input(self, sem: bytes, client_key: str | None) -> Parent | None:
        """Return the latest exchange with this input, if it brought no answer: it failed, or was a redirect."""
        rows = self._rows(_BY_INPUT, sem=sem, client_key=client_key)
        if not rows or rows[0].outcome == "open":
            return None
        is_answered = rows[0].outcome == "completed" and rows[0].output_hash is not None
        return None if is_answered else _parent(rows[0])

    def answered_with_input(self, sem: bytes, client_key: str | None) -> Parent | None:
        """Return the latest exchange with this input, if its answer was there before this one began, and was left.

        The only question that looks ahead: an answer that anybody follows, then or later, was not left.
        """
        rows = self._rows(_BY_INPUT, sem=sem, client_key=client_key)
        if not rows or rows[0].outcome != "completed" or rows[0].output_hash is None:
            return None
        ended_at = rows[0].started_at + timedelta(milliseconds=rows[0].total_ms or 0)
        is_followed = self._connection.execute(_FOLLOWED, {"exchange_id": rows[0].id}).first() is not None
        return _parent(rows[0]) if ended_at <= self._moment["moment"] and not is_followed else None

    def open_calls(self, conversation_id: int, parent: Parent | None) -> list[OpenCall]:
        """Return the calls that a result may answer: all of the parent, then the latest of the conversation."""
        parent_id = None if parent is None else parent.exchange_id
        asked = {"parent_id": parent_id, **self._moment}
        here = self._connection.execute(_OPEN_CALLS_HERE, {"conversation_id": conversation_id, **asked})
        rows = [row for row in here if row.exchange_id != parent_id]
        if parent_id is not None:
            # It may have more parallel calls than are looked at, or be of the conversation that this one is a fork of.
            rows = [*self._connection.execute(_OPEN_CALLS_OF, {"exchange_id": parent_id, **asked}), *rows]
        return [
            OpenCall(
                row.id,
                row.exchange_id,
                row.call_id,
                row.name,
                bool(row.is_open),
                row.taken_by,
                Made(row.conversation_id, row.turn_no, row.started_at, row.total_ms),
            )
            for row in rows
        ]

    def _known(self, sems: Sequence[bytes]) -> list[bytes]:
        """Return those of these hashes that some answer has."""
        known: set[bytes] = set()
        for start in range(0, len(sems), _CHUNK):
            chunk = sems[start : start + _CHUNK]
            parameters = {f"sem_{i}": chunk[min(i, len(chunk) - 1)] for i in range(_CHUNK)}
            known.update(self._connection.execute(_KNOWN_SEMS, parameters).scalars())
        return [sem for sem in sems if sem in known]

    def _rows(self, statement: sa.Select[Any], **parameters: Any) -> list[sa.Row[Any]]:
        """Return what a question found, latest exchange first."""
        rows = list(self._connection.execute(statement, {**parameters, **self._moment}))
        return sorted(rows, key=lambda row: (row.started_at, row.uid), reverse=True)


def _parent(row: sa.Row[Any], output_hash: bytes | None = None) -> Parent:
    return Parent(
        row.id,
        row.conversation_id,
        row.turn_no,
        row.step_no,
        row.started_at,
        row.conversation_confidence,
        output_hash if output_hash is not None else row.output_hash,
        row.output_sem,
        row.parent_exchange_id is None,
    )
