"""From the journal to the database: read frames, decode, link, write, one transaction a batch.

*Theory.* The journal is the only queue, so live ingestion and recovery after a crash are the same code. A frame
is read once; what it adds is held in an ``Assembly`` until the exchange ends. A begun exchange is written at once
(outcome ``open``), a finished one when its END arrives. What could not be committed stays in ``_ready`` and is
tried again; nothing more is read while that is much, so memory stays bounded and the journal grows instead. A
segment is deleted when it is read to its last byte and no exchange that began in it is still unfinished; what
cannot be read of it is put aside first.

Ingestion is idempotent by the exchange's uid: after a crash segments are simply read again.
"""

import logging
import os
import socket
import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from tarx_toollog._version import __version__
from tarx_toollog.config import Settings
from tarx_toollog.errors import JournalError, StoreError
from tarx_toollog.model import Exchange, Outcome
from tarx_toollog.redaction.policy import Policy
from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store import frames as fr
from tarx_toollog.store import journal as jr
from tarx_toollog.store import putting_aside
from tarx_toollog.store.builds import Probed, write_probe
from tarx_toollog.store.engine import exclude_writers, files_of, is_store_trouble, writer_engine
from tarx_toollog.store.execution_queue import ExecutionQueue
from tarx_toollog.store.frames import Assembly, Kind
from tarx_toollog.store.gaps import Gap, write_gaps
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.migrate import prepare
from tarx_toollog.store.redactions import Redaction, redact_exchange
from tarx_toollog.store.schema import exchange, writer
from tarx_toollog.store.sealing import KeyGoneError
from tarx_toollog.store.secret import load_secret
from tarx_toollog.store.tidying import Tidying
from tarx_toollog.store.writer import RawBodies, Writer
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import RawExchange

logger = logging.getLogger("tarx_toollog.ingest")

BATCH = 64  # exchanges a transaction: most of the gain of batching, and other programs wait only milliseconds
MAX_READY_BYTES = 64 * 2**20  # what may wait in memory while the database is away


class _Ready(NamedTuple):
    raw: RawExchange
    still_open: bool
    size: int


