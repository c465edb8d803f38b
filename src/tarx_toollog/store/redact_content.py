"""Content-addressed rows under redaction: which are concerned, what becomes of them, and what points to them.

Used by ``redact`` inside its transactions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from tarx_toollog.model import Message
from tarx_toollog.redaction import Redactor
from tarx_toollog.store.content import Content
from tarx_toollog.store.linker import sem_chain, split_leading
from tarx_toollog.store.reader import Reader
from tarx_toollog.store.schema import (
    choice,
    exchange,
    message,
    metadata,
    node,
    tool_definition,
    tool_result,
    toolset_item,
)

PAGE = 500  # ids a query: SQLite before 3.32 allows 999 variables in a statement

_KEEPS_HISTORY = "openai_responses"  # the protocol whose server may keep the history

Ids = dict[int, int]
"""Keys of rows, and what belongs to each: the row that it became, or its depth."""


class Moves:
    """Exchanges of one transaction whose content is stored again; collects which row became which."""

    def __init__(self, connection: sa.Connection, redactor: Redactor) -> None:
        self._connection = connection
        self._redactor = redactor
        self._content = Content()
        self._reader = Reader(connection)
        self.messages: Ids = {}
        self.definitions: Ids = {}

    def move(self, exchange_id: int) -> None:
        """Store the content of an exchange again, redacted."""
        row = self._connection.execute(sa.select(exchange).where(exchange.c.id == exchange_id)).one()
        item, _ = self._redactor.exchange(self._reader.exchange_by_id(exchange_id))
        values: dict[str, Any] = {}
        depth = 0
        parent: tuple[int | None, bytes | None, bytes | None] = (None, None, None)
        input_sem = self._kept_before(row)
        if item.request is not None:
            leading, history = split_leading(item.request.messages)
            depth, parent = len(history), self._content.history(self._connection, history)
            input_sem = [input_sem, *sem_chain(history, input_sem)][-1]
            values |= {"input_node_id": parent[0], "input_sem": input_sem}
            values["system_node_id"] = self._content.history(self._connection, leading)[0]
            if row.toolset_id is not None and item.request.tools_key is not None:
                tools = self._content.toolset(self._connection, item.request.tools, item.request.tools_key)
                values["toolset_id"] = tools
                self._note_definitions(row.toolset_id, tools)
            self._move_results(exchange_id, item.request.messages)
        choices = item.response.choices if item.response is not None else ()
        if choices and row.output_node_id is not None:
            answer = choices[0].message
            values["output_node_id"] = self._content.history(self._connection, [answer], *parent, depth)[0]
            (values["output_sem"],) = sem_chain([answer], input_sem)
        by_index = {answer.index: answer.message for answer in choices}
        query = sa.select(choice.c.choice, choice.c.message_id).where(choice.c.exchange_id == exchange_id)
        for index, old in self._connection.execute(query).all():
            self._note_message(old, self._content.message(self._connection, by_index[index]))
        for column in ("system_node_id", "input_node_id", "output_node_id"):
            self._note_path(getattr(row, column), values.get(column))
        if values:
            self._connection.execute(sa.update(exchange).where(exchange.c.id == exchange_id).values(**values))
        self._content.brought_by(self._connection, None if row.run_id is not None else exchange_id)

    def repoint(self) -> None:
        """Point everything to the new rows that pointed to the old ones."""
        repoint(self._connection, message, self.messages)
        repoint(self._connection, tool_definition, self.definitions)

    def _kept_before(self, row: sa.Row[Any]) -> bytes | None:
        """Return the meaning of the history that the server keeps (OpenAI Responses); it comes before the request's."""
        named = (row.params or {}).get("previous_response_id")
        if not named or row.parent_exchange_id is None:
            return None
        query = sa.select(exchange.c.output_sem).where(
            exchange.c.id == row.parent_exchange_id, exchange.c.response_id == named
        )
        return self._connection.execute(query).scalar()

    def _move_results(self, exchange_id: int, messages: Sequence[Message]) -> None:
        query = sa.select(tool_result).where(tool_result.c.exchange_id == exchange_id)
        for row in self._connection.execute(query).all():
            text = messages[row.position].tool_results[row.part].text
            values = {"size": len(text), "text": None if row.text is None else text}
            self._connection.execute(sa.update(tool_result).where(tool_result.c.id == row.id).values(**values))

    def _note_message(self, old: int, new: int) -> None:
        if old != new:
            self.messages[old] = new

    def _note_definitions(self, old: int, new: int) -> None:
        if old == new:
            return
        pairs = zip(_definitions(self._connection, old), _definitions(self._connection, new), strict=True)
        self.definitions.update({before: after for before, after in pairs if before != after})

    def _note_path(self, old: int | None, new: int | None) -> None:
        """Note which message became which, from the end of two histories of equal length up to where they meet."""
        while old is not None and new is not None and old != new:
            query = sa.select(node.c.parent_id, node.c.message_id).where(node.c.id == sa.bindparam("node"))
            before = self._connection.execute(query, {"node": old}).one()
            after = self._connection.execute(query, {"node": new}).one()
            self._note_message(before.message_id, after.message_id)
            old, new = before.parent_id, after.parent_id


