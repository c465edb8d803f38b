"""What the objects that own some tables of a log share: its engine, and a transaction that explains its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tarx_toollog.store.engine import store_errors

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog


class LogTables:
    """Some tables of one log.

    Args:
        log: An open store; one that is open for writing where anything is written.
    """

    def __init__(self, log: "ToolLog") -> None:
        self._engine = log.engine
        self._settings = log.settings

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with store_errors(self._settings), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with store_errors(self._settings), self._engine.begin() as connection:
            yield connection


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT that knows ON CONFLICT, which SQLite and PostgreSQL spell alike."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
