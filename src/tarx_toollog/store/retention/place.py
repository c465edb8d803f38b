"""The store that is cared for: one connection that writes, others that read, and who else is at work on it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError
from tarx_toollog.store import journal as jr
from tarx_toollog.store.engine import exclude_writers, store_errors, writer_engine
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import run, work_unit, writer

_LONGEST_PAUSE_S = 0.1


class Steps(Protocol):
    """Who is told how far the work is."""

    def begin(self, label: str, total: int | None = None) -> None:
        """Hear that another kind of work begins."""

    def advance(self, count: int = 1) -> None:
        """Hear that so much more is done."""


class Unheard:
    """Nobody is told."""

    def begin(self, label: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, count: int = 1) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """An open store of the current schema."""

    settings: Settings
    reader: sa.Engine
    writer: sa.Engine
    """Each transaction takes the lock of SQLite's at once, so nothing long is asked on it."""
    is_shared: bool
    """Whether a process records to it meanwhile."""

    @property
    def path(self) -> Path | None:
        """The file; None on a server."""
        return self.settings.database_path

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite's."""
        return self.writer.dialect.name == "sqlite"

    @contextmanager
    def storing(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction of its own, during which nobody stores an exchange."""
        with self.writer.begin() as connection:
            exclude_writers(connection)
            yield connection

    def give_way(self, since: float) -> None:
        """Let others write for as long as the last transaction took: SQLite's lock goes to whoever asks next.

        Args:
            since: When that began, by the monotonic clock.
        """
        if self.is_shared:
            time.sleep(min(_LONGEST_PAUSE_S, time.monotonic() - since))

    def direct(self, statement: str) -> tuple[int, ...]:
        """Run a statement of SQLite's outside any transaction, and return its first row."""
        connection = self.writer.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            row = cursor.fetchone()
            return () if row is None else tuple(row)
        finally:
            connection.close()


@contextmanager
def opened(settings: Settings) -> Iterator[Place]:
    """Open a store to care for it; errors of the database come out as StoreError.

    Raises:
        StoreError: There is none, or it cannot be used.
    """
    with store_errors(settings), ToolLog.open(settings=settings) as log:
        engine = writer_engine(settings)
        try:
            place = Place(settings, log.engine, engine, bool(recording(settings.journal_path)))
            if place.is_sqlite and place.is_shared:
                # Two connections that checkpoint at once may damage the file (sqlite.org/wal.html#walresetbug): the one
                # that records does it.
                place.direct("PRAGMA wal_autocheckpoint=0")
            yield place
        finally:
            engine.dispose()


def recording(folder: Path) -> list[str]:
    """Return the uids of the processes of this machine that have a journal in ``folder`` and live."""
    locks = sorted(path.name.removesuffix(jr.LOCK_SUFFIX) for path in folder.glob(f"*{jr.LOCK_SUFFIX}"))
    return [uid for uid in locks if jr.is_alive(folder, uid)]


def require_nobody_records(settings: Settings) -> None:
    """See that no process of this machine records; the database itself is not asked.

    Raises:
        StoreError: One does.
    """
    if found := recording(settings.journal_path):
        raise StoreError(
            f"{len(found)} {'process is' if len(found) == 1 else 'processes are'} recording to this store",
            hint="stop `toollog serve`, or the application that records, for as long as this takes",
        )


def require_nobody_writes(connection: sa.Connection, settings: Settings) -> None:
    """See that no process records, and that none works on a replay run.

    Raises:
        StoreError: One does; the message names it.
    """
    for row in connection.execute(sa.select(writer.c.uid, writer.c.pid).where(writer.c.stopped_at.is_(None))):
        if jr.is_alive(settings.journal_path, row.uid):
            raise StoreError(f"process {row.pid} is recording to this store", hint="stop it for as long as this takes")
    require_nobody_records(settings)
    at_work = sa.select(run.c.name, work_unit.c.worker).join(run, run.c.id == work_unit.c.run_id)
    leased = connection.execute(at_work.where(work_unit.c.leased_until >= datetime.now(UTC)).limit(1)).first()
    if leased is not None:
        raise StoreError(
            f"{leased.worker} works on the replay run {leased.name}",
            hint="stop it, or wait until it is done; of a process that was killed this is known after two minutes",
        )
