"""``copy_store``: a whole store into an empty database, exactly, while others may go on writing to the source.

*Theory.* The source is read in one transaction, which sees one moment whatever others write meanwhile. The rows are
hashed as they are read, and again as the destination gives them back, before its transaction is committed: a copy that
is not equal does not come to be. The index of words is no copy (each database has its own kind) but made anew, after
the commit; a search is right without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError, SchemaOutdatedError, StoreError
from tarx_toollog.store import migrate
from tarx_toollog.store.copying.destination import (
    Inserter,
    lock,
    other_tables,
    require_empty,
    rules_aside,
    set_sequences,
)
from tarx_toollog.store.copying.rows import Rows, TableHash, batches, count_rows, tables
from tarx_toollog.store.engine import look_around, reader_engine, shown, store_errors, writer_engine
from tarx_toollog.store.schema import store_meta
from tarx_toollog.store.search import catch_up, count_waiting, forget_index

KEY_NAME = "identity.key"
"""The file beside a journal in which ``store.secret`` keeps the key."""


class Steps(Protocol):
    """Is told how far a copy is."""

    def begin(self, label: str, total: int | None = None) -> None:
        """Go on with another kind of work."""

    def advance(self, count: int = 1) -> None:
        """Say that ``count`` more are done."""


class NoSteps:
    """Nobody looks on."""

    def begin(self, label: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, count: int = 1) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, or would be."""

    as_of: datetime
    """The moment that was copied: what came later is not in it."""
    rows: dict[str, int]
    """Rows by table."""
    hashes: dict[str, str]
    """Hash by table, of the source as well as of the destination; empty when that was not asked for."""
    n_indexed: int
    """Messages in the new index of words."""
    not_copied: list[str]
    """Tables of the source that are not ours."""


class _Read(NamedTuple):
    """What was read of the source."""

    as_of: datetime
    hashes: dict[str, TableHash]
    not_copied: list[str]


def look(source: Settings, destination: Settings) -> CopyReport:
    """Return what ``copy_store`` would copy; nothing is written.

    Raises:
        StoreError: As ``copy_store`` does.
    """
    with _reading(source, destination) as connection:
        as_of, rows = datetime.now(UTC), count_rows(connection)
        others = other_tables(connection)
    _check_destination(destination)
    return CopyReport(as_of, rows, {}, 0, others)


def copy_store(
    source: Settings, destination: Settings, *, verify: bool = True, steps: Steps | None = None
) -> CopyReport:
    """Copy all rows with their keys; afterwards the destination is whole, or as empty as it was.

    Args:
        source: The store to read.
        destination: A database that is made when it is missing, and else empty.
        verify: Read everything again, and compare hashes; else only the numbers of rows.
        steps: Is told how far it is.

    Raises:
        StoreError: The destination is not empty, or of another schema; one of them cannot be used; a row does not fit
            into the destination; or what came out is not equal.
        SchemaOutdatedError: The source is of an older schema.
        SchemaTooNewError: One of them is of a newer schema.
        ConfigError: Both are the same.
    """
    steps = steps or NoSteps()
    with _reading(source, destination) as reading:
        _check_destination(destination)
        engine = writer_engine(destination)
        try:
            migrate.prepare(engine, destination)
            with store_errors(destination):
                with engine.begin() as writing:
                    read = _copy_tables(reading, writing, source, destination, verify=verify, steps=steps)
                reading.rollback()  # the source need not keep what it was any longer
                n_indexed = _index_words(engine, steps)
                _learn(engine)
        finally:
            engine.dispose()
    rows = {name: each.n_rows for name, each in read.hashes.items()}
    hashes = {name: each.hex for name, each in read.hashes.items()} if verify else {}
    return CopyReport(read.as_of, rows, hashes, n_indexed, read.not_copied)


def has_same_key(source: Settings, destination: Settings) -> bool:
    """Say whether what is recorded into the destination gets the same marks and hashes of clients as in the source."""
    keys = []
    for settings in (source, destination):
        path = settings.journal_path / KEY_NAME
        keys.append(path.read_bytes() if path.exists() else None)
    return keys[0] is None or keys[0] == keys[1]


