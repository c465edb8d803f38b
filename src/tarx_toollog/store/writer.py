"""``Exchange`` in, rows out. ``store.reader`` is its exact inverse.

An exchange is written in two phases, because a generation lasts tens of seconds and the tool results that a
request carries should not wait for it: *begin* (everything that the request says, outcome ``open``) and *finish*
(everything that the answer says). An exchange that arrives whole takes both steps in one transaction. Writing is
idempotent by ``uid``: what is already finished is left alone, so the journal may be read again after a crash.
"""

from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.model import Choice, Exchange, Outcome, Request, ToolDefinition
from tarx_toollog.store import linker
from tarx_toollog.store.content import Content
from tarx_toollog.store.context_budget import ContextBudgets, PromptPlace
from tarx_toollog.store.exchange_values import begin_values, call_values, finish_values, if_other
from tarx_toollog.store.executions import attach_pending, write_execution
from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.links import link_values, write_results
from tarx_toollog.store.lookup import Moment, SqlLookup
from tarx_toollog.store.prepared import Connected, PreparedConnection
from tarx_toollog.store.redactions import Redaction, write_marks
from tarx_toollog.store.relink import has_later, relink
from tarx_toollog.store.schema import (
    choice,
    exchange,
    node,
    run,
    tool_call,
    tool_definition,
)
from tarx_toollog.store.turns import TurnKey, refresh_turns
from tarx_toollog.store.verdicts import judge_calls


class RawBodies(NamedTuple):
    """Raw bytes to keep with an exchange; None where they are not kept."""

    request: bytes | None = None
    response: bytes | None = None


class Stored(NamedTuple):
    """What became of an exchange."""

    id: int
    changed: bool
    """False when it was in the store already, finished."""


_KNOWN = sa.select(exchange.c.id, exchange.c.outcome).where(exchange.c.uid == sa.bindparam("uid"))
_RUN = sa.select(run.c.id).where(run.c.uid == sa.bindparam("uid"))
_INSERT = sa.insert(exchange).returning(exchange.c.id)
_UPDATE = sa.update(exchange).where(exchange.c.id == sa.bindparam("exchange_id"))
_COUNT_INNER = _UPDATE.values(n_inner=exchange.c.n_inner + 1)
_BEGUN = (
    sa.select(
        exchange.c.conversation_id,
        exchange.c.conversation_how,
        exchange.c.turn_no,
        exchange.c.step_no,
        exchange.c.parent_exchange_id,
        exchange.c.system_node_id,
        exchange.c.toolset_id,
        exchange.c.input_node_id,
        exchange.c.input_sem,
        node.c.hash,
        node.c.sem,
        node.c.depth,
    )
    .select_from(exchange)
    .outerjoin(node, node.c.id == exchange.c.input_node_id)
    .where(exchange.c.id == sa.bindparam("exchange_id"))
)
_other = exchange.alias("other")
# Only what opened a dialogue can have been asked again, so the conversation is small where this is asked.
_IS_LEFT = (
    sa.select(sa.literal(1))
    .select_from(exchange)
    .join(_other, _other.c.conversation_id == exchange.c.conversation_id)
    .where(
        exchange.c.id == sa.bindparam("parent_id"),
        exchange.c.parent_exchange_id.is_(None),
        _other.c.conversation_how == "again",
    )
    .limit(1)
)
_IS_KNOWN = sa.select(sa.literal(1)).where(tool_definition.c.name == sa.bindparam("name")).limit(1)
_NEW_CHOICE = sa.insert(choice)
_NEW_CALL = sa.insert(tool_call)


