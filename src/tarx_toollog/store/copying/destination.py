"""The database that a store is copied into: it must be empty, takes rows in bulk, and is whole or empty afterwards.

*Theory.* All is written in one transaction. Whatever goes wrong, or whoever stops it, the destination is as empty as it
was. Meanwhile rules that look at each row are put aside: triggers (the days that the source has noted come along as
rows), and on PostgreSQL the foreign keys (a row may refer to a later one of its own table), which are held against all
rows at once at the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.errors import StoreError
from tarx_toollog.store.copying.rows import Rows, stored_type, tables
from tarx_toollog.store.schema import SEARCH_TABLE, create_triggers, drop_triggers, store_meta

_FOREIGN_KEYS = """
SELECT conrelid::regclass::text AS of_table, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE contype = 'f' AND connamespace = current_schema()::regnamespace ORDER BY 1, 2
"""


class _ForeignKey(NamedTuple):
    table: str
    name: str
    definition: str


def find_rows(connection: sa.Connection) -> str | None:
    """Return the name of a table of ours that has rows; None when the store is empty."""
    known = set(sa.inspect(connection).get_table_names())
    for table in tables():
        # Making a database writes down who made it; that is not content.
        if table is not store_meta and table.name in known:
            first = connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
            if first is not None:
                return table.name
    return None


def require_empty(connection: sa.Connection, shown: str) -> None:
    """Refuse a store that holds anything.

    Raises:
        StoreError: It has rows.
    """
    name = find_rows(connection)
    if name is not None:
        raise StoreError(
            f"{shown} is not empty: there are rows in {name}",
            hint="name a database that does not exist yet, or an empty one that nobody records into",
        )


def lock(connection: sa.Connection) -> None:
    """Keep all others from the tables until the transaction ends."""
    if connection.dialect.name == "postgresql":  # SQLite has locked the file when the transaction began
        names = ", ".join(table.name for table in tables())
        connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")


@contextmanager
def rules_aside(connection: sa.Connection) -> Iterator[None]:
    """Put triggers and foreign keys aside; at the end they are there again, and hold.

    Raises:
        StoreError: A row refers to one that is not there.
    """
    drop_triggers(connection)
    is_postgresql = connection.dialect.name == "postgresql"
    keys: list[_ForeignKey] = []
    if is_postgresql:
        keys = [_ForeignKey(*row) for row in connection.exec_driver_sql(_FOREIGN_KEYS)]
        for key in keys:
            connection.exec_driver_sql(f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}")
    else:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    yield
    for key in keys:
        with _explained(connection, key.table):
            connection.exec_driver_sql(f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {key.definition}")
    if not is_postgresql and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()) is not None:
        raise _damaged(f"{broken[0]} row {broken[1]} refers to a row of {broken[2]} that is not there")
    create_triggers(connection)


class Inserter:
    """Writes the rows of one table, in bulk: by COPY, or by one statement for many rows.

    Args:
        connection: In a transaction.
        table: An empty one.
    """

    def __init__(self, connection: sa.Connection, table: sa.Table) -> None:
        self._connection = connection
        self._table = table
        self._names = ", ".join(column.name for column in table.columns)
        # By hand what SQLAlchemy does for each value: it would make a dictionary of every row, too.
        prepared = [
            stored_type(column).dialect_impl(connection.dialect).bind_processor(connection.dialect)
            for column in table.columns
        ]
        self._prepared = [(place, prepare) for place, prepare in enumerate(prepared) if prepare is not None]

    def write(self, rows: Rows) -> None:
        """Write rows.

        Raises:
            StoreError: This database cannot hold one of them.
        """
        with _explained(self._connection, self._table.name):
            if self._connection.dialect.driver == "psycopg":
                self._stream(rows)
                return
            sign = "?" if self._connection.dialect.name == "sqlite" else "%s"
            signs = ", ".join(sign for _ in self._table.columns)
            statement = f"INSERT INTO {self._table.name} ({self._names}) VALUES ({signs})"  # noqa: S608 - names of ours
            self._connection.exec_driver_sql(statement, list(self._ready(rows)))

    def _stream(self, rows: Rows) -> None:
        driver: Any = self._connection.connection.driver_connection
        statement = f"COPY {self._table.name} ({self._names}) FROM STDIN"
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in self._ready(rows):
                copy.write_row(row)

    def _ready(self, rows: Rows) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            values = list(row)
            for place, prepare in self._prepared:
                values[place] = prepare(values[place])
            yield tuple(values)


def set_sequences(connection: sa.Connection) -> None:
    """Let new keys begin after those that were copied; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables():
        key = table.autoincrement_column
        if key is None or key.name != "id":
            continue
        highest = sa.select(sa.func.coalesce(sa.func.max(key), 0) + 1).scalar_subquery()
        sequence = sa.func.pg_get_serial_sequence(table.name, key.name)
        connection.execute(sa.select(sa.func.setval(sequence, highest, sa.false())))


def other_tables(connection: sa.Connection) -> list[str]:
    """Return the tables of a store that are not ours: somebody has added them, and they are not copied."""
    ours = {table.name for table in tables()} | {"alembic_version"}
    names = sa.inspect(connection).get_table_names()
    return sorted(name for name in names if name not in ours and not name.startswith((SEARCH_TABLE, "sqlite_")))


@contextmanager
def _explained(connection: sa.Connection, table: str) -> Iterator[None]:
    """Say in which table a row does not fit; what is wrong with the connection others explain."""
    driver: Any = connection.dialect.loaded_dbapi
    try:
        yield
    except (sa.exc.DBAPIError, driver.Error) as error:
        original = getattr(error, "orig", None) or error
        if isinstance(original, driver.IntegrityError):
            raise _damaged(f"{table}: {_first_line(original)}") from error
        if isinstance(original, driver.DataError):
            raise StoreError(
                f"a row of {table} does not fit: {_first_line(original)}",
                hint="`toollog db query` finds it in the source; nothing was copied",
            ) from error
        if isinstance(error, sa.exc.DBAPIError):
            raise
        raise sa.exc.OperationalError(f"COPY {table}", None, original) from error  # as all others come


def _damaged(problem: str) -> StoreError:
    return StoreError(f"the source is damaged: {problem}", hint="`toollog db check` says more; nothing was copied")


def _first_line(error: object) -> str:
    return str(error).partition("\n")[0]
