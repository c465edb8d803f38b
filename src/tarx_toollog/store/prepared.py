"""The writer's connection: statements are compiled once and then run by SQLite's driver itself.

*Theory.* Storing one exchange takes some twenty short statements. SQLAlchemy spends ten times as long on each as
SQLite does: on its cache of compiled statements, on contexts, events and results. The writer's statements never change,
so what SQLAlchemy makes of one (its text, the order of its parameters, how values of each type are written and read) is
kept, and the driver's connection gets it directly, inside the transaction that SQLAlchemy has begun. On PostgreSQL the
network costs more than all that, and everything goes through SQLAlchemy.

Errors of SQLite therefore arrive as ``sqlite3.Error``; ``engine.is_store_trouble`` and ``store_errors`` know both.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from tarx_toollog.store.types import UtcDateTime

Parameters = Mapping[str, Any]
_Process = Callable[[Any], Any]

_MAX_KEPT = 1024  # compiled statements; the writer has some eighty, and a list as a parameter makes one for each length
_MAX_LISTED = 16  # values of a list that is a parameter, up to which the text is kept


class Rows:
    """What a statement brought: all of its rows, read."""

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount
        """Rows that it changed."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> list[Any]:
        """Return the rows."""
        return self._rows

    def first(self) -> Any:
        """Return the first row; None where there is none."""
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        """Return the only row."""
        (row,) = self._rows
        return row

    def scalars(self) -> list[Any]:
        """Return the first value of each row."""
        return [row[0] for row in self._rows]

    def scalar(self) -> Any:
        """Return the first value of the first row; None where there is none."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """Return the first value of the only row."""
        return self.one()[0]


class PreparedConnection:
    """Runs statements on a connection of SQLAlchemy that is in a transaction.

    Args:
        plain: That connection, for whatever is not run for each exchange.
    """

    def __init__(self, plain: sa.Connection) -> None:
        self.plain = plain
        self.dialect = plain.dialect
        self._driver: Any = plain.connection.driver_connection if plain.dialect.name == "sqlite" else None

    def execute(self, statement: Any, parameters: Parameters | Sequence[Parameters] | None = None) -> Rows:
        """Run a statement, once or for each of several sets of parameters.

        Args:
            statement: One that is made once: compiled statements are kept by the object.
            parameters: Values by name; a list of such runs it for each, all with the same names.
        """
        if self._driver is None:
            return _through_sqlalchemy(self.plain, statement, parameters)
        if isinstance(parameters, Sequence):
            return self._execute_many(statement, parameters)
        given: Parameters = parameters or {}
        lists = tuple((name, len(given[name])) for name in _listed(statement) if name in given)
        if any(length > _MAX_LISTED for _, length in lists) or (lists and not isinstance(statement, sa.SelectBase)):
            return _through_sqlalchemy(self.plain, statement, given)
        prepared = _prepared(statement, tuple(given), lists, self.dialect)
        cursor = self._driver.execute(prepared.text, prepared.values(_unlisted(given, lists) if lists else given))
        return Rows(prepared.rows(cursor.fetchall()) if prepared.has_rows else [], cursor.rowcount)

    def _execute_many(self, statement: Any, parameters: Sequence[Parameters]) -> Rows:
        if not parameters:
            return Rows([], 0)
        prepared = _prepared(statement, tuple(parameters[0]), (), self.dialect)
        cursor = self._driver.executemany(prepared.text, [prepared.values(values) for values in parameters])
        return Rows([], cursor.rowcount)


Connected = sa.Connection | PreparedConnection
"""What the writer's functions run statements on: they are called by others as well, with a connection of SQLAlchemy."""


def plain(connection: Connected) -> sa.Connection:
    """Return SQLAlchemy's connection below."""
    return connection.plain if isinstance(connection, PreparedConnection) else connection


class _Prepared:
    """One compiled statement."""

    def __init__(self, statement: Any, names: Sequence[str], lists: Sequence[tuple[str, int]], dialect: Any) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        # A list becomes parameters of their own: `ids_1`, `ids_2`.
        sizes = dict(lists)
        state = compiled.construct_expanded_state(
            {name: [None] * sizes[name] if name in sizes else None for name in names}
        )
        self.text = state.statement
        source = {name: whole for whole, parts in state.parameter_expansion.items() for name in parts}
        self._fixed: dict[str, Any] = {}
        self._writers: dict[str, _Process] = {}
        order = state.positiontup or ()
        for name in order:
            whole = source.get(name, name)
            process = _writer_of(compiled.binds[whole].type, dialect)
            if whole not in names:
                value = state.parameters[name]
                self._fixed[name] = process(value) if process else value
            elif process is not None:
                self._writers[name] = process
        self._in_order: Any = itemgetter(*order) if len(order) > 1 else lambda values: tuple(values[n] for n in order)
        columns = list(statement.exported_columns) if hasattr(statement, "exported_columns") else []
        self.has_rows = bool(columns)
        row: Any = namedtuple("Row", [str(column.key) for column in columns], rename=True)  # type: ignore[misc]
        self._row = row._make
        readers = [(place, _reader_of(column.type, dialect)) for place, column in enumerate(columns)]
        self._readers = [(place, process) for place, process in readers if process is not None]

    def values(self, given: Parameters) -> tuple[Any, ...]:
        """Return the parameters in the order of the text."""
        written = {**self._fixed, **given}
        for name, process in self._writers.items():  # once, also for a value that stands in the text several times
            written[name] = process(written[name])
        found: tuple[Any, ...] = self._in_order(written)
        return found

    def rows(self, found: list[tuple[Any, ...]]) -> list[Any]:
        """Return rows with names, and values of the columns' types."""
        if not self._readers:
            return [self._row(row) for row in found]
        rows = []
        for row in found:
            values = list(row)
            for place, process in self._readers:
                values[place] = process(values[place])
            rows.append(self._row(values))
        return rows


_kept: dict[Any, _Prepared] = {}
_lists: dict[Any, tuple[str, ...]] = {}


def _prepared(statement: Any, names: tuple[str, ...], lists: tuple[tuple[str, int], ...], dialect: Any) -> _Prepared:
    key = statement, names, lists
    prepared = _kept.get(key)
    if prepared is None:
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
            _lists.clear()
        prepared = _kept[key] = _Prepared(statement, names, lists, dialect)
    return prepared


def _listed(statement: Any) -> tuple[str, ...]:
    """Return the names of the parameters that are lists."""
    names = _lists.get(statement)
    if names is None:
        parts = visitors.iterate(statement)
        found = {part.key for part in parts if isinstance(part, sa.BindParameter) and part.expanding}
        names = _lists[statement] = tuple(found)
    return names


def _unlisted(given: Parameters, lists: Sequence[tuple[str, int]]) -> Parameters:
    flat = dict(given)
    for name, _ in lists:
        flat |= {f"{name}_{number}": value for number, value in enumerate(given[name], 1)}
    return flat


def _through_sqlalchemy(connection: sa.Connection, statement: Any, parameters: Any) -> Rows:
    result = connection.execute(statement, parameters)
    return Rows(list(result.all()) if result.returns_rows else [], result.rowcount)


def _writer_of(kind: Any, dialect: Any) -> _Process | None:
    if isinstance(kind, UtcDateTime):
        return _moment_text
    process: _Process | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return process


def _reader_of(kind: Any, dialect: Any) -> _Process | None:
    if isinstance(kind, UtcDateTime):
        return _moment
    process: _Process | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return process


# What ``UtcDateTime`` and SQLAlchemy's type for SQLite below it do, in one step each.
def _moment_text(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)
