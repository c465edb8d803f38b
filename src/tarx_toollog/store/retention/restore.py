"""A backup takes the place of the database.

*Theory.* Everything that may fail is done with a copy beside the database: it is checked, and brought to the schema of
this code. Only then does it take the name, in one step. What was there before stays beside it under another name, with
its own write-ahead log: SQLite would read the log of the old file into the new one.

The journal stays where it is. What waits in it came after the backup and is in no other place; who records next takes
it in, and what the backup has already is known by its uid. What the old database had and the backup has not is counted,
so that nothing is lost silently.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError, StoreError
from tarx_toollog.store import journal as jr
from tarx_toollog.store import maintenance, migrate
from tarx_toollog.store.engine import create_private_file, reader_engine, store_errors
from tarx_toollog.store.retention.place import Steps, require_nobody_records
from tarx_toollog.store.schema import SCHEMA_REVISION

_LOGS = ("-wal", "-shm", "-journal")
_MOMENT = "%Y%m%d-%H%M%S"


@dataclass(frozen=True, slots=True)
class Restored:
    """What took the place of what."""

    backup: Path
    database: Path
    revision: str
    """Schema of the backup."""
    upgraded: bool
    """Whether it was brought to the schema of this code."""
    exchanges: int
    """In the backup."""
    last_at: str | None
    """When the latest of them began, as UTC."""
    kept_as: Path | None
    """Where the replaced database is; None where there was none, or it was to be discarded."""
    missing: int | None
    """Exchanges of the replaced database that the backup has not; None where there was none, or it cannot be read."""
    waiting: int
    """Segments of the journal, which stay: who records next takes them in."""


class _Contents(NamedTuple):
    revision: str
    exchanges: int
    last_at: str | None


def restore(settings: Settings, backup: Path, *, force: bool, discard: bool, dry_run: bool, steps: Steps) -> Restored:
    """Put a backup in the place of the database of ``settings``; with ``dry_run``, only say what that means.

    Args:
        settings: Whose database is replaced.
        backup: A file that ``toollog db backup`` wrote.
        force: Replace a database that is there.
        discard: Do not keep it.
        dry_run: Check everything, and change nothing.
        steps: Hears what is being done.

    Raises:
        ConfigError: It is no SQLite file that is to be replaced, or one is there and ``force`` was not given.
        StoreError: A process records or writes, or the backup is damaged, newer than this code, or none of ours.
    """
    database = _target(settings, backup, may_exist=force or dry_run)
    require_nobody_records(settings)
    _require_nobody_holds(database)
    with _copied(settings, backup, database, steps) as (copy, contents):
        missing = _missing(database, copy)
        is_there = any(Path(f"{database}{ending}").exists() for ending in ("", *_LOGS))
        kept_as = _free_name(database) if is_there and not discard else None
        found = Restored(
            backup,
            database,
            contents.revision,
            contents.revision != SCHEMA_REVISION,
            contents.exchanges,
            contents.last_at,
            kept_as,
            missing,
            len(jr.list_segments(settings.journal_path)),
        )
        if not dry_run:
            _swap(copy, database, kept_as)
    return found


def _target(settings: Settings, backup: Path, *, may_exist: bool) -> Path:
    """Return the file that is to be replaced.

    Raises:
        ConfigError: There is none, or it may not be replaced by this one.
    """
    database = settings.database_path
    if database is None:
        raise ConfigError("only an SQLite database can be restored from a file", hint="use pg_restore for PostgreSQL")
    if not backup.is_file():
        raise ConfigError(f"no file {backup}", hint="name a file that `toollog db backup` wrote")
    if database.exists() and database.samefile(backup):
        raise ConfigError(f"{backup} is the database itself", hint="name a backup of it")
    if database.exists() and not may_exist:
        raise ConfigError(f"{database} exists", hint="--force replaces it, and keeps it beside under another name")
    return database


@contextmanager
def _copied(settings: Settings, backup: Path, database: Path, steps: Steps) -> Iterator[tuple[Path, _Contents]]:
    """Yield a checked copy of the backup beside the database; what is left of it at the end goes."""
    copy = database.with_name(f"{database.name}.restoring-{os.getpid()}")
    create_private_file(copy)
    try:
        steps.begin("copying the backup")
        own = settings.model_copy(update={"database": str(copy), "journal_dir": settings.journal_path})
        _copy(backup, copy)
        steps.begin("checking it")
        contents = _check(own, backup)
        if contents.revision != SCHEMA_REVISION:
            steps.begin("bringing it to the schema of this version")
            migrate.upgrade(own)
        _empty_log(copy)
        put_on_disk(copy)
        yield copy, contents
    finally:
        for ending in ("", *_LOGS):
            Path(f"{copy}{ending}").unlink(missing_ok=True)


def _copy(backup: Path, copy: Path) -> None:
    """Copy a database with what its write-ahead log holds.

    Raises:
        StoreError: It cannot be read as one.
    """
    try:
        with closing(_read_only(backup)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{backup} cannot be restored: {error}", hint="name a file that `toollog db backup` wrote"
        ) from error


def _check(settings: Settings, backup: Path) -> _Contents:
    """Return what a copy holds.

    Raises:
        StoreError: It is damaged, none of ours, or newer than this code.
    """
    with store_errors(settings):
        engine = reader_engine(settings)
        try:
            state = migrate.read_state(engine)
            if state.revision is None:
                raise StoreError(f"{backup} is an empty database", hint="name a file that `toollog db backup` wrote")
            if state.is_newer:
                raise migrate.too_new(state)
            if problems := maintenance.damage(engine):
                raise StoreError(
                    f"{backup} is damaged: {problems[0]} ({len(problems)} problems)", hint="take another backup"
                )
            with engine.connect() as connection:
                row = connection.exec_driver_sql("SELECT COUNT(*), MAX(started_at) FROM exchange").one()
            return _Contents(state.revision, int(row[0]), row[1])
        finally:
            engine.dispose()


def _require_nobody_holds(database: Path) -> None:
    """See that no other program is writing to the database, as far as it can be asked.

    Raises:
        StoreError: One is.
    """
    if database.exists():
        obstacle = maintenance.write_obstacle(database)
        if "locked" in obstacle or "busy" in obstacle:  # one that is damaged is what a backup is for
            raise StoreError(f"{database} is locked by another program", hint="find it (lsof), and close it")


def _missing(database: Path, copy: Path) -> int | None:
    """Return how many exchanges of the database the copy has not."""
    if not database.exists():
        return None
    try:
        with closing(_read_only(database)) as connection:
            connection.execute("ATTACH ? AS backup", (f"file:{quote(str(copy))}?mode=ro",))
            query = "SELECT COUNT(*) FROM main.exchange WHERE uid NOT IN (SELECT uid FROM backup.exchange)"
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.DatabaseError:
        return None


def _swap(copy: Path, database: Path, kept_as: Path | None) -> None:
    """Give the copy the name of the database."""
    if database.exists():
        _empty_log(database)
        if kept_as is not None:
            _keep(database, kept_as)
    for ending in _LOGS:  # SQLite would read them into the new file, also where the old one is gone
        log = Path(f"{database}{ending}")
        if kept_as is not None and log.exists() and ending != "-shm":
            log.replace(f"{kept_as}{ending}")
        log.unlink(missing_ok=True)
    copy.replace(database)
    put_on_disk(database.parent)


def _keep(database: Path, kept_as: Path) -> None:
    """Give what is replaced another name; its own one stays until the copy takes it."""
    database.chmod(0o600)
    try:
        os.link(database, kept_as)
    except OSError:
        database.replace(kept_as)  # a file system without links: for a moment there is no database


def _empty_log(database: Path) -> None:
    """Bring the write-ahead log into the file, so that the two need not be moved together; as far as that can be."""
    try:
        with closing(sqlite3.connect(database, timeout=0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError:
        pass  # it is damaged: it is kept with its log, as it is


def put_on_disk(path: Path) -> None:
    """Wait until what was written to a file is on the disk, so that it may take a name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_name(database: Path) -> Path:
    """Return a name for what is replaced that nothing has yet."""
    first = database.with_name(f"{database.name}.before-restore-{datetime.now(UTC).strftime(_MOMENT)}")
    names = (first, *(first.with_name(f"{first.name}-{number}") for number in range(2, 1000)))
    return next(name for name in names if not name.exists())


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
