"""Engines: one that writes, ones that read, and database errors in words that a person can act on.

SQLite rules (all measured): WAL; ``synchronous=NORMAL`` because the journal covers the death of the process (``FULL``
where a power cut is to be survived);
``BEGIN IMMEDIATE`` for the writer, since a deferred transaction that turns from reading to writing fails at
once with SQLITE_BUSY_SNAPSHOT whatever the timeout; readers open the file ``mode=ro``, so they can neither
create nor change it, and cannot checkpoint.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError
from tarx_toollog.store.private import make_private_folder

BUSY_TIMEOUT_S = 10.0  # longer than any checkpoint; a writer that waits longer has met a stuck process

_STORING = 0x746F6F6C6C6F67  # "toollog": a number that locks of other programs in the same database do not have

# SQLSTATE: values, constraints and statements; and of the last what an administrator can give back: rights, a table.
_FAILS_AGAIN = frozenset({"22", "23", "42"})
_MAY_BE_MENDED = frozenset({"42501", "42P01"})

_WRITER_PRAGMAS = (
    "auto_vacuum=INCREMENTAL",  # has an effect only on a file without tables
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "journal_size_limit=67108864",
)
# The segment is deleted after the commit, so the commit has to be on the disk; macOS syncs only to the drive's cache.
_POWER_PRAGMAS = (*_WRITER_PRAGMAS, "synchronous=FULL", "fullfsync=ON", "checkpoint_fullfsync=ON")


def writer_engine(settings: Settings) -> sa.Engine:
    """Return the engine of the one writer: one connection, every transaction takes the write lock at once.

    Makes the folder (0700) and the file (0600) when they are missing.

    Raises:
        StoreError: The folder or file cannot be made.
    """
    path = settings.database_path
    if path is None:
        return sa.create_engine(settings.database, hide_parameters=True)
    create_private_file(path)
    pragmas = _POWER_PRAGMAS if settings.durability == "power" else _WRITER_PRAGMAS

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        return _with_pragmas(connection, pragmas)

    pool: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
    engine = sa.create_engine("sqlite://", creator=connect, hide_parameters=True, **pool)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def reader_engine(settings: Settings) -> sa.Engine:
    """Return an engine that can only read.

    Raises:
        StoreError: There is no database yet.
    """
    path = settings.database_path
    if path is None:
        readonly = {"postgresql_readonly": True}
        return sa.create_engine(settings.database, execution_options=readonly, hide_parameters=True)
    if not path.exists():
        raise StoreError(
            f"no database at {path}",
            hint="start `toollog serve` or mount the middleware, and send a chat through it",
        )

    return _reading(path)


@lru_cache(maxsize=4)  # without connections, which it opens anew each time; what stays are the statements it compiled
def _reading(path: Path) -> sa.Engine:
    def connect() -> sqlite3.Connection:
        uri = f"file:{quote(str(path))}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        return _with_pragmas(connection, ("query_only=ON",))

    return sa.create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def _with_pragmas(connection: sqlite3.Connection, pragmas: Iterable[str]) -> sqlite3.Connection:
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()  # a file that is locked, or no database, must not leave a connection behind
        raise
    return connection


def create_private_file(path: Path) -> None:
    """Make ``path`` readable for its owner only, with its folder; an existing file stays as it is.

    Raises:
        StoreError: The folder or file cannot be made.
    """
    try:
        make_private_folder(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}", hint="choose another place with --database or TOOLLOG_DATABASE"
        ) from error


def shown(settings: Settings) -> str:
    """Return the name of a database as it may be shown: without the password that a URL may hold."""
    if settings.database_path is not None:
        return settings.database
    try:
        return sa.make_url(settings.database).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return settings.database.rpartition("@")[2]  # no URL of ours, but it may have a login all the same


class Files(NamedTuple):
    """Which files a database consists of, by device and inode; None for what is not there."""

    database: tuple[int, int] | None
    log: tuple[int, int] | None
    """Its write-ahead log."""


def files_of(settings: Settings) -> Files:
    """Return which files stand in the place of a database now."""
    path = settings.database_path
    return Files(None, None) if path is None else Files(_inode(path), _inode(path.with_name(f"{path.name}-wal")))


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def look_around(engine: sa.Engine) -> None:
    """Let SQLite learn how its rows are spread; without that it reads a whole table where an index would do."""
    if engine.dialect.name == "sqlite":  # PostgreSQL does so by itself
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA analysis_limit=1000")
            connection.exec_driver_sql("ANALYZE")


def exclude_writers(connection: sa.Connection) -> None:
    """Keep other processes from storing exchanges until the transaction ends; wait for one that is in the middle of it.

    On SQLite every transaction that writes does so by itself. On PostgreSQL several could write at once, and would not
    see each other's exchanges when they look for what these continue; and as they meet in the messages that many
    conversations share, they would wait for each other in a circle.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_STORING})")


@contextmanager
def store_errors(settings: Settings) -> Iterator[None]:
    """Turn database errors into ``StoreError`` s that say what to do."""
    try:
        yield
    except DatabaseError as error:
        raise _explain(error.orig or error, settings) from error
    except sqlite3.DatabaseError as error:
        raise _explain(error, settings) from error


def is_store_trouble(error: BaseException) -> bool:
    """Say whether a failed transaction is the database's trouble rather than that of the data.

    Busy, full, read-only, damaged, away: the same data may go in later. A constraint that fails will fail again.
    """
    original = error.orig if isinstance(error, DatabaseError) else error
    state = getattr(original, "sqlstate", None)
    if state is not None:  # PostgreSQL says what it is; its driver's classes put a read-only server beside a bug
        return state[:2] not in _FAILS_AGAIN or state in _MAY_BE_MENDED
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError) or (
        isinstance(original, OSError | sqlite3.OperationalError) or type(original) is sqlite3.DatabaseError
    )


def _explain(error: BaseException, settings: Settings) -> StoreError:
    text, database, path = str(error), shown(settings), settings.database_path
    if "locked" in text or "busy" in text:
        return StoreError(f"{database} is locked by another program", hint="close it, or try again")
    if "not a database" in text or "malformed" in text:
        return StoreError(
            f"{database} is damaged: {text}", hint="restore a backup, or move the file away: a new one is made"
        )
    if "no such table" in text or "no such column" in text or "no such view" in text:
        return StoreError(f"{database}: {text}", hint="`toollog db upgrade` brings the schema up to date")
    # "readonly database", "unable to open", "disk I/O error": it depends on which files of the WAL are there.
    if path is not None and path.parent.is_dir() and not os.access(path.parent, os.W_OK):
        return StoreError(
            f"{database}: {text}: its folder cannot be written, which SQLite must even to read",
            hint="copy it with its -wal and .journal into another folder; or `toollog db backup` where it is recorded",
        )
    return StoreError(f"{database}: {text}", hint="`toollog doctor` says what is wrong")


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
