"""Column types that behave the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
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
