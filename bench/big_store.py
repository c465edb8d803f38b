"""Makes a store of made-up exchanges by bulk inserts, many times faster than the writer, with the same rows.

``python -m bench.big_store PATH [N]`` makes one of N exchanges, a million by default.

*Theory.* The writer is slow because it looks things up: what a request repeats, what it continues, what it answers.
``bench.dialogues`` knows that, so nothing is looked up here. Hashes, columns of messages, verdicts and budgets still
come from the store's own pure functions, and rare answers from the decoder. Only messages that may occur in another
dialogue are remembered; were any other to come twice, its unique hash would stop the build.
``tests/unit/test_big_store.py`` writes the same exchanges with ``ToolLog.write`` and compares all columns.
"""

import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from bench import big_rows
from bench.big_rows import Call, Node, Offer, Talk
from bench.dialogues import SMALL_TALK, TOOLSETS, Asked, Dialogue, dialogues, raw_exchange, request_body
from tarx_toollog import Settings, ToolLog
from tarx_toollog.canonical import chain_hash
from tarx_toollog.model import EPOCH, Exchange, Message
from tarx_toollog.redaction.policy import Policy
from tarx_toollog.store import schema
from tarx_toollog.store.budget import Calibration, measure
from tarx_toollog.store.content import Content, message_values
from tarx_toollog.store.linker import message_hash, sem_chain
from tarx_toollog.store.splits import bucket_of, split_of_bucket
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.openai_chat import message_from_raw

MILLION = 1_000_000
_BATCH = 5_000  # rows of a table that are collected before they are inserted
_COMMON = frozenset(SMALL_TALK) | frozenset(SMALL_TALK.values())
_PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-400000")


def build(path: Path, exchanges: int = MILLION, seed: int = 1) -> None:
    """Make a store with so many exchanges; the same number and seed make the same rows.

    Raises:
        FileExistsError: There is one already.
    """
    if path.exists():
        raise FileExistsError(path)
    settings = Settings(database=str(path))
    with ToolLog.open(settings=settings, read_only=False) as log, log.engine.begin() as connection:
        offers = [_offer(connection, number) for number in range(len(TOOLSETS))]
    with closing(sqlite3.connect(path, isolation_level=None)) as raw, _without_indexes(raw):
        bulk = _Bulk(raw, offers, Policy.load(settings.redact).policy_id)
        for dialogue in dialogues(exchanges, seed):
            bulk.write(dialogue)
        bulk.flush()


def _offer(connection: sa.Connection, toolset: int) -> Offer:
    """Let the store itself write a toolset."""
    content, dialogue = Content(), replace(next(dialogues(1)), toolset=toolset)
    item = decode(raw_exchange(dialogue, dialogue.asked[0], request_body(dialogue, [])))
    assert item.request is not None
    tools = item.request.tools
    return Offer(
        template=replace(item, request=replace(item.request, messages=())),
        toolset_id=content.toolset(connection, tools, "tools"),
        definition_ids={tool.name: content.tool_definition(connection, tool) for tool in tools},
        n_bytes=measure(item.request, 0).tools,
    )


@contextmanager
def _without_indexes(connection: sqlite3.Connection) -> Iterator[None]:
    """Take the indexes away for the time of the inserts: to make them at the end is many times faster."""
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql > ''").fetchall()
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    connection.execute("BEGIN")
    yield
    connection.execute("COMMIT")
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("PRAGMA journal_mode=WAL")


class _Rows:
    """Rows of one table on their way into it."""

    def __init__(self, connection: sqlite3.Connection, table: sa.Table) -> None:
        dialect: Any = sqlite.dialect()
        self._connection = connection
        self._places = {
            column.name: (place, column.type.dialect_impl(dialect).bind_processor(dialect))
            for place, column in enumerate(table.columns)
        }
        self._blank: list[Any] = [None] * len(self._places)
        marks = ", ".join("?" * len(self._places))
        self._insert = f"INSERT INTO {table.name} ({', '.join(self._places)}) VALUES ({marks})"
        self._rows: list[list[Any]] = []
        self.next_id = 1

    def add(self, values: Mapping[str, Any]) -> int:
        """Take a row and return its key; a column that is not named is NULL."""
        row_id, self.next_id = self.next_id, self.next_id + 1
        row = self._blank.copy()
        if "id" in self._places:
            row[self._places["id"][0]] = row_id
        for name, value in values.items():
            if value is not None:
                place, process = self._places[name]
                row[place] = value if process is None else process(value)
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self.flush()
        return row_id

    def flush(self) -> None:
        """Insert what was taken."""
        self._connection.executemany(self._insert, self._rows)
        self._rows.clear()


