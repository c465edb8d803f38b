"""A connection that may only read, and only for so long: for SQL that a person wrote."""

import sqlite3
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

_OPCODES = 10_000  # virtual-machine steps between two looks at the clock: about 0.1 ms
_READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})


def limit_to_reading(connection: sa.Connection, timeout_s: float) -> Callable[[], None]:
    """Let the statements on a connection read, each for a limited time; return what takes the limits off again.

    On PostgreSQL they hold until its transaction ends, since a transaction cannot be let write again.

    Args:
        connection: Any connection of the store.
        timeout_s: Seconds after which a statement is ended.
    """
    if connection.get_transaction() is None:
        connection.begin()  # before the limits: they would refuse it
    raw = connection.connection.dbapi_connection
    if not isinstance(raw, sqlite3.Connection):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, round(1000 * timeout_s))}")
        return lambda: None
    raw.execute("SELECT 1 FROM json_each('[]')").fetchall()  # SQLite makes that table when it is first used
    deadline = time.monotonic() + timeout_s

    def begin_anew(*_: object) -> None:
        nonlocal deadline
        deadline = time.monotonic() + timeout_s

    def lift() -> None:
        sa.event.remove(connection, "before_cursor_execute", begin_anew)
        raw.set_authorizer(None)
        raw.set_progress_handler(None, _OPCODES)

    sa.event.listen(connection, "before_cursor_execute", begin_anew)
    raw.set_progress_handler(lambda: int(time.monotonic() > deadline), _OPCODES)
    raw.set_authorizer(_authorize)
    return lift


def one_statement_each(connection: sa.Connection) -> None:
    """Let a text be no more than one statement: a second one could end the transaction that can only read.

    SQLite's driver sees to that itself; PostgreSQL takes several, but not to prepare.
    """
    raw: Any = connection.connection.dbapi_connection
    if not isinstance(raw, sqlite3.Connection):
        raw.prepare_threshold = 0


def took_too_long(error: Exception) -> bool:
    """Say whether a statement was ended because its time was up."""
    return any(words in message_of(error) for words in ("interrupted", "statement timeout"))


def would_write(error: Exception) -> bool:
    """Say whether a statement was refused because it does more than read."""
    return any(words in message_of(error) for words in ("not authorized", "prohibited", "readonly", "read-only"))


def message_of(error: Exception) -> str:
    """Return what the database said."""
    return str(error.orig if isinstance(error, sa.exc.DBAPIError) else error)


def _authorize(action: int, first: str | None, second: str | None, *_: Any) -> int:
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    # ATTACH would open any file of the user's, PRAGMA would undo query_only; both are denied with the writes. That one
    # pragma is how the index of words looks whether it has changed.
    may = action in _READS or (action == sqlite3.SQLITE_PRAGMA and first == "data_version" and second is None)
    return sqlite3.SQLITE_OK if may else sqlite3.SQLITE_DENY
