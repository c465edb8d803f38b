"""Turns with their steps, read in pages: what export and replay live on.

*Theory.* A request holds the whole history of its dialogue, so a reader that fetches each history by itself reads a
dialogue of n steps n² / 2 times. Here a page of turns costs five queries whatever is in it: its exchanges, the tree of
nodes under them, the messages of those nodes, the calls with their results, and the labels. A message is one object,
shared by all histories of the page that hold it: who works on messages can work once on each, by its identity.
"""

import itertools
import json
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import sqlalchemy as sa

from tarx_toollog.canonical import parse_json
from tarx_toollog.model import Label, LoggedCall, Outcome, Step, Trajectory
from tarx_toollog.store.content import RAW_COLUMNS, raw_message
from tarx_toollog.store.few import turns_meant
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.schema import (
    conversation,
    exchange,
    label,
    message,
    node,
    tool_call,
    tool_definition,
    tool_result,
    toolset_item,
    turn,
)
from tarx_toollog.store.turns import main_line
from tarx_toollog.store.types import among
from tarx_toollog.wire.openai_responses import INSTRUCTIONS

Raw = Mapping[str, Any]
Row = Any
"""A plain named tuple, see ``_rows``."""

PAGE = 200  # turns: few round trips; a cursor that stays open would pin the WAL for the whole export
_IDS = 5000  # keys a query
_MAX_SHARED = 50_000  # messages that are kept for the next page: a dialogue without an end must not fill the memory

_STEPS = (
    exchange.c.id,
    exchange.c.uid,
    exchange.c.conversation_id,
    exchange.c.turn_no,
    exchange.c.step_no,
    exchange.c.parent_exchange_id,
    exchange.c.started_at,
    exchange.c.protocol,
    exchange.c.outcome,
    exchange.c.finish_reason,
    exchange.c.truncation,
    exchange.c.request_model,
    exchange.c.response_model,
    exchange.c.response_id,
    exchange.c.input_tokens,
    exchange.c.output_tokens,
    exchange.c.usage_source,
    exchange.c.system_node_id,
    exchange.c.input_node_id,
    exchange.c.output_node_id,
    exchange.c.toolset_id,
    exchange.c.model_build_id,
    sa.type_coerce(exchange.c.params, sa.Text).label("params_text"),  # most requests have the very same
    exchange.c.layout,
)
_LIST: sa.BindParameter[str] = sa.bindparam("ids", type_=sa.Text)
_OF_TURNS: sa.Select[Any] = sa.select(*_STEPS).where(
    among(exchange.c.conversation_id, _LIST),
    # A dialogue may be longer than a page: of the first and the last one only the turns that are meant.
    sa.or_(exchange.c.conversation_id != sa.bindparam("first_id"), exchange.c.turn_no >= sa.bindparam("first_turn")),
    sa.or_(exchange.c.conversation_id != sa.bindparam("last_id"), exchange.c.turn_no <= sa.bindparam("last_turn")),
    exchange.c.n_inner == 0,
)
_OF_IDS: sa.Select[Any] = sa.select(*_STEPS).where(among(exchange.c.id, _LIST))
_tree = sa.select(node.c.id, node.c.parent_id, node.c.message_id).where(among(node.c.id, _LIST)).cte(recursive=True)
# UNION, not UNION ALL: what histories share is walked through once.
_tree = _tree.union(
    sa.select(node.c.id, node.c.parent_id, node.c.message_id).join(_tree, node.c.id == _tree.c.parent_id)
)
_NODES = sa.select(_tree)
_MESSAGES = sa.select(message.c.id, *(message.c[name] for name in RAW_COLUMNS)).where(among(message.c.id, _LIST))
_CALLS: sa.Select[Any] = (
    sa.select(
        tool_call.c.exchange_id,
        tool_call.c.choice,
        tool_call.c.ordinal,
        tool_call.c.name,
        tool_call.c.arguments,
        tool_call.c.argument_state,
        tool_call.c.schema_state,
        tool_call.c.offered,
        tool_call.c.complete,
        tool_call.c.origin,
        tool_call.c.call_id,
        tool_result.c.is_error,
        sa.func.coalesce(tool_result.c.text, message.c.text, message.c.content).label("result_text"),
    )
    .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
    .outerjoin(message, message.c.id == tool_result.c.message_id)
    .where(among(tool_call.c.exchange_id, _LIST), tool_call.c.choice == 0)
    .order_by(tool_call.c.exchange_id, tool_call.c.ordinal)
)
_TOOLS = (
    sa.select(tool_definition.c.raw)
    .join(toolset_item, toolset_item.c.tool_definition_id == tool_definition.c.id)
    .where(toolset_item.c.toolset_id == sa.bindparam("toolset"))
    .order_by(toolset_item.c.position)
)
_LABELS = (
    sa.select(label.c.target_uid, label.c.name, label.c.value_num, label.c.value_text, label.c.correction)
    .where(label.c.superseded_by_id.is_(None), among(label.c.target_uid, _LIST))
    .order_by(label.c.id)
)


