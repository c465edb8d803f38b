"""Giving space back: the file is written anew without its free pages, and the write-ahead log is emptied.

``VACUUM`` works in place. A copy that takes the place of the file would be wrong: who has the old one open would go on
writing into a file that has no name any more.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tarx_toollog.errors import StoreError
from tarx_toollog.store import maintenance
from tarx_toollog.store.engine import look_around
from tarx_toollog.store.retention.place import Place, Steps, require_nobody_writes
from tarx_toollog.store.retention.rows import drop_helpers
from tarx_toollog.store.schema import SEARCH_TABLE

_ENDINGS = ("", "-wal")


@dataclass(frozen=True, slots=True)
class Compacted:
    """The size of a store in bytes, its write-ahead log included."""

    before: int
    after: int | None
    """None: it was only looked."""
    free: int | None
    """Bytes of free pages and of the write-ahead log before; None on a server, which does not say."""


def would_compact(place: Place) -> Compacted:
    """Return how large the store is, and what it would give back."""
    return Compacted(size(place), None, _free(place))


def compact(place: Place, steps: Steps) -> Compacted:
    """Write the store anew; return its size before and after.

    Raises:
        StoreError: Another process writes, or the disk has no room for a second copy.
    """
    before, free = size(place), _free(place)
    if place.is_sqlite:
        require_quiet(place)
        require_room(place)
    with place.writer.begin() as connection:
        drop_helpers(connection)
    if place.is_sqlite:
        steps.begin("joining the index of words")
        with place.writer.begin() as connection:
            connection.exec_driver_sql(f"INSERT INTO {SEARCH_TABLE} ({SEARCH_TABLE}) VALUES ('optimize')")  # noqa: S608
    steps.begin("writing the store anew")
    rewrite(place)
    return Compacted(before, size(place), free)


def require_quiet(place: Place) -> None:
    """See that nobody writes.

    Raises:
        StoreError: Somebody does.
    """
    with place.reader.connect() as connection:
        require_nobody_writes(connection, place.settings)
    if place.path is not None and (obstacle := maintenance.write_obstacle(place.path)):
        raise StoreError(
            f"another program keeps {place.path} from being written: {obstacle}",
            hint="find it (lsof), and close it for as long as this takes",
        )


def require_room(place: Place) -> None:
    """See that there is room for a second copy, which SQLite makes for a while.

    Raises:
        StoreError: There is not.
    """
    if place.path is None:
        return
    free, needed = shutil.disk_usage(place.path.parent).free, 2 * size(place)  # the copy, and the log that brings it in
    if free < needed:
        raise StoreError(
            f"writing {place.path} anew may take {needed:,} bytes, and {free:,} are free", hint="make room first"
        )


def rewrite(place: Place) -> None:
    """Write the file anew and empty its write-ahead log; on a server, let it use the space of deleted rows again.

    Raises:
        StoreError: Another program keeps the old pages in use.
    """
    if not place.is_sqlite:
        with place.writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM (ANALYZE)")
        return
    place.direct("VACUUM")
    look_around(place.writer)
    if place.direct("PRAGMA wal_checkpoint(TRUNCATE)")[0]:
        raise StoreError(
            "it is done, but another program keeps the old pages of the file in use",
            hint="close it, and run `toollog db compact`: it empties the write-ahead log",
        )


def size(place: Place) -> int:
    """Return the bytes of a store with its write-ahead log."""
    if place.path is None:
        with place.reader.connect() as connection:
            return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)
    return file_size(place.path)


def file_size(database: Path) -> int:
    """Return the bytes of a file of SQLite's with its write-ahead log."""
    files = (Path(f"{database}{ending}") for ending in _ENDINGS)
    return sum(path.stat().st_size for path in files if path.exists())


def _free(place: Place) -> int | None:
    if place.path is None:
        return None
    with place.reader.connect() as connection:
        pages, page_size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("freelist_count", "page_size")
        )
    log = Path(f"{place.path}-wal")
    return int(pages) * int(page_size) + (log.stat().st_size if log.exists() else 0)