class _Begun(NamedTuple):
    """What the beginning of an exchange says that its end needs: columns of its row, and of the end of its history."""

    conversation_id: int | None
    conversation_how: str | None
    turn_no: int | None
    step_no: int | None
    parent_exchange_id: int | None
    system_node_id: int | None
    toolset_id: int | None
    input_node_id: int | None
    input_sem: bytes | None
    hash: bytes | None
    sem: bytes | None
    depth: int | None

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Return the names of those that stand in the row."""
        return cls._fields[:-3]


class _Sent(NamedTuple):
    """A request whose messages are stored."""

    columns: dict[str, Any] = {}  # noqa: RUF012 - never changed
    hash: bytes | None = None
    sem: bytes | None = None
    depth: int | None = None


class Writer:
    """Writes exchanges on connections of one database. Not thread-safe: one writer per database.

    Args:
        writer_id: Row of ``writer`` to sign with; None for replays and imports.
        upstream: Base URL of the server that is meant where a tap did not know it.
    """

    def __init__(self, writer_id: int | None = None, *, upstream: str | None = None) -> None:
        self._writer_id = writer_id
        self._budgets = ContextBudgets(upstream)
        self._content = Content()
        self._touched: set[TurnKey] = set()
        self._late: set[int] = set()
        self._displaced: set[int] = set()
        self._followed: set[int] = set()
        self._again: set[int] = set()
        self._called: set[int] = set()

    def _remembered(self) -> tuple[set[Any], ...]:
        return self._touched, self._late, self._displaced, self._followed, self._again, self._called

    def forget(self) -> None:
        """Drop what is remembered of rows; call it after a rollback."""
        self._content.forget()
        self._budgets.forget()
        for remembered in self._remembered():
            remembered.clear()

    def write(
        self,
        connection: sa.Connection,
        item: Exchange,
        raw: RawBodies | None = None,
        redaction: Redaction | None = None,
    ) -> Stored:
        """Write an exchange, whole or only begun, inside the caller's transaction; ``settle`` must follow.

        Args:
            connection: The writer's connection, in a transaction.
            item: The exchange, redacted.
            raw: Raw bodies to keep, redacted as well.
            redaction: What was taken out of it; None when nothing was looked for.
        """
        return self._write(PreparedConnection(connection), item, raw, redaction)

    def _write(
        self, connection: Connected, item: Exchange, raw: RawBodies | None, redaction: Redaction | None
    ) -> Stored:
        row = connection.execute(_KNOWN, {"uid": item.uid}).first()
        if row is not None and (row.outcome != Outcome.OPEN or item.outcome is Outcome.OPEN):
            return Stored(row.id, changed=False)
        if row is None:
            exchange_id, begun = self._insert(connection, item, raw, redaction)
        else:
            exchange_id = int(row.id)
            begun = _Begun._make(connection.execute(_BEGUN, {"exchange_id": exchange_id}).one())
            values = self._answer_values(connection, begun, item, raw)
            connection.execute(_UPDATE, values | {"exchange_id": exchange_id})
        if item.outcome is not Outcome.OPEN:
            self._finish(connection, exchange_id, begun, item, redaction or Redaction(""))
        self._content.brought_by(connection, None if item.run_uid is not None else exchange_id)
        if redaction is not None:
            write_marks(connection, exchange_id, begun.conversation_id, redaction)
        return Stored(exchange_id, changed=True)

    def write_execution(self, connection: sa.Connection, report: ExecutionReport) -> None:
        """Write what a program tells about the run of a tool; ``settle`` must follow."""
        self._touched |= write_execution(PreparedConnection(connection), report, self._writer_id)

    def settle(self, connection: sa.Connection) -> None:
        """Bring links and turns up to date, once for all exchanges of a transaction; call it before the commit."""
        self._settle(PreparedConnection(connection))

    def _settle(self, connection: Connected) -> None:
        self._touched |= relink(connection, self._content, self._late, self._displaced, self._followed, self._again)
        self._touched |= attach_pending(connection, self._called)
        refresh_turns(connection, self._touched)
        for remembered in self._remembered():
            remembered.clear()

    def interrupt(self, connection: sa.Connection, condition: sa.ColumnElement[bool]) -> int:
        """Close the open exchanges that match as ``interrupted``; return how many there were."""
        query = sa.select(
            exchange.c.id, exchange.c.uid, exchange.c.started_at, exchange.c.conversation_id, exchange.c.turn_no
        ).where(exchange.c.outcome == Outcome.OPEN, condition)
        rows = connection.execute(query).all()
        for row in rows:
            connection.execute(_UPDATE, {"exchange_id": row.id, "outcome": Outcome.INTERRUPTED})
            if row.conversation_id is not None and row.turn_no is not None:
                self._touched.add((row.conversation_id, row.turn_no))
                if has_later(connection, Moment(row.started_at, row.uid)):
                    self._late.add(row.id)
        self.settle(connection)
        return len(rows)

    # ---- begin ------------------------------------------------------------------------------------------------------

    def _insert(
        self, connection: Connected, item: Exchange, raw: RawBodies | None, redaction: Redaction | None
    ) -> tuple[int, _Begun]:
        """Write the row of an exchange: what its request says, and what its answer says when it has ended."""
        values: dict[str, Any] = begin_values(item)
        values["writer_id"] = self._writer_id
        values["redaction_policy"] = None if redaction is None else redaction.policy_id
        sent = _Sent() if item.request is None else self._sent(connection, item.request)
        values |= sent.columns
        if raw is not None and raw.request is not None:
            values["raw_request_id"] = self._content.raw_body(connection, raw.request)
        link = None
        if item.run_uid is not None:
            values["run_id"] = connection.execute(_RUN, {"uid": item.run_uid}).scalar_one()
        else:
            link = linker.link(item, SqlLookup(connection, Moment(item.started_at, item.uid)))
            values |= link_values(connection, item, link)
        columns = (values.get(name) for name in _Begun.columns())
        begun = _Begun._make((*columns, sent.hash, sent.sem, sent.depth))
        if item.outcome is not Outcome.OPEN:
            values |= self._answer_values(connection, begun, item, raw)
        exchange_id = int(connection.execute(_INSERT, values).scalar_one())
        if link is not None:
            self._write_links(connection, exchange_id, begun, item, link)
        return exchange_id, begun

    def _write_links(
        self, connection: Connected, exchange_id: int, begun: _Begun, item: Exchange, link: linker.Link
    ) -> None:
        """Write what a request says of other exchanges: the one that it is part of, and the results of their calls."""
        if link.outer_id is not None:
            connection.execute(_COUNT_INNER, {"exchange_id": link.outer_id})
        parent = link.parent
        if parent is not None and parent.is_first and self._is_left(connection, parent.exchange_id):
            self._followed.add(parent.exchange_id)
        if link.turn_no is not None and begun.conversation_id is not None:
            written = write_results(connection, self._content, exchange_id, begun.conversation_id, item, link)
            self._touched |= {*written.turns, (begun.conversation_id, link.turn_no)}
            self._displaced |= written.displaced

    def _is_left(self, connection: Connected, parent_id: int) -> bool:
        return connection.execute(_IS_LEFT, {"parent_id": parent_id}).first() is not None

    def _sent(self, connection: Connected, request: Request) -> _Sent:
        leading, history = linker.split_leading(request.messages)
        input_node_id, digest, input_sem = self._content.history(connection, history)
        asked = next((message for message in reversed(history) if message.is_prompt), None)
        columns = {
            "system_node_id": self._content.history(connection, leading)[0],
            "input_node_id": input_node_id,
            "input_sem": input_sem,
            "user_message_id": None if asked is None else self._content.message(connection, asked),
            "toolset_id": None
            if request.tools_key is None
            else self._content.toolset(connection, request.tools, request.tools_key),
        }
        return _Sent(columns, digest, input_sem, len(history) - 1 if history else None)

    # ---- finish -----------------------------------------------------------------------------------------------------

    def _answer_values(
        self, connection: Connected, begun: _Begun, item: Exchange, raw: RawBodies | None
    ) -> dict[str, Any]:
        values = finish_values(item)
        if raw is not None and raw.response is not None:
            values["raw_response_id"] = self._content.raw_body(connection, raw.response)
        choices = item.response.choices if item.response else ()
        if choices:
            depth = 0 if begun.depth is None else begun.depth + 1
            values["output_node_id"], _, _ = self._content.history(
                connection, [choices[0].message], begun.input_node_id, begun.hash, begun.sem, depth
            )
            # Not the meaning of the node: what the server keeps of the history comes before the request's own.
            (values["output_sem"],) = linker.sem_chain([choices[0].message], begun.input_sem)
        place = PromptPlace(begun.parent_exchange_id, begun.system_node_id, begun.toolset_id)
        return values | self._budgets.values(connection, place, item)

    def _finish(
        self, connection: Connected, exchange_id: int, begun: _Begun, item: Exchange, redaction: Redaction
    ) -> None:
        choices = item.response.choices if item.response else ()
        if len(choices) > 1 or (choices and choices[0].index != 0):
            for answer in choices:
                self._write_choice(connection, exchange_id, answer)
        self._write_calls(connection, exchange_id, begun, item, redaction)
        if begun.conversation_id is None:
            return
        if begun.turn_no is not None:
            self._touched.add((begun.conversation_id, begun.turn_no))
        moment = Moment(item.started_at, item.uid)
        sem = begun.input_sem if begun.conversation_how == "new" else None
        if sem is not None and SqlLookup(connection, moment).answered_with_input(sem, item.client_key):
            self._again.add(exchange_id)  # it may take the place of that one
        if has_later(connection, moment):
            self._late.add(exchange_id)  # also without a turn: later results may answer its calls

    def _write_choice(self, connection: Connected, exchange_id: int, answer: Choice) -> None:
        values = {
            "exchange_id": exchange_id,
            "choice": answer.index,
            "message_id": self._content.message(connection, answer.message),
            "finish_reason": answer.finish_reason,
            "finish_reason_raw": if_other(answer.finish_reason_raw, answer.finish_reason),
        }
        connection.execute(_NEW_CHOICE, values)

    def _write_calls(
        self, connection: Connected, exchange_id: int, begun: _Begun, item: Exchange, redaction: Redaction
    ) -> None:
        answers = item.response.choices if item.response else ()
        calls = [call for answer in answers for call in (*answer.message.tool_calls, *answer.leaked_calls)]
        if not calls:
            return
        offered: dict[str, ToolDefinition] = {}
        for tool in item.request.tools if item.request else ():
            offered.setdefault(tool.name, tool)
        verdicts = {**judge_calls(item.request, item.response), **redaction.verdicts}
        place = {
            "exchange_id": exchange_id,
            "conversation_id": begun.conversation_id,
            "turn_no": begun.turn_no,
            "step_no": begun.step_no,
        }
        rows = []
        for call in calls:
            definition = offered.get(call.name)
            definition_id = self._content.tool_definition(connection, definition) if definition else None
            known = definition is not None or connection.execute(_IS_KNOWN, {"name": call.name}).first() is not None
            rows.append(
                call_values(call, verdicts[call.choice, call.ordinal], definition_id) | place | {"known": known}
            )
        connection.execute(_NEW_CALL, rows)
        if begun.conversation_id is not None:
            self._called.add(exchange_id)
