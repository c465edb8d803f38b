"""Column types that behave the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from tarx_toollog.canonical import Json, escape_text, json_text, parse_json, unescape_text


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC.

    SQLite keeps ``YYYY-MM-DD HH:MM:SS.ffffff``, which its date functions read; PostgreSQL keeps
    ``timestamptz``.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn any aware datetime into UTC."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the datetime its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SafeText(TypeDecorator[str]):
    """Text of any content: what no database accepts is escaped reversibly (``canonical.escape_text``)."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape NUL and lone surrogates."""
        return None if value is None else escape_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Undo the escapes."""
        return None if value is None else unescape_text(value)


class JsonText(TypeDecorator[Any]):
    r"""JSON kept as text on both engines.

    Native JSON types would lose what models emit: PostgreSQL's ``jsonb`` refuses ``\u0000`` and reorders
    keys, and both engines round numbers beyond 64 bits. SQLite's and PostgreSQL's JSON functions read text.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        """Write the value; None stays NULL."""
        return None if value is None else json_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        """Read the value."""
        return None if value is None else parse_json(value)


def among(column: sa.ColumnElement[Any], text: sa.BindParameter[str]) -> sa.ColumnElement[bool]:
    """Say that a column has one of the values of a JSON list.

    One parameter for any number of values: ``column.in_`` writes a parameter for each into the statement, which is
    prepared anew for every length.

    Args:
        column: Of integers or text.
        text: The list, as JSON.
    """
    return column.op("IN", is_comparison=True)(_Listed(text, column.type))


class _Listed(FunctionElement[Any]):
    inherit_cache = True
    name = "listed"

    def __init__(self, text: sa.BindParameter[str], kind: sa.types.TypeEngine[Any]) -> None:
        super().__init__(text)
        self.type = kind


@compiles(_Listed)
def _listed(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"  # noqa: S608 - a parameter


@compiles(_Listed, "postgresql")
def _listed_on_postgresql(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    kind = "BIGINT" if isinstance(element.type, sa.Integer) else "TEXT"
    text = compiler.process(element.clauses, **options)
    return f"(SELECT CAST(value AS {kind}) FROM json_array_elements_text(CAST({text} AS JSON)))"  # noqa: S608 - the same