@contextmanager
def _reading(source: Settings, destination: Settings) -> Iterator[sa.Connection]:
    """Yield a connection to the source that sees one moment."""
    if source.database == destination.database or (
        source.database_path is not None and source.database_path == destination.database_path
    ):
        raise ConfigError("source and destination are the same database", hint="name another destination")
    engine = reader_engine(source)
    try:
        _require_current(engine, source)
        is_sqlite = engine.dialect.name == "sqlite"
        seen = engine if is_sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        with store_errors(source), seen.connect() as connection:
            if is_sqlite:
                connection.exec_driver_sql("BEGIN")  # Python's driver begins none for reading
            yield connection
    finally:
        engine.dispose()


def _require_current(engine: sa.Engine, settings: Settings) -> None:
    try:
        migrate.require_current(engine, settings)
    except SchemaOutdatedError as error:
        raise SchemaOutdatedError(
            f"{shown(settings)}: {error.message}", hint="`toollog --database SRC db upgrade` brings it up to date"
        ) from error


def _check_destination(settings: Settings) -> None:
    """Refuse a destination that is there and not empty, without making one.

    Raises:
        StoreError: It holds something, or is of another schema.
    """
    path = settings.database_path
    if path is not None and not path.exists():
        return
    engine = reader_engine(settings)
    try:
        with store_errors(settings):
            state = migrate.read_state(engine)
            if state.is_newer:
                raise migrate.too_new(state)
            if not state.is_new and not state.is_current:
                raise StoreError(
                    f"{shown(settings)} has schema {state.revision}, the source has {state.head}",
                    hint="name a database that does not exist yet; nothing was copied",
                )
            with engine.connect() as connection:
                require_empty(connection, shown(settings))
    finally:
        engine.dispose()


def _copy_tables(
    reading: sa.Connection,
    writing: sa.Connection,
    source: Settings,
    destination: Settings,
    *,
    verify: bool,
    steps: Steps,
) -> _Read:
    lock(writing)
    require_empty(writing, shown(destination))  # now nobody can fill it any more
    writing.execute(sa.delete(store_meta))
    with store_errors(source):
        as_of, counts, others = datetime.now(UTC), count_rows(reading), other_tables(reading)
    steps.begin("rows", sum(counts.values()))
    read = {}
    with rules_aside(writing):
        for table in tables():
            read[table.name] = _copy_table(reading, writing, table, source, verify=verify, steps=steps)
        set_sequences(writing)
        steps.begin("checking references")
    _compare(writing, read, verify=verify, steps=steps)
    forget_index(writing)  # the source's mark, which came along: the index itself did not
    return _Read(as_of, read, others)


def _copy_table(
    reading: sa.Connection, writing: sa.Connection, table: sa.Table, source: Settings, *, verify: bool, steps: Steps
) -> TableHash:
    found = TableHash(table)
    inserter = Inserter(writing, table)
    for rows in _of_source(reading, table, source):
        if verify:
            found.add(rows)
        else:
            found.n_rows += len(rows)
        inserter.write(rows)
        steps.advance(len(rows))
    return found


def _of_source(reading: sa.Connection, table: sa.Table, source: Settings) -> Iterator[Rows]:
    """Yield the rows of a table; what is wrong with reading them is the source's trouble."""
    with store_errors(source):
        yield from batches(reading, table)


def _compare(connection: sa.Connection, expected: dict[str, TableHash], *, verify: bool, steps: Steps) -> None:
    if not verify:
        copied = count_rows(connection)
        wrong = [name for name, each in expected.items() if copied[name] != each.n_rows]
    else:
        steps.begin("rows compared", sum(each.n_rows for each in expected.values()))
        wrong = []
        for table in tables():
            found = TableHash(table)
            for rows in batches(connection, table):
                found.add(rows)
                steps.advance(len(rows))
            if found != expected[table.name]:
                wrong.append(table.name)
    if wrong:
        raise StoreError(
            f"what was written is not what was read, in {', '.join(wrong)}; nothing was copied",
            hint="look for triggers or rules in the destination that are not ours; else it is a bug of ours",
        )


def _index_words(engine: sa.Engine, steps: Steps) -> int:
    with engine.connect() as connection:
        total = count_waiting(connection)
    steps.begin("messages indexed", total)
    return catch_up(engine, indexed=steps.advance)


def _learn(engine: sa.Engine) -> None:
    """Let the database learn how the new rows are spread."""
    look_around(engine)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
