"""Redaction of what is stored already: say what the rules in force would take out, or take it out.

*Theory.* Most columns are changed in their place. Messages, histories, tool definitions and raw bodies are addressed by
the hash of their content, so a changed one is another row. An exchange that reaches such a row is read as a whole,
redacted as the writer would have done, and its histories are stored again through ``Content``: hashes, meanings and
merged rows come out as if the exchange had been redacted when it came, and later requests of the conversation link as
before. What pointed to the old rows is pointed to the new ones in the same transaction. The old rows go last.

Every step is a transaction that leaves the store whole, and nothing is remembered between them: after a crash the
command is given again and goes on. Verdicts (whether arguments were JSON, whether they met their schema) stay as they
were: they are about what the model wrote.

A process that records keeps ids of rows in memory, so none may run meanwhile.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError
from tarx_toollog.redaction import Redactor
from tarx_toollog.store import journal as jr
from tarx_toollog.store.content import Content
from tarx_toollog.store.engine import store_errors
from tarx_toollog.store.redact_check import Check, check_file
from tarx_toollog.store.redact_columns import CONTENT, SOURCES, Hit, Source, content_hits
from tarx_toollog.store.redact_content import (
    PAGE,
    Ids,
    Moves,
    chunks,
    dirty_nodes,
    exchanges_of,
    repoint,
    toolsets_with,
)
from tarx_toollog.store.schema import (
    exchange,
    message,
    node,
    raw_body,
    redaction,
    run,
    scenario,
    suite,
    tool_definition,
    toolset,
    toolset_item,
    work_unit,
    writer,
)
from tarx_toollog.store.search import forget_index
from tarx_toollog.store.suites import redacted_twin, suite_hash
from tarx_toollog.store.tallies import fold_changed

BATCH = 32  # exchanges a transaction: each may hold a history of a hundred messages

Progress = Callable[[int], None]


@dataclass(slots=True)
class RuleHits:
    """What one rule finds."""

    rule: str
    hits: int = 0
    rows: int = 0
    examples: list[str] = field(default_factory=list)
    """Where, and the value made unreadable."""


@dataclass(slots=True)
class Report:
    """What the rules find in a store."""

    policy: str
    rows: int = 0
    """Rows that were looked at."""
    rows_with_hits: int = 0
    rules: dict[str, RuleHits] = field(default_factory=dict)
    check: Check | None = None
    """What a search of the file showed afterwards; None where nothing was changed, or the store is no SQLite file."""

    def add(self, hits: list[Hit], examples: int) -> None:
        """Count one row."""
        self.rows += 1
        self.rows_with_hits += bool(hits)
        for rule in {hit.found.rule for hit in hits}:
            mine = [hit for hit in hits if hit.found.rule == rule]
            row = self.rules.setdefault(rule, RuleHits(rule))
            row.hits += len(mine)
            row.rows += 1
            if len(row.examples) < examples:
                row.examples.append(f"{mine[0].path}: {mine[0].found.hint}")

    def in_order(self) -> list[RuleHits]:
        """Return the rules, most hits first."""
        return sorted(self.rules.values(), key=lambda row: (-row.hits, row.rule))


def count_rows(connection: sa.Connection) -> int:
    """Return how many rows there are to look at."""
    tables = [source.table for source in SOURCES] + list(CONTENT)
    return sum(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables)


def look(connection: sa.Connection, redactor: Redactor, *, examples: int, progress: Progress) -> Report:
    """Return what the rules would take out; nothing is changed.

    Args:
        connection: Reading is enough.
        redactor: The rules.
        examples: Examples a rule, at most.
        progress: Called with the number of rows that were looked at since its last call.
    """
    report = Report(redactor.policy_id)
    for source in SOURCES:
        for rows in _pages(connection, source.table):
            for row in rows:
                report.add(source.outcome(row, redactor).hits, examples)
            progress(len(rows))
    for table in CONTENT:
        for rows in _pages(connection, table):
            for row in rows:
                report.add(content_hits(table, row, redactor), examples)
            progress(len(rows))
    return report


def require_nobody_writes(connection: sa.Connection, settings: Settings) -> None:
    """See that no process records to this store.

    Raises:
        StoreError: One does, or works on a replay run; the message names it.
    """
    for row in connection.execute(sa.select(writer.c.uid, writer.c.pid).where(writer.c.stopped_at.is_(None))):
        if jr.is_alive(settings.journal_path, row.uid):
            raise StoreError(
                f"process {row.pid} is recording to this store",
                hint="stop it for as long as this takes; what it has in its journal is redacted when it starts again",
            )
    at_work = sa.select(run.c.name, work_unit.c.worker).join(run, run.c.id == work_unit.c.run_id)
    leased = connection.execute(at_work.where(work_unit.c.leased_until >= datetime.now(UTC)).limit(1)).first()
    if leased is not None:
        raise StoreError(
            f"{leased.worker} works on the replay run {leased.name}",
            hint="stop it, or wait until it is done; of a process that was killed this is known after two minutes",
        )


class StoreRedaction:
    """Takes out of a store what the rules in force find.

    Args:
        engine: Engine of a writer.
        settings: Where the journal is.
        redactor: The rules.
        scenario_hash: Returns the content hash of a scenario's definition; what that is, ``replay`` knows.
    """

    def __init__(
        self,
        engine: sa.Engine,
        settings: Settings,
        redactor: Redactor,
        scenario_hash: Callable[[Mapping[str, Any]], bytes],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._redactor = redactor
        self._scenario_hash = scenario_hash
        self._is_sqlite = engine.dialect.name == "sqlite"

    def apply(self, *, examples: int, progress: Progress) -> Report:
        """Redact everything, leave no trace of it in the file, and search for one; return what was found.

        Raises:
            StoreError: A process records to this store, or another one keeps the file from being written anew.
        """
        report = Report(self._redactor.policy_id)
        with store_errors(self._settings), self._redactor.remembering() as taken:
            with self._engine.connect() as connection:
                require_nobody_writes(connection, self._settings)
            if self._is_sqlite:
                self._direct("PRAGMA secure_delete=ON")
            for source in SOURCES:
                self._redact_source(source, report, examples, progress)
            self._hash_suites()
            dirty = {table.name: self._dirty(table, report, examples, progress) for table in CONTENT}
            self._redact_content(dirty)
            with self._engine.begin() as connection:
                policy = self._redactor.policy_id
                is_other = exchange.c.redaction_policy.is_distinct_from(policy)
                connection.execute(sa.update(exchange).where(is_other).values(redaction_policy=policy))
            self._erase_traces()
            database = self._settings.database_path
            if database is not None and report.rules:
                report.check = check_file(self._engine, database, taken)
        return report

    # ---- columns that are changed in their place --------------------------------------------------------------------

    def _redact_source(self, source: Source, report: Report, examples: int, progress: Progress) -> None:
        for rows in _pages_each(self._engine, source.table):
            with self._engine.begin() as connection:
                for row in rows:
                    outcome = source.outcome(row, self._redactor)
                    report.add(outcome.hits, examples)
                    if outcome.values:
                        values = outcome.values
                        if source.table is scenario:
                            values = values | {"hash": self._hash_of(connection, row, values["definition"])}
                        is_row = _key(source.table) == sa.tuple_(*_key_of(source.table, row))
                        connection.execute(sa.update(source.table).where(is_row).values(**values))
                        owner = getattr(row, source.exchange_column) if source.exchange_column else None
                        self._note(connection, outcome.hits, owner)
            progress(len(rows))

    def _hash_of(self, connection: sa.Connection, row: sa.Row[Any], definition: Mapping[str, Any]) -> bytes:
        """Return the hash of a redacted scenario; one that became equal to another keeps a hash of its own."""
        digest = self._scenario_hash(definition)
        query = sa.select(scenario.c.id).where(scenario.c.tag == row.tag, scenario.c.hash == digest)
        is_taken = connection.execute(query).scalar() not in (None, row.id)
        return redacted_twin(digest, row.uid) if is_taken else digest

    def _hash_suites(self) -> None:
        """Give suites the hash of their redacted scenarios: it would say that they are not what they were made of."""
        with self._engine.begin() as connection:
            for name, before in connection.execute(sa.select(suite.c.name, suite.c.hash)).all():
                columns = (scenario.c.hash, scenario.c.weight, scenario.c.stratum, scenario.c.cluster)
                now = suite_hash(connection.execute(sa.select(*columns).where(scenario.c.tag == name)).all())
                if now != before:
                    connection.execute(sa.update(suite).where(suite.c.name == name).values(hash=now))

    def _note(self, connection: sa.Connection, hits: list[Hit], exchange_id: int | None) -> None:
        now = datetime.now(UTC)
        times = Counter((hit.found.rule, hit.found.mark, hit.path) for hit in hits)
        rows = [
            {
                "exchange_id": exchange_id,
                "path": path,
                "rule": rule,
                "mark": mark,
                "n": n,
                "policy": self._redactor.policy_id,
                "redacted_at": now,
            }
            for (rule, mark, path), n in times.items()
        ]
        if rows:
            connection.execute(sa.insert(redaction), rows)

    # ---- content-addressed rows -------------------------------------------------------------------------------------

    def _dirty(self, table: sa.Table, report: Report, examples: int, progress: Progress) -> dict[int, list[Hit]]:
        """Return the rows of a table in which something is found."""
        found: dict[int, list[Hit]] = {}
        for rows in _pages_each(self._engine, table):
            for row in rows:
                hits = content_hits(table, row, self._redactor)
                report.add(hits, examples)
                if hits:
                    found[row.id] = hits
            progress(len(rows))
        return found

    def _redact_content(self, dirty: dict[str, dict[int, list[Hit]]]) -> None:
        with self._engine.connect() as connection:
            nodes = dirty_nodes(connection, dirty[message.name])
            toolsets = toolsets_with(connection, dirty[tool_definition.name])
            exchanges = list(exchanges_of(connection, nodes, toolsets, dirty[message.name]))
        for ids in chunks(exchanges, BATCH):
            with self._engine.begin() as connection:
                moves = Moves(connection, self._redactor)
                for exchange_id in ids:
                    moves.move(exchange_id)
                moves.repoint()
                for table, moved in ((message, moves.messages), (tool_definition, moves.definitions)):
                    self._note_moved(connection, table, dirty[table.name], moved)
        self._redact_bodies(dirty[raw_body.name])
        self._delete(node, node.c.id, [i for i, _ in sorted(nodes.items(), key=lambda item: -item[1])])
        self._delete(toolset_item, toolset_item.c.toolset_id, toolsets)
        self._delete(toolset, toolset.c.id, toolsets)
        for table in CONTENT:
            self._delete(table, table.c.id, dirty[table.name])

    def _note_moved(self, connection: sa.Connection, table: sa.Table, dirty: dict[int, list[Hit]], moved: Ids) -> None:
        for old, new in moved.items():
            hits = dirty.get(old, [])
            head = f"{table.name}[{old}]"
            self._note(
                connection, [Hit(f"{table.name}[{new}]{h.path.removeprefix(head)}", h.found) for h in hits], None
            )
            dirty[old] = []  # noted once, though several batches may meet it

    def _redact_bodies(self, dirty: dict[int, list[Hit]]) -> None:
        for ids in chunks(dirty, BATCH):
            with self._engine.begin() as connection:
                content, moved = Content(), {}
                for row in connection.execute(sa.select(raw_body).where(raw_body.c.id.in_(ids))).all():
                    moved[row.id] = content.raw_body(connection, self._redactor.body(row.data))
                repoint(connection, raw_body, moved)
                self._note_moved(connection, raw_body, dirty, moved)

    def _delete(self, table: sa.Table, column: sa.Column[Any], ids: Iterable[int]) -> None:
        for some in chunks(ids, PAGE):
            with self._engine.begin() as connection:
                connection.execute(sa.delete(table).where(column.in_(some)))

    # ---- the file ---------------------------------------------------------------------------------------------------

    def _direct(self, statement: str) -> Any:
        """Run a statement of SQLite's outside any transaction, and return its first row."""
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchone()
        finally:
            connection.close()

    def _erase_traces(self) -> None:
        """Write the file anew and empty the write-ahead log: free pages and old frames hold what was taken out.

        The index of words and what was counted go before.

        Raises:
            StoreError: Another program reads or writes, so that the log cannot be emptied.
        """
        with self._engine.begin() as connection:
            forget_index(connection)
        fold_changed(self._engine)
        if not self._is_sqlite:
            return
        self._direct("VACUUM")
        if self._direct("PRAGMA wal_checkpoint(TRUNCATE)")[0]:
            raise StoreError(
                "everything is redacted, but another program keeps the old pages of the file in use",
                hint="close it, and give the command again: it empties the write-ahead log",
            )


def _pages(connection: sa.Connection, table: sa.Table) -> Iterator[list[sa.Row[Any]]]:
    """Yield the rows of a table in pages."""
    last: sa.Row[Any] | None = None
    while rows := connection.execute(_page(table, last)).all():
        yield list(rows)
        last = rows[-1]


def _pages_each(engine: sa.Engine, table: sa.Table) -> Iterator[list[sa.Row[Any]]]:
    """Yield the rows of a table in pages, none of which keeps a connection: there is only one that writes."""
    last: sa.Row[Any] | None = None
    while True:
        with engine.connect() as connection:
            rows = list(connection.execute(_page(table, last)).all())
        if not rows:
            return
        yield rows
        last = rows[-1]


def _page(table: sa.Table, last: sa.Row[Any] | None) -> sa.Select[Any]:
    query = sa.select(table).order_by(*table.primary_key).limit(PAGE)
    return query if last is None else query.where(_key(table) > sa.tuple_(*_key_of(table, last)))


def _key(table: sa.Table) -> sa.Tuple:
    return sa.tuple_(*table.primary_key)


def _key_of(table: sa.Table, row: sa.Row[Any]) -> list[Any]:
    return [getattr(row, column.name) for column in table.primary_key]
