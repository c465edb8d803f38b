"""Content-addressed rows: messages, histories, tool definitions, toolsets, raw bodies. Each is stored once.

A request re-sends its whole history, so most of what arrives is known. The hashes of the whole history are
computed first, and one query finds which nodes exist; only what is new is inserted.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tarx_toollog.canonical import bytes_hash, canonical_json, chain_hash, content_hash, json_text, parse_json
from tarx_toollog.model import Message, ToolDefinition
from tarx_toollog.store.budget import estimated_tokens
from tarx_toollog.store.linker import exact_hash, sem_chain
from tarx_toollog.store.prepared import Connected
from tarx_toollog.store.schema import message, node, raw_body, tool_definition, toolset, toolset_item
from tarx_toollog.store.verdicts import complexity

CACHE_SIZE = 8192  # hashes and ids of the conversations that are alive; about 1 MB
_MAX_TOOLSETS = 64
_FEW = 3  # rows that are inserted without looking for them: what a request brings that no earlier one has sent
IN_LIST = 500  # SQLite before 3.32 allows 999 variables in a statement

# Statements are made once: building and hashing one costs SQLAlchemy more than running it.
_TABLES = (message, node, tool_definition, toolset, raw_body)
_LOAD = {
    table.name: sa.select(table.c.hash, table.c.id).where(table.c.hash.in_(sa.bindparam("hashes", expanding=True)))
    for table in _TABLES
}
_INSERT = {
    (table.name, dialect): insert(table).on_conflict_do_nothing().returning(table.c.id)
    for table in _TABLES
    for dialect, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_NEW_ITEMS = sa.insert(toolset_item)
_BROUGHT = (
    sa.update(message)
    .where(message.c.id == sa.bindparam("message"))
    .values(first_exchange_id=sa.bindparam("exchange_id"))
)
_ANSWERED = (
    sa.update(message)
    .where(
        message.c.first_exchange_id.is_(None),
        message.c.id == sa.select(node.c.message_id).where(node.c.id == sa.bindparam("answer")).scalar_subquery(),
    )
    .values(first_exchange_id=sa.bindparam("exchange_id"))
)


class Content:
    """Find or insert shared rows on one connection.

    The caches hold ids of committed rows and of rows of the current transaction: call ``forget`` after a
    rollback.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[str, bytes], int] = {}
        self._new_messages: list[int] = []
        self._known_answers: list[int] = []
        self._n_inserted = 0
        # By the tools as objects, which are kept with the id: the same tools come with every request.
        self._toolsets: dict[tuple[Any, ...], tuple[int, Sequence[ToolDefinition]]] = {}

    def forget(self) -> None:
        """Drop the caches; needed when a transaction that inserted rows was rolled back."""
        self._ids.clear()
        self._toolsets.clear()
        self._new_messages.clear()
        self._known_answers.clear()

    def brought_by(self, connection: Connected, exchange_id: int | None) -> None:
        """Say which exchange brought the messages that were stored since the last call; None: one of a replay."""
        messages, answers = self._new_messages, self._known_answers
        self._new_messages, self._known_answers = [], []
        if exchange_id is None:
            return
        if messages:
            connection.execute(_BROUGHT, [{"message": row_id, "exchange_id": exchange_id} for row_id in messages])
        if answers:  # a replay may have got it before
            connection.execute(_ANSWERED, [{"answer": row_id, "exchange_id": exchange_id} for row_id in answers])

    def history(
        self,
        connection: Connected,
        messages: Sequence[Message],
        parent: int | None = None,
        parent_hash: bytes | None = None,
        parent_sem: bytes | None = None,
        depth: int = 0,
    ) -> tuple[int | None, bytes | None, bytes | None]:
        """Store a history, or append to one; return node id, hash and sem of its last node."""
        if not messages:
            return parent, parent_hash, parent_sem
        message_hashes = [exact_hash(m) for m in messages]
        hashes: list[bytes] = []
        for digest in message_hashes:
            parent_hash = chain_hash(parent_hash, digest)
            hashes.append(parent_hash)
        sems = sem_chain(messages, parent_sem)
        nodes = self._load(connection, node, hashes, but_few=_FEW)
        missing = [i for i, digest in enumerate(hashes) if digest not in nodes]
        known = self._load(connection, message, [message_hashes[i] for i in missing], but_few=_FEW)
        n_before = self._n_inserted
        for i in missing:
            digest = message_hashes[i]
            if digest not in known:
                known[digest] = self._insert(connection, message, digest, message_values(messages[i]))
            values = {
                "sem": sems[i],
                "parent_id": nodes[hashes[i - 1]] if i else parent,
                "message_id": known[digest],
                "depth": depth + i,
            }
            nodes[hashes[i]] = self._insert(connection, node, hashes[i], values)
        if self._n_inserted == n_before and parent is not None:
            self._known_answers.append(nodes[hashes[-1]])
        return nodes[hashes[-1]], hashes[-1], sems[-1]

    def message(self, connection: Connected, item: Message, digest: bytes | None = None) -> int:
        """Store a message and return its id."""
        digest = digest or exact_hash(item)
        known = self._find(connection, message, digest)
        return known if known is not None else self._insert(connection, message, digest, message_values(item))

    def toolset(self, connection: Connected, tools: Sequence[ToolDefinition], key: str) -> int:
        """Store an ordered list of tool definitions and return its id."""
        same = key, *map(id, tools)
        if same in self._toolsets:
            return self._toolsets[same][0]
        digest = content_hash("toolset", [key, [dict(tool.raw) for tool in tools]])
        toolset_id = self._find(connection, toolset, digest)
        if toolset_id is None:
            toolset_id = self._new_toolset(connection, digest, tools, key)
        if len(self._toolsets) >= _MAX_TOOLSETS:
            self._toolsets.clear()
        self._toolsets[same] = toolset_id, tools
        return toolset_id

    def _new_toolset(self, connection: Connected, digest: bytes, tools: Sequence[ToolDefinition], key: str) -> int:
        definitions = [self.tool_definition(connection, tool) for tool in tools]
        size = sum(len(canonical_json(tool.raw)) for tool in tools)
        values = {"n_tools": len(tools), "tools_key": key, "size": size}
        toolset_id = self._insert(connection, toolset, digest, values)
        rows = [
            {"toolset_id": toolset_id, "position": i, "tool_definition_id": definition}
            for i, definition in enumerate(definitions)
        ]
        if rows:
            connection.execute(_NEW_ITEMS, rows)
        return toolset_id

    def tool_definition(self, connection: Connected, tool: ToolDefinition) -> int:
        """Store a tool definition and return its id."""
        raw = dict(tool.raw)
        digest = content_hash("tool_definition", raw)
        known = self._find(connection, tool_definition, digest)
        if known is not None:
            return known
        values = {
            "name": tool.name,
            "description": tool.description or None,
            "parameters": None if tool.parameters is None else dict(tool.parameters),
            "raw": raw,
            "size": len(canonical_json(raw)),
            "n_tokens": estimated_tokens(tool),
            **complexity(tool.parameters)._asdict(),
        }
        return self._insert(connection, tool_definition, digest, values)

    def raw_body(self, connection: Connected, data: bytes) -> int:
        """Store raw bytes and return their id."""
        digest = bytes_hash("raw_body", data)
        known = self._find(connection, raw_body, digest)
        if known is not None:
            return known
        return self._insert(connection, raw_body, digest, {"size": len(data), "data": data})

    def _find(self, connection: Connected, table: sa.Table, digest: bytes) -> int | None:
        return self._load(connection, table, [digest]).get(digest)

    def _load(
        self, connection: Connected, table: sa.Table, hashes: Iterable[bytes], *, but_few: int = 0
    ) -> dict[bytes, int]:
        """Return the ids of those rows that exist; ``but_few`` that are not remembered are not asked for."""
        found: dict[bytes, int] = {}
        wanted: list[bytes] = []
        for digest in dict.fromkeys(hashes):
            row_id = self._ids.get((table.name, digest))
            if row_id is None:
                wanted.append(digest)
            else:
                found[digest] = row_id
        if len(wanted) <= but_few:
            return found  # most likely they are new, and an insert says whether they are
        for start in range(0, len(wanted), IN_LIST):
            part = {"hashes": wanted[start : start + IN_LIST]}
            for digest, row_id in connection.execute(_LOAD[table.name], part):
                found[digest] = row_id
                self._remember(table, digest, row_id)
        return found

    def _insert(self, connection: Connected, table: sa.Table, digest: bytes, values: dict[str, Any]) -> int:
        statement = _INSERT[table.name, connection.dialect.name]
        row_id = connection.execute(statement, values | {"hash": digest}).scalar()
        if row_id is None:  # it was there: an earlier process stored it, or this one so long ago that it forgot
            ((_, row_id),) = connection.execute(_LOAD[table.name], {"hashes": [digest]}).all()
        else:
            self._n_inserted += 1
            if table is message:
                self._new_messages.append(int(row_id))
        self._remember(table, digest, row_id)
        return int(row_id)

    def _remember(self, table: sa.Table, digest: bytes, row_id: int) -> None:
        if len(self._ids) >= CACHE_SIZE:
            self._ids.pop(next(iter(self._ids)))
        self._ids[(table.name, digest)] = row_id


