"""Makes a store of made-up exchanges by bulk inserts, many times faster than the writer, with the same rows.

``python -m bench.big_store PATH [N]`` makes one of N exchanges of ``bench.dialogues``, a million by default;
``python -m bench.big_store PATH --calls N --weeks W`` one of N tool calls in W weeks, for analysts (``bench.weeks``).

*Theory.* The writer is slow because it looks things up: what a request repeats, what it continues, what it answers.
Who makes dialogues up knows that, so nothing is looked up here. Hashes, columns of messages, verdicts and budgets still
come from the store's own pure functions, and rare answers from the decoder. Only messages that may occur in another
dialogue are remembered; were any other to come twice, its unique hash would stop the build.
``tests/unit/test_big_store.py`` writes the same exchanges with the writer and compares all columns.
"""

import argparse
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench import big_rows, weeks
from bench.big_rows import Call, Node, Offer, Talk
from bench.dialogues import SMALL_TALK, made_up
from bench.talks import MODEL, UPSTREAM, Asked, Dialogue, MadeUp, Served, Toolset, in_time_order, sample
from tarx_toollog import Settings, ToolLog
from tarx_toollog.canonical import chain_hash, escape_text, json_text
from tarx_toollog.model import EPOCH, Exchange, Message
from tarx_toollog.redaction.policy import Policy
from tarx_toollog.store import schema
from tarx_toollog.store.budget import Calibration, measure
from tarx_toollog.store.builds import Known, Sighting, attribute, write_build
from tarx_toollog.store.content import Content, message_values
from tarx_toollog.store.engine import look_around, writer_engine
from tarx_toollog.store.linker import message_hash, sem_chain
from tarx_toollog.store.schema.builds import model_build, model_sighting
from tarx_toollog.store.search import catch_up
from tarx_toollog.store.splits import bucket_of, split_of_bucket
from tarx_toollog.store.tallies import fold_changed
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.openai_chat import message_from_raw
from tarx_toollog.wire.openai_fields import build_message

MILLION = 1_000_000
_BATCH = 5_000  # rows of a table that are collected before they are inserted
_COMMON = frozenset(SMALL_TALK) | frozenset(SMALL_TALK.values())
# What the triggers would have noted: that these days are to be counted.
_CHANGED_DAYS = (
    "INSERT INTO tally_change (day, transaction_no) SELECT DISTINCT substr(started_at, 1, 10), 0 "
    "FROM (SELECT started_at FROM exchange UNION ALL SELECT started_at FROM turn)"
)
_PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-400000")


def build(path: Path, exchanges: int = MILLION, seed: int = 1) -> None:
    """Make a store with so many exchanges; the same number and seed make the same rows.

    Raises:
        FileExistsError: There is one already.
    """
    fill(path, made_up(exchanges, seed))


def fill(path: Path, made: MadeUp) -> None:
    """Make a store of a log that was made up.

    Raises:
        FileExistsError: There is one already.
    """
    if path.exists():
        raise FileExistsError(path)
    settings = Settings(database=str(path))
    with ToolLog.open(settings=settings, read_only=False) as log, log.engine.begin() as connection:
        offers = {toolset: _offer(connection, toolset) for toolset in made.toolsets}
        sightings = write_surroundings(connection, made)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw, _bare(raw):
        bulk = _Bulk(raw, offers, sightings, Policy.load(settings.redact).policy_id)
        for dialogue, asked in in_time_order(made.dialogues):
            bulk.write(dialogue, asked)
        bulk.flush()


def tidy(path: Path) -> None:
    """Do what the writer does in quiet hours: index the words, count the days, look how the rows are spread."""
    engine = writer_engine(Settings(database=str(path)))
    try:
        look_around(engine)
        fold_changed(engine)
        catch_up(engine)
    finally:
        engine.dispose()


def write_surroundings(connection: sa.Connection, made: MadeUp) -> list[Sighting]:
    """Write what no exchange brings: builds and when they were seen, and losses."""
    for gap in made.gaps:
        values = {"kind": gap.kind, "from_at": gap.at, "to_at": gap.at, "n": gap.n, "detail": gap.detail}
        connection.execute(sa.insert(schema.gap), values)
    return [_sighting(connection, served) for served in made.served]


def _sighting(connection: sa.Connection, served: Served) -> Sighting:
    key = write_build(connection, served.facts, UPSTREAM, served.from_at)
    # Its public id comes from chance, and the same seed is to make the same store.
    same = sa.update(model_build).where(model_build.c.id == key).values(uid=served.uid, last_seen_at=served.to_at)
    connection.execute(same)
    place = {"model_build_id": key, "upstream": UPSTREAM, "model": MODEL}
    connection.execute(sa.insert(model_sighting), place | {"from_at": served.from_at, "to_at": served.to_at})
    return Sighting(Known(key, served.facts.n_ctx), served.from_at, served.to_at)