class Ingester:
    """Moves exchanges from journal segments into one database. Used by one thread.

    Args:
        settings: Where database and journal are.
        writer_uid: Id of this process; its row in ``writer`` is made by ``open``.
        give_way: Called between two exchanges; it may pause to let traffic pass.
        ended: Called with each exchange that has ended and is in the database.
    """

    def __init__(
        self,
        settings: Settings,
        writer_uid: str,
        give_way: Callable[[], None] = lambda: None,
        ended: Callable[[Exchange], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._give_way = give_way
        self._ended = ended
        self._probes: list[Probed] = []
        self._writer_uid = writer_uid
        self._folder = settings.journal_path
        self._engine: sa.Engine | None = None
        self._writer = Writer()
        self._redactor: Redactor | None = None
        self._gaps: list[Gap] = []
        self._files = files_of(settings)
        self._tidying = Tidying()
        self._reset()

    def _reset(self) -> None:
        self._place: dict[Path, int] = {}
        self._keyless: set[Path] = set()
        self._open: dict[str, tuple[Assembly, Path]] = {}
        self._ready: dict[str, _Ready] = {}
        self._poison: set[str] = set()
        self._executions = ExecutionQueue()

    @property
    def backlog(self) -> int:
        """Exchanges that are read and wait for the database."""
        return len(self._ready)

    @property
    def is_drained(self) -> bool:
        """Whether nothing is half read: every exchange that was begun has ended and is in the database."""
        return not self._ready and not self._open

    def finish(self, journal: Journal) -> None:
        """Ingest the rest of a journal, which takes no more frames from here on, and delete what is in the database."""
        journal.end()
        self.poll()
        if self.is_drained:
            self._put_away(jr.list_segments(self._folder, self._writer_uid))
            self._commit_all()

    def disconnect(self) -> None:
        """Close the connections to the database; the next use opens them again."""
        if self._engine is not None:
            self._engine.dispose()

    def open(self) -> None:
        """Open the database, sign in, and take over what dead processes left behind.

        May be called again after a failure.

        Raises:
            StoreError: The database cannot be used; the journal goes on growing until it can.
            ConfigError: The redaction rules cannot be read: nothing is stored without them.
            sqlalchemy.exc.DatabaseError: It is busy or away.
        """
        if self._engine is not None:
            now = files_of(self._settings)
            if self._files == now:
                return
            # Deleted or replaced under us: writing would succeed and reach nobody.
            if self._files.database != now.database:
                self.note_gap("database", 1, "the file was deleted or replaced while it was open, with what it held")
            self._engine.dispose()
            self._engine = None
            self._reset()  # so that the segments that are still there are read again
        if self._redactor is None:
            policy = Policy.load(self._settings.redact, self._settings.redact_rules)
            self._redactor = Redactor(policy, load_secret(self._settings))
        engine = writer_engine(self._settings)
        try:
            prepare(engine, self._settings)
            with engine.begin() as connection:
                self._writer = Writer(self._sign_in(connection), upstream=self._settings.upstream)
        except BaseException:
            engine.dispose()
            raise
        self._engine = engine
        self._files = files_of(self._settings)

    def recover(self) -> int:
        """Ingest the segments of dead processes and close their open exchanges; return how many were ingested."""
        done = 0
        for writer_uid in jr.claim_dead(self._folder):
            other = Ingester(self._settings, writer_uid)
            other._engine, other._gaps, other._redactor = self._engine, self._gaps, self._redactor
            other._writer = Writer(self._row_of(writer_uid), upstream=self._settings.upstream)
            segments = jr.list_segments(self._folder, writer_uid)
            if not fr.can_open(segments):
                continue  # by a process with `cryptography` they can be
            done += other._read_all(segments)
            # No END will come for what is still open: the process that would have written it is gone.
            for uid, (assembly, _) in list(other._open.items()):
                other._make_ready(uid, assembly, still_open=False)
            done += other._commit_all()
            other._put_away(segments)
            done += other._commit_all()
        self._sweep()
        return done

    def poll(self) -> int:
        """Ingest what this process has appended since the last time; return how many exchanges changed."""
        segments = jr.list_segments(self._folder, self._writer_uid)
        done = self._read_all(segments)
        done += self._commit_all()
        self._delete_finished(segments)
        return done

    def interrupt(self, uids: Iterable[str]) -> None:
        """Close exchanges whose end could not be journalled, so that their segments need not be kept for it."""
        for uid in uids:
            if uid in self._open:
                self._make_ready(uid, self._open[uid][0], still_open=False)
        self._commit_all()

    def note_gap(self, kind: str, n: int, detail: str) -> None:
        """Count a loss; it becomes a row with the next transaction."""
        self._gaps.append(Gap.now(kind, n, detail))

    def note_probe(self, probed: Probed) -> None:
        """Take what a probe found, from any thread; it is written with the next transaction."""
        self._probes.append(probed)

    def tidy(self) -> float | None:
        """Do a little of what makes questions quick; return after how many seconds to come again, if at all."""
        return None if self._engine is None else self._tidying.step(self._engine)

    def close(self) -> None:
        """Sign out and close the database."""
        if self._engine is None:
            return
        try:
            with self._engine.begin() as connection:
                self._write_gaps(connection)
                connection.execute(
                    sa.update(writer).where(writer.c.uid == self._writer_uid).values(stopped_at=datetime.now(UTC))
                )
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError):
            logger.warning("the store could not be closed properly; the journal keeps what is missing")
        self._engine.dispose()
        self._engine = None

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _read_all(self, segments: list[Path]) -> int:
        done = 0
        for path in segments:
            if sum(item.size for item in self._ready.values()) > MAX_READY_BYTES:
                done += self._commit_all()  # fails while the database is away: then nothing more is read
            self._read(path)
        return done

    def _read(self, path: Path) -> None:
        try:
            for frame in fr.read_frames(path, self._place.get(path, 0)):
                self._place[path] = frame.end_offset
                try:
                    if frame.kind is Kind.EXECUTION:
                        self._executions.read(frame)
                        continue
                    assembly = self._open.setdefault(frame.uid, (Assembly(), path))[0]
                    assembly.add(frame)
                except JournalError as error:
                    self.note_gap("torn", 1, str(error))
                self._give_way()
                if frame.kind is Kind.BEGIN:
                    self._make_ready(frame.uid, assembly, still_open=True)
                elif frame.kind is Kind.END:
                    self._make_ready(frame.uid, assembly, still_open=False)
        except FileNotFoundError:
            # How many exchanges it held nobody knows; that there is a hole must be known.
            self.note_gap("journal", 1, f"{path.name} was deleted before it was read to its end")
        except KeyGoneError:
            self._keyless.add(path)

    def _make_ready(self, uid: str, assembly: Assembly, *, still_open: bool) -> None:
        raw = assembly.raw()
        if raw is None:
            self._open.pop(uid, None)  # its BEGIN was ingested and deleted long ago, or never written
            return
        size = len(raw.request_body) + sum(len(chunk.data) for chunk in raw.chunks)
        self._ready[uid] = _Ready(raw, still_open, size)

    def _delete_finished(self, segments: list[Path]) -> None:
        needed = min((first for _, first in self._open.values()), default=None)
        if not self._ready:
            self._put_away([path for path in segments[:-1] if needed is None or path < needed])

    def _put_away(self, segments: list[Path]) -> None:
        """Delete segments that nobody appends to and whose exchanges are in the database."""
        for path in segments:
            try:
                if self._place.get(path, len(fr.MAGIC)) < path.stat().st_size:
                    self._set_aside(path)
                path.unlink()
            except FileNotFoundError:
                pass  # somebody else was faster
            self._place.pop(path, None)

    def _set_aside(self, path: Path) -> None:
        assert self._engine is not None
        read_to = None if path in self._keyless else self._place.get(path, 0)
        self._gaps += putting_aside.put_segment(self._folder, path, read_to, self._engine)

    # ---- writing ----------------------------------------------------------------------------------------------------

    def _commit_all(self) -> int:
        done = 0
        while self._ready or self._gaps or self._probes:
            if self._files != files_of(self._settings):  # under load a pass takes minutes: it cannot wait for `open`
                raise StoreError("the database was deleted or replaced while it was open", hint="it is opened again")
            batch = list(self._ready.items())[:BATCH]
            try:
                self._commit(batch)
            except Exception as error:
                self._writer.forget()
                if is_store_trouble(error):
                    raise
                self._commit_one_by_one(batch)
            for uid, item in batch:
                del self._ready[uid]
                if not item.still_open:
                    self._open.pop(uid, None)
            done += len(batch)
        for lost in self._executions.commit(self._engine, self._writer, self._redactor):
            self.note_gap("parse_error", 1, lost)
        return done

    def _commit(self, batch: list[tuple[str, _Ready]]) -> None:
        assert self._engine is not None
        items = []
        for _, ready in batch:
            items.append(self._redacted(decode(ready.raw, open_ended=ready.still_open), ready.raw))
            self._give_way()
        with self._engine.begin() as connection:
            exclude_writers(connection)
            for item, raw, redaction in items:
                self._writer.write(connection, item, raw, redaction)
                if self._engine.dialect.name == "sqlite":  # on a server, the processes of all hosts wait for this one
                    self._give_way()
            self._writer.settle(connection)
            probes = tuple(self._probes)
            for probed in probes:
                write_probe(connection, probed)
            self._write_gaps(connection)
        self._gaps.clear()
        del self._probes[: len(probes)]
        for item, *_ in items:
            if item.outcome is not Outcome.OPEN:
                self._ended(item)

    def _commit_one_by_one(self, batch: list[tuple[str, _Ready]]) -> None:
        for uid, ready in batch:
            try:
                self._commit([(uid, ready)])
            except Exception as error:
                self._writer.forget()
                if is_store_trouble(error):
                    raise
                # A bug of ours, met by this exchange: put it aside, count it, and let the others through.
                assert self._redactor is not None
                putting_aside.put_exchange(self._folder, ready.raw, self._redactor)
                if uid not in self._poison:  # it comes twice: when it begins and when it ends
                    self._poison.add(uid)
                    logger.exception("exchange %s cannot be stored; it is in quarantine", uid)
                    self.note_gap("parse_error", 1, f"{uid}: {type(error).__name__}: {error}")

    def _redacted(self, item: Exchange, raw: RawExchange) -> tuple[Exchange, RawBodies | None, Redaction | None]:
        assert self._redactor is not None
        bodies = self._raw_bodies(item, raw)
        if self._redactor.is_off:
            return item, bodies, None
        if bodies is not None:
            kept = (None if body is None else self._redactor.body(body) for body in bodies)
            bodies = RawBodies(*kept)
        item, redaction = redact_exchange(self._redactor, item)
        return item, bodies, redaction

    def _raw_bodies(self, item: Exchange, raw: RawExchange) -> RawBodies | None:
        keep = self._settings.keep_raw
        has_problem = bool(item.notes) or item.request is None
        if keep == "never" or (keep == "problems" and not has_problem):
            return None
        return RawBodies(raw.request_body, raw.response_body if raw.end is not None else None)

    def _write_gaps(self, connection: sa.Connection) -> None:
        assert self._redactor is not None
        write_gaps(connection, self._gaps, self._writer_uid, self._redactor.text)

    def _row_of(self, writer_uid: str) -> int | None:
        assert self._engine is not None
        with self._engine.begin() as connection:
            return connection.execute(sa.select(writer.c.id).where(writer.c.uid == writer_uid)).scalar()

    def _sign_in(self, connection: sa.Connection) -> int:
        known = connection.execute(sa.select(writer.c.id).where(writer.c.uid == self._writer_uid)).scalar()
        if known is not None:
            return int(known)
        statement = (
            sa.insert(writer)
            .values(
                uid=self._writer_uid,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                started_at=datetime.now(UTC),
            )
            .returning(writer.c.id)
        )
        return int(connection.execute(statement).scalar_one())

    def _sweep(self) -> None:
        """Close the open exchanges of dead processes of this host whose journal is gone."""
        assert self._engine is not None
        with self._engine.begin() as connection:
            query = (
                sa.select(writer.c.id, writer.c.uid)
                .join(exchange, exchange.c.writer_id == writer.c.id)
                .where(exchange.c.outcome == "open", writer.c.host == socket.gethostname())
                .distinct()
            )
            is_dead: Callable[[str], bool] = lambda uid: not jr.is_alive(self._folder, uid)  # noqa: E731
            dead = [row.id for row in connection.execute(query) if row.uid != self._writer_uid and is_dead(row.uid)]
            if dead:
                self._writer.interrupt(connection, exchange.c.writer_id.in_(dead))