def message_values(item: Message) -> dict[str, Any]:
    """Return the columns of a message; ``reader.message_from_row`` is the inverse."""
    extra = dict(item.raw)
    kind, text = "absent", None
    if "content" in extra:
        content = extra.pop("content")
        if content is None:
            kind = "null"
        elif isinstance(content, str):
            kind, text = "text", content
        else:
            kind, text = "json", json_text(content)
    # A value moves from the JSON to a column only when the column gives it back exactly.
    derived = []
    for key, value in (("role", item.role), ("name", item.name), ("tool_call_id", item.tool_call_id)):
        if value and isinstance(extra.get(key), str) and extra[key] == value:
            del extra[key]
        elif value and key not in extra:
            derived.append(key)  # read from another key: an item of OpenAI Responses has no role of its own
    return {
        "role": item.role,
        "content": text,
        "content_kind": kind,
        "text": item.text if item.text and kind != "text" else None,
        "name": item.name,
        "tool_call_id": item.tool_call_id,
        "n_tool_calls": len(item.tool_calls),
        "extra": extra or None,
        "derived": derived or None,
    }


RAW_COLUMNS = ("role", "content", "content_kind", "name", "tool_call_id", "derived", "extra")
"""Columns of ``message`` that ``raw_message`` reads."""


def raw_message(row: Any) -> dict[str, Any]:
    """Return a message as it stood on the wire; the inverse of ``content.message_values``.

    Args:
        row: Has ``RAW_COLUMNS`` as attributes.
    """
    raw: dict[str, Any] = {}
    derived = row.derived or ()
    extra: dict[str, Any] = row.extra or {}
    if "role" not in extra and row.role and "role" not in derived:
        raw["role"] = row.role
    if row.content_kind != "absent":
        raw["content"] = parse_json(row.content) if row.content_kind == "json" else row.content
    named = {"name": row.name, "tool_call_id": row.tool_call_id}
    raw |= {key: value for key, value in named.items() if value is not None and key not in extra and key not in derived}
    return raw | extra
