"""Care for the file itself: damage, a copy, and who stands in a writer's way."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError

_LOCK_WAIT_S = 2.0  # our own writer holds the lock for milliseconds; whoever holds it longer is in the way
_MAX_DAMAGE = 100  # integrity_check may report every row; a hundred lines say it


def damage(engine: sa.Engine) -> list[str]:
    """Return what SQLite's own checks object to; nothing when the file is sound."""
    if engine.dialect.name != "sqlite":
        return []
    with engine.connect() as connection:
        found = [row[0] for row in connection.exec_driver_sql(f"PRAGMA integrity_check({_MAX_DAMAGE})")]
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_MAX_DAMAGE)
    problems = [text for text in found if text != "ok"]
    return problems + [f"{row[0]} row {row[1]} refers to a row of {row[2]} that is not there" for row in broken]


def copy_database(engine: sa.Engine, target: Path) -> None:
    """Write a compact, consistent copy to ``target``, an empty file, also while others write.

    Raises:
        ConfigError: The database is not an SQLite file.
    """
    if engine.dialect.name != "sqlite":
        raise ConfigError("only an SQLite database can be copied to a file", hint="use pg_dump for PostgreSQL")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # The connection is mode=ro, so our file stays safe; query_only would forbid writing the copy as well.
        connection.exec_driver_sql("PRAGMA query_only=OFF")
        connection.exec_driver_sql("VACUUM INTO ?", (str(target),))


def write_obstacle(path: Path) -> str:
    """Return what keeps a writer from the SQLite file at ``path``, in SQLite's words; empty when nothing does."""
    connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()
    return ""


def sqlite_version() -> tuple[int, ...]:
    """Return the version of the SQLite library that this Python uses."""
    return sqlite3.sqlite_version_info