@dataclass(slots=True)
class _Page:
    """Everything that the steps of one page need, by key."""

    nodes: dict[int, tuple[int | None, int]] = field(default_factory=dict)
    """Node → parent, message."""
    calls: dict[int, list[Row]] = field(default_factory=dict)
    labels: dict[str, list[Label]] = field(default_factory=dict)
    paths: dict[int, tuple[Raw, ...]] = field(default_factory=dict)
    """Node → the messages up to it, made when they are asked for."""


class Trajectories:
    """Reads turns on one connection.

    Args:
        connection: Any connection of the store.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._tools: dict[int, tuple[Raw, ...]] = {}
        self._params: dict[str, dict[str, Any]] = {}
        self._messages: dict[int, Raw] = {}
        self._of_conversation: int | None = None
        self._has_labels = connection.execute(sa.select(label.c.id).limit(1)).first() is not None

    def read(self, filters: Filters) -> Iterator[Trajectory]:
        """Yield the turns that match, oldest conversation first, with their steps."""
        last, left = (0, 0), filters.limit
        meant = turns_meant(self._connection, filters)
        while left is None or left > 0:
            page = PAGE if left is None else min(PAGE, left)
            rows = self._turns(meant, last, page)
            yield from self._page(rows)
            if len(rows) < page:
                return
            last = (rows[-1].conversation_id, rows[-1].turn_no)
            left = None if left is None else left - len(rows)

    def steps(self, ids: Sequence[int]) -> dict[int, Step]:
        """Return exchanges as steps by their internal keys, whatever branch or run they belong to."""
        rows = [row for part in _parts(ids) for row in _rows(self._connection.execute(_OF_IDS, {"ids": part}))]
        self._forget(())
        page = self._fetch(rows, ())
        return {row.id: self._step(page, row) for row in rows}

    def _turns(self, meant: Iterable[sa.ColumnElement[bool]], after: tuple[int, int], page: int) -> Sequence[Row]:
        query: sa.Select[Any] = (
            sa.select(
                turn.c.conversation_id,
                turn.c.turn_no,
                turn.c.last_exchange_id,
                turn.c.signature,
                turn.c.status,
                conversation.c.uid.label("conversation_uid"),
                conversation.c.split,
            )
            .join(conversation, conversation.c.id == turn.c.conversation_id)
            .where(
                sa.tuple_(turn.c.conversation_id, turn.c.turn_no) > sa.tuple_(*map(sa.literal, after)),
                *meant,
            )
            .order_by(turn.c.conversation_id, turn.c.turn_no)
            .limit(page)
        )
        return _rows(self._connection.execute(query))

    def _page(self, turns: Sequence[Row]) -> Iterator[Trajectory]:
        self._forget(turns)
        found = self._steps_of(turns)
        lines: list[tuple[Row, list[Row]]] = []
        for row in turns:
            there = found.get((row.conversation_id, row.turn_no), {})
            # Of answers that were asked for again only the one counts that the dialogue went on with.
            line = main_line(row.last_exchange_id, {step.id: step.parent_exchange_id for step in there.values()})
            lines.append((row, [there[step] for step in line]))
        page = self._fetch([step for _, steps in lines for step in steps], turns)
        for row, steps in lines:
            yield Trajectory(
                row.conversation_uid,
                row.turn_no,
                tuple(self._step(page, step) for step in steps),
                row.signature,
                row.status,
                row.split,
                tuple(page.labels.get(row.conversation_uid, ())),
            )

    def _steps_of(self, turns: Sequence[Row]) -> dict[tuple[int, int], dict[int, Row]]:
        found: dict[tuple[int, int], dict[int, Row]] = {}
        if not turns:
            return found
        bounds = {
            "ids": json.dumps(sorted({row.conversation_id for row in turns})),
            "first_id": turns[0].conversation_id,
            "first_turn": turns[0].turn_no,
            "last_id": turns[-1].conversation_id,
            "last_turn": turns[-1].turn_no,
        }
        for step in _rows(self._connection.execute(_OF_TURNS, bounds)):
            found.setdefault((step.conversation_id, step.turn_no), {})[step.id] = step
        return found

    def _fetch(self, steps: Sequence[Row], turns: Sequence[Row]) -> _Page:
        page = _Page()
        ends = {end for step in steps for end in (step.system_node_id, step.input_node_id, step.output_node_id)}
        for part in _parts(end for end in ends if end is not None):
            for key, parent_id, message_id in self._connection.execute(_NODES, {"ids": part}).all():
                page.nodes[key] = (parent_id, message_id)
        self._fetch_messages({message_id for _, message_id in page.nodes.values()})
        for part in _parts(step.id for step in steps):
            for call in _rows(self._connection.execute(_CALLS, {"ids": part})):
                page.calls.setdefault(call.exchange_id, []).append(call)
        if self._has_labels:
            self._fetch_labels(page, steps, turns)
        return page

    def _forget(self, turns: Sequence[Row]) -> None:
        """Drop the messages of earlier pages, but of a dialogue that goes on: its messages stay the same objects."""
        if not turns or turns[0].conversation_id != self._of_conversation or len(self._messages) > _MAX_SHARED:
            self._messages.clear()
        self._of_conversation = turns[-1].conversation_id if turns else None

    def _fetch_messages(self, wanted: set[int]) -> None:
        for part in _parts(wanted - self._messages.keys()):
            for row in _rows(self._connection.execute(_MESSAGES, {"ids": part})):
                self._messages[row.id] = raw_message(row)

    def _fetch_labels(self, page: _Page, steps: Sequence[Row], turns: Sequence[Row]) -> None:
        uids = {step.uid for step in steps} | {row.conversation_uid for row in turns}
        uids |= {_call_uid(step, call) for step in steps for call in page.calls.get(step.id, ())}
        for part in _parts(uids):
            for row in _rows(self._connection.execute(_LABELS, {"ids": part})):
                given = Label(row.name, row.value_num, row.value_text, row.correction)
                page.labels.setdefault(row.target_uid, []).append(given)

    def _step(self, page: _Page, row: Row) -> Step:
        calls = [_logged(page, row, call) for call in page.calls.get(row.id, ())]
        output = None if row.output_node_id is None else self._messages[page.nodes[row.output_node_id][1]]
        return Step(
            exchange_uid=row.uid,
            step_no=row.step_no,
            started_at=row.started_at,
            model=row.response_model or row.request_model,
            messages=self._model_input(page, row),
            tools=self._toolset(row.toolset_id),
            params=self._params_of(row),
            output=output,
            tool_calls=tuple(call for call in calls if call.origin != "leaked_text"),
            leaked_calls=tuple(call for call in calls if call.origin == "leaked_text"),
            outcome=Outcome(row.outcome),
            finish_reason=row.finish_reason,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            protocol=row.protocol,
            usage_source=row.usage_source,
            truncation=row.truncation,
            labels=tuple(page.labels.get(row.uid, ())),
            exchange_id=row.id,
        )

    def _model_input(self, page: _Page, row: Row) -> tuple[Raw, ...]:
        """Return the messages that the model was given: those sent, after those that its server had kept."""
        leading, sent = self._path(page, row.system_node_id), self._path(page, row.input_node_id)
        n_instructions = _n_instructions(row)
        kept: tuple[Raw, ...] = ()
        step: Row | None = row
        while step is not None and (step := self._continued(step)) is not None:
            # The instructions of an earlier request are forgotten; other system messages of its input are not.
            before = self._fetch([step], ())
            said = self._path(before, step.system_node_id)[_n_instructions(step) :]
            kept = said + self._path(before, step.output_node_id) + kept
        return leading[:n_instructions] + kept + leading[n_instructions:] + sent

    def _continued(self, row: Row) -> Row | None:
        """Return the exchange whose history the server was asked to take up."""
        named = self._params_of(row).get("previous_response_id")
        if not named or row.parent_exchange_id is None:
            return None
        found = _rows(self._connection.execute(_OF_IDS, {"ids": json.dumps([row.parent_exchange_id])}))
        return found[0] if found and found[0].response_id == named else None

    def _path(self, page: _Page, node_id: int | None) -> tuple[Raw, ...]:
        waiting = []
        while node_id is not None and node_id not in page.paths:
            waiting.append(node_id)
            node_id = page.nodes[node_id][0]
        path = () if node_id is None else page.paths[node_id]
        for each in reversed(waiting):
            path = page.paths[each] = (*path, self._messages[page.nodes[each][1]])
        return path

    def _params_of(self, row: Row) -> Mapping[str, Any]:
        if row.params_text is None:
            return {}
        text = f"{row.request_model}\0{row.params_text}"
        if text not in self._params:
            if len(self._params) > _MAX_SHARED:
                self._params.clear()
            params = parse_json(row.params_text)
            self._params[text] = params if row.request_model is None else {"model": row.request_model, **params}
        return self._params[text]

    def _toolset(self, toolset_id: int | None) -> tuple[Raw, ...]:
        if toolset_id is None:
            return ()
        if toolset_id not in self._tools:
            self._tools[toolset_id] = tuple(self._connection.execute(_TOOLS, {"toolset": toolset_id}).scalars())
        return self._tools[toolset_id]


def _logged(page: _Page, step: Row, call: Row) -> LoggedCall:
    uid = _call_uid(step, call)
    return LoggedCall(
        uid=uid,
        name=call.name,
        arguments=call.arguments,
        argument_state=call.argument_state,
        schema_state=call.schema_state,
        offered=call.offered,
        complete=call.complete,
        origin=call.origin,
        call_id=call.call_id,
        result_text=call.result_text,
        result_is_error=call.is_error,
        labels=tuple(page.labels.get(uid, ())),
    )


def _call_uid(step: Row, call: Row) -> str:
    return f"{step.uid}.{call.choice}.{call.ordinal}"


def _rows(result: sa.Result[Any]) -> list[Row]:
    """Return all rows as plain named tuples: reading a name of SQLAlchemy's rows takes ten times as long."""
    return list(map(_maker(tuple(result.keys())), result.all()))


@cache
def _maker(names: tuple[str, ...]) -> Callable[[Iterable[Any]], Row]:
    plain: Any = namedtuple("Row", names)  # type: ignore[misc]  # the names are those of a query
    return cast("Callable[[Iterable[Any]], Row]", plain._make)


def _n_instructions(row: Row) -> int:
    return 1 if INSTRUCTIONS in (row.layout or ()) else 0


def _parts(values: Iterable[Any]) -> Iterator[str]:
    """Cut values into lists that one query can take, as JSON (``types.among``)."""
    iterator = iter(values)
    while part := list(itertools.islice(iterator, _IDS)):
        yield json.dumps(part)