def repoint(connection: sa.Connection, table: sa.Table, moved: Ids) -> None:
    """Point every reference to rows of ``table`` to the rows that they became.

    Which columns refer to a table is asked of the schema, so that a new one cannot be forgotten. The paths of old
    histories keep their messages: they are deleted as a whole.
    """
    if not moved:
        return
    pairs = sa.Table("redaction_move", sa.MetaData(), sa.Column("old", sa.Integer, primary_key=True),
                     sa.Column("new", sa.Integer), prefixes=["TEMPORARY"])  # fmt: skip
    pairs.create(connection)
    connection.execute(sa.insert(pairs), [{"old": old, "new": new} for old, new in moved.items()])
    for other in metadata.tables.values():
        for key in other.foreign_keys:
            if key.column.table is table and other not in (node, toolset_item):
                became = sa.select(pairs.c.new).where(pairs.c.old == key.parent).scalar_subquery()
                is_old = key.parent.in_(sa.select(pairs.c.old))
                connection.execute(sa.update(other).where(is_old).values({key.parent: became}))
    pairs.drop(connection)


def dirty_nodes(connection: sa.Connection, messages: Mapping[int, Any]) -> Ids:
    """Return the nodes with one of these messages, and all that follow them, with their depths."""
    found: Ids = {}
    if messages:
        columns = (node.c.id, node.c.parent_id, node.c.message_id, node.c.depth)
        for row in connection.execute(sa.select(*columns).order_by(node.c.depth)):
            if row.message_id in messages or row.parent_id in found:
                found[row.id] = row.depth
    return found


def toolsets_with(connection: sa.Connection, definitions: Iterable[int]) -> set[int]:
    """Return the toolsets that hold one of these definitions."""
    found: set[int] = set()
    for some in chunks(definitions, PAGE):
        query = sa.select(toolset_item.c.toolset_id).where(toolset_item.c.tool_definition_id.in_(some))
        found.update(connection.execute(query).scalars())
    return found


def exchanges_of(
    connection: sa.Connection, nodes: Iterable[int], toolsets: set[int], messages: Mapping[int, Any]
) -> Iterator[int]:
    """Yield the exchanges that reach one of these rows, oldest first.

    And all that continue a history which the server keeps: what they mean begins with what their parent means.
    """
    known = set(nodes)
    by_choice = {row.exchange_id for row in connection.execute(sa.select(choice)) if row.message_id in messages}
    columns = (
        "id",
        "system_node_id",
        "input_node_id",
        "output_node_id",
        "toolset_id",
        "parent_exchange_id",
        "protocol",
    )
    query = sa.select(*(exchange.c[name] for name in columns)).order_by(exchange.c.started_at, exchange.c.uid)
    for row in connection.execute(query):
        is_continued = bool(messages) and row.parent_exchange_id is not None and row.protocol == _KEEPS_HISTORY
        reaches = not known.isdisjoint((row.system_node_id, row.input_node_id, row.output_node_id))
        if reaches or is_continued or row.id in by_choice or row.toolset_id in toolsets:
            yield row.id


def _definitions(connection: sa.Connection, toolset_id: int) -> list[int]:
    query = sa.select(toolset_item.c.tool_definition_id).where(toolset_item.c.toolset_id == toolset_id)
    return list(connection.execute(query.order_by(toolset_item.c.position)).scalars())


def chunks(ids: Iterable[int], size: int) -> Iterator[list[int]]:
    """Yield the ids in lists of at most ``size``."""
    all_ids = list(ids)
    for start in range(0, len(all_ids), size):
        yield all_ids[start : start + size]
