"""The linker's questions, answered by SQL on the writer's connection.

Statements are made once: building and hashing one costs SQLAlchemy more than running it.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.linker import Found, OpenCall, Outer, Parent
from tarx_toollog.store.schema import conversation, exchange, message, node, tool_call, tool_result

_OF_CLIENT = exchange.c.client_key.is_not_distinct_from(sa.bindparam("client_key"))
_PARENTS = (
    sa.select(
        exchange.c.id,
        exchange.c.conversation_id,
        exchange.c.turn_no,
        exchange.c.step_no,
        message.c.hash.label("output_hash"),
    )
    .select_from(exchange)
    .outerjoin(node, node.c.id == exchange.c.output_node_id)
    .outerjoin(message, message.c.id == node.c.message_id)
    .where(exchange.c.conversation_id.is_not(None), _OF_CLIENT)
    .order_by(exchange.c.id.desc())
)
_BY_OUTPUT = _PARENTS.add_columns(exchange.c.output_sem).where(
    exchange.c.output_sem.in_(sa.bindparam("sems", expanding=True))
)
_BY_CALL_ID = (
    _PARENTS.add_columns(tool_call.c.call_id)
    .join(tool_call, tool_call.c.exchange_id == exchange.c.id)
    .where(tool_call.c.call_id.in_(sa.bindparam("call_ids", expanding=True)))
)
_BY_INPUT = (
    _PARENTS.add_columns(exchange.c.outcome)
    .where(exchange.c.input_sem == sa.bindparam("sem"), exchange.c.id.is_distinct_from(sa.bindparam("besides")))
    .limit(1)
)
_BY_EXTERNAL_ID = sa.select(conversation.c.id).where(
    conversation.c.source == sa.bindparam("source"), conversation.c.external_id == sa.bindparam("external_id")
)
_OUTER = sa.select(exchange.c.id, exchange.c.conversation_id).where(exchange.c.uid == sa.bindparam("uid"))
_OPEN_CALLS = (
    sa.select(tool_call.c.id, tool_call.c.exchange_id, tool_call.c.ordinal, tool_call.c.call_id, tool_call.c.name)
    .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
    .where(tool_call.c.conversation_id == sa.bindparam("conversation_id"), tool_result.c.id.is_(None))
    .order_by(tool_call.c.exchange_id.desc(), tool_call.c.choice, tool_call.c.ordinal)
)


class SqlLookup:
    """``linker.Lookup`` over a connection. Only live traffic counts: replays never join a conversation.

    Args:
        connection: The writer's connection.
        besides: An exchange to leave out, when that is the one being linked again.
    """

    def __init__(self, connection: sa.Connection, *, besides: int | None = None) -> None:
        self._connection = connection
        self._besides = besides

    def conversation_by_external_id(self, source: str, external_id: str) -> int | None:
        """Return the conversation that a client named so."""
        return self._connection.execute(_BY_EXTERNAL_ID, {"source": source, "external_id": external_id}).scalar()

    def outer(self, uid: str) -> Outer | None:
        """Return the inbound exchange with this uid."""
        row = self._connection.execute(_OUTER, {"uid": uid}).first()
        return None if row is None else Outer(row.id, row.conversation_id)

    def by_output(self, sems: Sequence[bytes], client_key: str | None) -> tuple[bytes, Found] | None:
        """Return the exchange whose answer completes one of these histories; earlier entries are preferred."""
        rows = self._connection.execute(_BY_OUTPUT, {"sems": sems, "client_key": client_key}).all()
        for sem in sems if rows else ():
            fitting = [row for row in rows if row.output_sem == sem]
            if fitting:
                unique = len({row.conversation_id for row in fitting}) == 1
                return sem, Found(_parent(fitting[0]), unique)
        return None

    def by_call_ids(self, call_ids: Sequence[str], client_key: str | None) -> Found | None:
        """Return the exchange that emitted one of these calls; earlier entries are preferred.

        An id that occurs in several conversations (``call_0``) proves nothing and is passed over.
        """
        rows = self._connection.execute(_BY_CALL_ID, {"call_ids": call_ids, "client_key": client_key}).all()
        for call_id in call_ids if rows else ():
            fitting = [row for row in rows if row.call_id == call_id]
            if len({row.conversation_id for row in fitting}) == 1:
                return Found(_parent(fitting[0]), unique=True)
        return None

    def failed_with_input(self, sem: bytes, client_key: str | None) -> Parent | None:
        """Return the latest exchange with this input, if it did not complete."""
        parameters = {"sem": sem, "client_key": client_key, "besides": self._besides}
        row = self._connection.execute(_BY_INPUT, parameters).first()
        return None if row is None or row.outcome in ("completed", "open") else _parent(row)

    def open_calls(self, conversation_id: int) -> list[OpenCall]:
        """Return the calls of a conversation without a result, latest exchange first."""
        return [OpenCall(*row) for row in self._connection.execute(_OPEN_CALLS, {"conversation_id": conversation_id})]


def _parent(row: sa.Row[Any]) -> Parent:
    return Parent(row.id, row.conversation_id, row.turn_no, row.step_no, row.output_hash)