def _offer(connection: sa.Connection, toolset: Toolset) -> Offer:
    """Let the store itself write a toolset."""
    content, item = Content(), decode(sample(toolset))
    assert item.request is not None
    tools = item.request.tools
    return Offer(
        template=replace(item, request=replace(item.request, messages=())),
        toolset_id=content.toolset(connection, tools, "tools"),
        tools={tool.name: tool for tool in tools},
        definition_ids={tool.name: content.tool_definition(connection, tool) for tool in tools},
        n_bytes=measure(item.request, 0).tools,
    )


@contextmanager
def _bare(connection: sqlite3.Connection) -> Iterator[None]:
    """Take indexes and triggers away for the time of the inserts: to make them at the end is many times faster."""
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    taken = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql > '' ORDER BY type"
    ).fetchall()
    for kind, name, _ in taken:
        connection.execute(f'DROP {kind} "{name}"')
    connection.execute("BEGIN")
    yield
    connection.execute(_CHANGED_DAYS)
    connection.execute("COMMIT")
    for _, _, sql in taken:
        connection.execute(sql)
    connection.execute("PRAGMA journal_mode=WAL")


def _utc_text(value: datetime) -> str:
    return value.isoformat(" ", "microseconds")[:26]


_WRITTEN: dict[type[Any], Callable[[Any], str]] = {
    UtcDateTime: _utc_text,
    SafeText: escape_text,
    JsonText: json_text,
}
"""What the store's own column types make of a value; by way of SQLAlchemy it takes several times as long."""