class _Bulk:
    """Turns dialogues into rows."""

    def __init__(self, connection: sqlite3.Connection, offers: Sequence[Offer], policy_id: str) -> None:
        self._offers = offers
        self._policy_id = policy_id
        self._conversations = _Rows(connection, schema.conversation)
        self._exchanges = _Rows(connection, schema.exchange)
        self._messages = _Rows(connection, schema.message)
        self._nodes = _Rows(connection, schema.node)
        self._calls = _Rows(connection, schema.tool_call)
        self._results = _Rows(connection, schema.tool_result)
        self._turns = _Rows(connection, schema.turn)
        self._calibrations: dict[str | None, Calibration] = {}
        self._common: dict[bytes, int] = {}
        self._before: dict[bytes, int] = {}  # of the dialogue before, which may be repeated word by word
        self._here: dict[bytes, int] = {}

    def flush(self) -> None:
        """Insert what was collected."""
        for rows in vars(self).values():
            if isinstance(rows, _Rows):
                rows.flush()

    def write(self, dialogue: Dialogue) -> None:
        """Write one dialogue; the one before it must have ended."""
        self._before, self._here = self._here, {}
        talk = self._opened(dialogue)
        for asked in dialogue.asked:
            if asked.new[0]["role"] == "user":
                self._end_turn(talk)
            talk.step_no += 1
            self._exchange(talk, asked)
        self._end_turn(talk)

    def _opened(self, dialogue: Dialogue) -> Talk:
        system = message_from_raw({"role": "system", "content": dialogue.system})
        node, _ = self._append(Node(), system, is_common=True)
        bucket = bucket_of(dialogue.uid)
        values = {
            "uid": dialogue.uid,
            "source": "header",
            "external_id": dialogue.hint,
            "client_key": dialogue.client_key,
            "first_at": _moment(dialogue.asked[0]),
            "last_at": _moment(dialogue.asked[-1]),
            "split_bucket": bucket,
            "split": split_of_bucket(bucket),
        }
        return Talk(
            dialogue=dialogue,
            offer=self._offers[dialogue.toolset],
            conversation_id=self._conversations.add(values),
            system_id=node.id,
            system_bytes=big_rows.sizes([system]).system,
            body_size=len(request_body(dialogue, [])),
        )

    def _append(self, node: Node, message: Message, *, is_common: bool = False) -> tuple[Node, int]:
        """Append a message to a history; return the place and the row of the message."""
        digest = message_hash(message.raw)
        is_common = is_common or message.text in _COMMON
        message_id = self._known(digest)
        if message_id is None:
            message_id = self._messages.add(message_values(message) | {"hash": digest})
            self._remember(digest, message_id, is_common=is_common)
        node_hash = chain_hash(node.hash, digest)
        (sem,) = sem_chain([message], node.sem)
        node_id = self._known(node_hash)
        depth, is_common = node.depth + 1, is_common and node.is_common
        if node_id is None:
            values = {"hash": node_hash, "sem": sem, "parent_id": node.id, "message_id": message_id, "depth": depth}
            node_id = self._nodes.add(values)
            self._remember(node_hash, node_id, is_common=is_common)
        return Node(node_id, node_hash, sem, depth, is_common), message_id

    def _known(self, digest: bytes) -> int | None:
        found = self._here.get(digest) or self._common.get(digest)
        if found is None and (found := self._before.get(digest)) is not None:
            self._here[digest] = found  # the next dialogue may be the same once more
        return found

    def _remember(self, digest: bytes, row_id: int, *, is_common: bool) -> None:
        (self._common if is_common else self._here)[digest] = row_id

    def _exchange(self, talk: Talk, asked: Asked) -> None:
        item, exchange_id = big_rows.answered(talk, asked), self._exchanges.next_id
        new = [message_from_raw(raw) for raw in asked.new]
        for message in new:
            self._take(talk, item, message, exchange_id)
        new_bytes = big_rows.sizes(new).new
        values = big_rows.begin_values(talk, item) | big_rows.finish_values(item)
        values |= big_rows.budget_values(talk, item, new_bytes, self._calibrations)
        talk.history_bytes += new_bytes
        for choice in item.response.choices if item.response is not None else ():
            talk.node, _ = self._append(talk.node, choice.message)
            talk.history_bytes += big_rows.sizes([choice.message]).new
            talk.n_messages, talk.body_size = talk.n_messages + 1, talk.body_size + big_rows.json_size(choice.message)
            for call in (*choice.message.tool_calls, *choice.leaked_calls):
                columns, verdict = big_rows.call_values(talk, call, exchange_id)
                talk.calls.append(Call(self._calls.add(columns), call, verdict, item))
            values |= {"output_node_id": talk.node.id, "output_sem": talk.node.sem}
        self._exchanges.add(values | {"redaction_policy": self._policy_id})
        talk.steps.append(item)
        talk.last_id = exchange_id

    def _take(self, talk: Talk, item: Exchange, message: Message, exchange_id: int) -> None:
        """Take what the client adds to the history: a user's message, or a result."""
        talk.node, message_id = self._append(talk.node, message)
        if message.tool_results:
            rows = {"exchange_id": exchange_id, "message_id": message_id}
            self._results.add(big_rows.result_values(talk, item, message) | rows)
        else:
            talk.user_message_id = message_id
        talk.n_messages, talk.body_size = talk.n_messages + 1, talk.body_size + big_rows.json_size(message)

    def _end_turn(self, talk: Talk) -> None:
        """Write the turn, if one has begun, and begin the next one."""
        if talk.steps:
            self._turns.add(big_rows.turn_values(talk))
        talk.turn_no, talk.step_no = talk.turn_no + 1, 0
        talk.steps, talk.calls, talk.errors = [], [], {}


def _moment(asked: Asked) -> datetime:
    return EPOCH + timedelta(microseconds=asked.started_ns // 1000)


def main(arguments: list[str]) -> None:
    """Make a store."""
    build(Path(arguments[0]), int(arguments[1]) if len(arguments) > 1 else MILLION)


if __name__ == "__main__":
    main(sys.argv[1:])
