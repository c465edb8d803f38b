"""Rows in, ``Exchange`` and ``Trajectory`` out: the exact inverse of ``store.writer``.

"Exact" means: every message, definition and parameter equals what was on the wire as JSON. White space and key
order of the body are not kept; where a body could not be decoded without loss, its raw bytes are
(setting ``keep_raw``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.model import (
    EPOCH,
    Choice,
    Exchange,
    Outcome,
    Request,
    Response,
    Timing,
    ToolCall,
    Trajectory,
    Usage,
)
from tarx_toollog.store.content import raw_message
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.named import CLIENT_SOURCES, begins_with
from tarx_toollog.store.schema import (
    choice,
    conversation,
    exchange,
    message,
    node,
    run,
    tool_call,
    tool_definition,
    toolset,
    toolset_item,
)
from tarx_toollog.store.trajectories import Trajectories
from tarx_toollog.store.verdicts import REPAIRED
from tarx_toollog.wire.protocols import WireProtocol, protocol_named


class Reader:
    """Reads on one connection. Toolsets, which most exchanges share, are read once."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._tools: dict[int, tuple[str, tuple[Mapping[str, Any], ...]]] = {}

    def exchange(self, uid: str) -> Exchange:
        """Return the exchange with this uid; the beginning of a uid will do when only one fits.

        Raises:
            NothingMatchedError: None fits, or several do.
        """
        query = sa.select(exchange).where(begins_with(exchange.c.uid, uid)).order_by(exchange.c.uid).limit(2)
        rows = self._connection.execute(query).all()
        if not rows or (len(rows) > 1 and rows[0].uid != uid):
            problem = "several exchanges begin" if rows else "no exchange begins"
            raise NothingMatchedError(f"{problem} with {uid!r}", hint="`toollog log list` shows their ids")
        return self._exchange(rows[0])

    def exchange_by_id(self, exchange_id: int) -> Exchange:
        """Return the exchange with this internal key."""
        row = self._connection.execute(sa.select(exchange).where(exchange.c.id == exchange_id)).one()
        return self._exchange(row)

    def history(self, node_id: int | None) -> list[dict[str, Any]]:
        """Return the messages from the start of a history to ``node_id``, as they stood on the wire."""
        if node_id is None:
            return []
        columns = (node.c.id, node.c.parent_id, node.c.message_id, node.c.depth)
        path = sa.select(*columns).where(node.c.id == node_id).cte("path", recursive=True)
        path = path.union_all(sa.select(*columns).join(path, node.c.id == path.c.parent_id))
        query = sa.select(message).join(path, path.c.message_id == message.c.id).order_by(path.c.depth)
        return [raw_message(row) for row in self._connection.execute(query)]

    def trajectories(self, filters: Filters) -> Iterator[Trajectory]:
        """Yield the turns that match, oldest conversation first, with their steps."""
        return Trajectories(self._connection).read(filters)

    # ---- exchange ---------------------------------------------------------------------------------------------------

    def _exchange(self, row: sa.Row[Any]) -> Exchange:
        hint, source = self._hint(row)
        return Exchange(
            uid=row.uid,
            leg=row.leg,
            protocol=row.protocol,
            method=row.method,
            route=row.route,
            started_ns=_to_ns(row.started_at),
            outcome=Outcome(row.outcome),
            http_status=row.http_status,
            request=self._request(row),
            response=self._response(row),
            timing=Timing(row.first_byte_ms, row.first_tool_ms, row.total_ms),
            error_type=row.error_type,
            error_text=row.error_text,
            notes=tuple(row.notes or ()),
            conversation_hint=hint,
            hint_source=source,
            outer_uid=self._uid(exchange, row.outer_exchange_id),
            client_key=row.client_key,
            client_kind=row.client_kind,
            client_origin=row.client_origin,
            user_agent=row.user_agent,
            upstream=row.upstream,
            run_uid=self._uid(run, row.run_id),
            request_size=row.request_size,
            response_size=row.response_size,
        )

    def _request(self, row: sa.Row[Any]) -> Request | None:
        if row.params is None:
            return None
        raws = self.history(row.system_node_id) + self.history(row.input_node_id)
        key, tools = self._toolset(row.toolset_id)
        protocol = protocol_named(row.protocol)
        return Request(
            model=row.request_model,
            messages=tuple(protocol.read_message(raw) for raw in raws),
            tools=tuple(protocol.read_tool(raw) for raw in tools),
            params=params_of(row) or {},
            tools_key=key,
            layout=tuple(row.layout or ()),
            stream_default=bool(row.stream) and row.params.get("stream") is None,
        )

    def _response(self, row: sa.Row[Any]) -> Response | None:
        if row.terminated is None:
            return None
        return Response(
            response_id=row.response_id,
            model=row.response_model,
            choices=tuple(self._choices(row, protocol_named(row.protocol))),
            usage=_usage(row),
            terminated=row.terminated,
            prompt_ms=row.prompt_ms,
            predicted_ms=row.predicted_ms,
            error=row.error_body,
            error_in_stream=row.error_in_stream,
            extra=row.response_extra or {},
        )

    def _choices(self, row: sa.Row[Any], protocol: WireProtocol) -> Iterator[Choice]:
        calls: dict[tuple[int, bool], list[ToolCall]] = {}
        query = sa.select(tool_call).where(tool_call.c.exchange_id == row.id).order_by(tool_call.c.ordinal)
        for call in self._connection.execute(query):
            calls.setdefault((call.choice, call.origin == "leaked_text"), []).append(_call(call))
        for answer in self._answers(row):
            given = protocol.read_message(raw_message(answer))
            leaked = tuple(calls.get((answer.choice, True), ()))
            made = replace(given, tool_calls=tuple(calls.get((answer.choice, False), ())))
            reason_raw = answer.finish_reason if answer.finish_reason_raw is None else answer.finish_reason_raw
            yield Choice(answer.choice, made, answer.finish_reason, reason_raw, leaked)

    def _answers(self, row: sa.Row[Any]) -> list[sa.Row[Any]]:
        """Return the answers of an exchange: several have rows of their own, a single one is its output."""
        several: sa.Select[Any] = (
            sa.select(choice.c.choice, choice.c.finish_reason, choice.c.finish_reason_raw, *message.c)
            .join(message, message.c.id == choice.c.message_id)
            .where(choice.c.exchange_id == row.id)
            .order_by(choice.c.choice)
        )
        single: sa.Select[Any] = (
            sa.select(sa.literal(0).label("choice"), exchange.c.finish_reason, exchange.c.finish_reason_raw, *message.c)
            .join(node, node.c.id == exchange.c.output_node_id)
            .join(message, message.c.id == node.c.message_id)
            .where(exchange.c.id == row.id)
        )
        return list(self._connection.execute(several)) or list(self._connection.execute(single))

    def _toolset(self, toolset_id: int | None) -> tuple[str | None, tuple[Mapping[str, Any], ...]]:
        if toolset_id is None:
            return None, ()
        if toolset_id not in self._tools:
            key = self._connection.execute(
                sa.select(toolset.c.tools_key).where(toolset.c.id == toolset_id)
            ).scalar_one()
            query = (
                sa.select(tool_definition.c.raw)
                .join(toolset_item, toolset_item.c.tool_definition_id == tool_definition.c.id)
                .where(toolset_item.c.toolset_id == toolset_id)
                .order_by(toolset_item.c.position)
            )
            self._tools[toolset_id] = key, tuple(self._connection.execute(query).scalars())
        return self._tools[toolset_id]

    def _hint(self, row: sa.Row[Any]) -> tuple[str | None, str | None]:
        if row.conversation_how not in CLIENT_SOURCES:
            return None, None
        query = sa.select(conversation.c.external_id).where(conversation.c.id == row.conversation_id)
        return self._connection.execute(query).scalar(), row.conversation_how

    def _uid(self, table: sa.Table, row_id: int | None) -> str | None:
        if row_id is None:
            return None
        return cast("str", self._connection.execute(sa.select(table.c.uid).where(table.c.id == row_id)).scalar_one())


def params_of(row: sa.Row[Any]) -> dict[str, Any] | None:
    """Return the rest of a request body, with the model; None where the body could not be read."""
    if row.params is None or row.request_model is None:
        params: dict[str, Any] | None = row.params
        return params
    return {"model": row.request_model, **row.params}


def _call(row: sa.Row[Any]) -> ToolCall:
    return ToolCall(
        name=row.name,
        arguments=row.arguments,
        call_id=row.call_id,
        id_state=row.id_state,
        choice=row.choice,
        ordinal=row.ordinal,
        wire_index=row.wire_index,
        origin=row.origin,
        complete=row.complete,
        # What a verdict has added is not what the server did.
        quirks=tuple(quirk for quirk in row.quirks if not quirk.startswith(REPAIRED)),
        emitted_ms=row.emitted_ms,
    )


def _usage(row: sa.Row[Any]) -> Usage | None:
    if row.usage_source in (None, "estimated"):
        return None
    return Usage(row.input_tokens, row.output_tokens, row.cached_tokens, row.reasoning_tokens, row.usage_source)


def _to_ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000