class _Rows:
    """Rows of one table on their way into it."""

    def __init__(self, connection: sqlite3.Connection, table: sa.Table) -> None:
        self._connection = connection
        self._places = {
            column.name: (place, _WRITTEN.get(type(column.type))) for place, column in enumerate(table.columns)
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
    """Turns exchanges into rows, in the order in which they are to be stored."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        offers: Mapping[Toolset, Offer],
        sightings: Sequence[Sighting],
        policy_id: str,
    ) -> None:
        self._offers = offers
        self._sightings = sightings
        self._policy_id = policy_id
        self._conversations = _Rows(connection, schema.conversation)
        self._exchanges = _Rows(connection, schema.exchange)
        self._messages = _Rows(connection, schema.message)
        self._nodes = _Rows(connection, schema.node)
        self._calls = _Rows(connection, schema.tool_call)
        self._results = _Rows(connection, schema.tool_result)
        self._executions = _Rows(connection, schema.tool_execution)
        self._turns = _Rows(connection, schema.turn)
        self._labels = _Rows(connection, schema.label)
        self._calibrations: dict[int | str | None, Calibration] = {}
        self._talks: dict[str, Talk] = {}
        self._common: dict[bytes, int] = {}
        self._systems: dict[str, tuple[Node, int]] = {}
        self._latest: dict[bytes, int] = {}  # what the dialogue knows that was opened last
        self._names: set[str] = set()  # of tools that were offered so far

    def flush(self) -> None:
        """Insert what was collected."""
        for rows in vars(self).values():
            if isinstance(rows, _Rows):
                rows.flush()

    def write(self, dialogue: Dialogue, asked: Asked) -> None:
        """Write the next exchange of a dialogue."""
        talk = self._talks.get(dialogue.uid)
        if talk is None:
            talk = self._talks[dialogue.uid] = self._opened(dialogue)
        if asked.new[0]["role"] == "user":
            self._end_turn(talk)
        talk.step_no += 1
        self._exchange(talk, asked)
        if asked is dialogue.asked[-1]:
            self._end_turn(talk)
            for values in big_rows.label_values(dialogue):
                self._labels.add(values)
            del self._talks[dialogue.uid]

    def _opened(self, dialogue: Dialogue) -> Talk:
        self._names |= dialogue.toolset.names
        node, system_bytes = self._system(dialogue.system)
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
        talk = Talk(
            dialogue=dialogue,
            offer=self._offers[dialogue.toolset],
            conversation_id=self._conversations.add(values),
            system_id=node.id,
            system_bytes=system_bytes,
            body_size=big_rows.empty_size(dialogue.system, dialogue.toolset),
            before=self._latest,
        )
        self._latest = talk.known
        return talk

    def _system(self, text: str) -> tuple[Node, int]:
        """Return the place of a system prompt, and its size in a prompt. There are a few, and some are long."""
        if text not in self._systems:
            message = message_from_raw({"role": "system", "content": text})
            node, _ = self._append(None, Node(), message)
            self._systems[text] = node, big_rows.sizes([], [message])[1]
        return self._systems[text]

    def _append(self, talk: Talk | None, node: Node, message: Message) -> tuple[Node, int]:
        """Append a message to a history, or begin one that is nobody's; return the place and the row of the message."""
        digest = message_hash(message.raw)
        is_common = talk is None or message.text in _COMMON
        message_id = self._known(talk, digest)
        if message_id is None:
            message_id = self._messages.add(
                message_values(message) | {"hash": digest, "first_exchange_id": self._exchanges.next_id}
            )
            self._remember(talk, digest, message_id, is_common=is_common)
        node_hash = chain_hash(node.hash, digest)
        (sem,) = sem_chain([message], node.sem)
        node_id = self._known(talk, node_hash)
        depth, is_common = node.depth + 1, is_common and node.is_common
        if node_id is None:
            values = {"hash": node_hash, "sem": sem, "parent_id": node.id, "message_id": message_id, "depth": depth}
            node_id = self._nodes.add(values)
            self._remember(talk, node_hash, node_id, is_common=is_common)
        return Node(node_id, node_hash, sem, depth, is_common), message_id

    def _known(self, talk: Talk | None, digest: bytes) -> int | None:
        found = self._common.get(digest)
        if found is None and talk is not None:
            found = talk.known.get(digest)
            if found is None and (found := talk.before.get(digest)) is not None:
                talk.known[digest] = found  # the next dialogue may be the same once more
        return found

    def _remember(self, talk: Talk | None, digest: bytes, row_id: int, *, is_common: bool) -> None:
        (self._common if is_common or talk is None else talk.known)[digest] = row_id

    def _exchange(self, talk: Talk, asked: Asked) -> None:
        item, exchange_id = big_rows.answered(talk, asked), self._exchanges.next_id
        place = attribute(self._sightings, item.started_at) if self._sightings else None
        for report in asked.ran:
            self._executions.add(big_rows.execution_values(talk, report))
        new = [build_message(raw, ()) for raw in asked.new]  # whoever is not the model makes no calls
        failed = {report.call_id for report in asked.ran if report.is_error}
        for message in new:
            self._take(talk, item, message, exchange_id, failed)
        answers = [choice.message for choice in item.response.choices] if item.response is not None else []
        new_bytes, answer_bytes = big_rows.sizes(new, answers)
        values = big_rows.begin_values(talk, item, place) | big_rows.finish_values(item)
        values |= big_rows.budget_values(talk, item, place, new_bytes, self._calibrations)
        talk.history_bytes += new_bytes + answer_bytes
        talk.last_size = answer_bytes
        for choice in item.response.choices if item.response is not None else ():
            talk.node, _ = self._append(talk, talk.node, choice.message)
            talk.n_messages, talk.body_size = talk.n_messages + 1, talk.body_size + big_rows.json_size(choice.message)
            for call in (*choice.message.tool_calls, *choice.leaked_calls):
                columns, verdict = big_rows.call_values(talk, call, exchange_id, self._names)
                talk.calls.append(Call(self._calls.add(columns), call, verdict, item))
                talk.is_poisoned |= call.origin != "leaked_text" and big_rows.is_unreadable(call, verdict)
            values |= {"output_node_id": talk.node.id, "output_sem": talk.node.sem}
        self._exchanges.add(values | {"redaction_policy": self._policy_id})
        talk.steps.append(item)
        talk.last_id = exchange_id

    def _take(self, talk: Talk, item: Exchange, message: Message, exchange_id: int, failed: set[str | None]) -> None:
        """Take what the client adds to the history: a user's message, or a result."""
        talk.node, message_id = self._append(talk, talk.node, message)
        if message.tool_results:
            rows = {"exchange_id": exchange_id, "message_id": message_id}
            self._results.add(big_rows.result_values(talk, item, message, failed) | rows)
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


def main() -> None:
    """Make a store."""
    parser = argparse.ArgumentParser(description="Make a store of made-up exchanges.")
    parser.add_argument("path", type=Path)
    parser.add_argument("exchanges", type=int, nargs="?", default=MILLION)
    parser.add_argument("--calls", type=int, help="so many tool calls, for analysts")
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.calls:
        fill(given.path, weeks.made_up(given.calls, given.weeks, given.seed))
        tidy(given.path)
    else:
        build(given.path, given.exchanges, given.seed)


if __name__ == "__main__":
    main()
