"""``ToolLog``: the store as one object, for scripts, export, replay and the command line."""

import sqlite3
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError
from tarx_toollog.model import Exchange, Trajectory
from tarx_toollog.redaction.policy import Policy
from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store.engine import exclude_writers, reader_engine, store_errors, writer_engine
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.guard import limit_to_reading, message_of, one_statement_each, took_too_long, would_write
from tarx_toollog.store.migrate import prepare, require_current
from tarx_toollog.store.reader import Reader
from tarx_toollog.store.redactions import redact_exchange
from tarx_toollog.store.secret import load_secret
from tarx_toollog.store.where import heeding
from tarx_toollog.store.writer import Writer


class QueryResult(NamedTuple):
    """What a query gave: column names and an iterator over the rows."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


class ToolLog:
    """An open store.

    Example::

        with ToolLog.open("toollog.db") as log:
            for trajectory in log.trajectories(tools={"tarx_remember"}, since="7d"):
                print(trajectory.signature)
    """

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self.settings = settings
        self.engine = engine
        self._writer = Writer()

    @classmethod
    def open(
        cls, database: str | Path | None = None, *, read_only: bool = True, settings: Settings | None = None
    ) -> "ToolLog":
        """Open a store.

        Args:
            database: Path of the SQLite file; from the settings when left out.
            read_only: Open without the possibility to write. Otherwise a missing database is made and an
                older one upgraded.
            settings: Settings to use instead of those in force.

        Raises:
            StoreError: There is no such database, or it cannot be used as it is.
        """
        settings = settings or Settings.load(database=None if database is None else str(database))
        if database is not None and settings.database != str(database):
            settings = settings.model_copy(update={"database": str(database)})
        engine = reader_engine(settings) if read_only else writer_engine(settings)
        try:
            if read_only:
                require_current(engine, settings)
            else:
                prepare(engine, settings)
        except BaseException:
            engine.dispose()
            raise
        return cls(settings, engine)

    def trajectories(
        self,
        filters: Filters | None = None,
        *,
        since: str | None = None,
        until: str | None = None,
        tools: Iterable[str] = (),
        models: Iterable[str] = (),
        conversation: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Trajectory]:
        """Yield the turns that match, oldest conversation first.

        Args:
            filters: What to take; made from the other arguments when left out.
            since: From this moment on: ``7d``, ``24h``, or an ISO date or time.
            until: Up to this moment.
            tools: Tools, one of which was called.
            models: Model names, as requested or as answered.
            conversation: The uid of a conversation, its beginning, or the client's own id.
            limit: At most this many.

        Raises:
            ConfigError: A time cannot be read.
        """
        filters = filters or Filters.parse(
            since=since, until=until, tools=tools, models=models, conversation=conversation, limit=limit
        )
        with (
            store_errors(self.settings),
            self.engine.connect() as connection,
            heeding(connection, filters.where),
        ):
            yield from Reader(connection).trajectories(filters)

    def exchange(self, uid: str) -> Exchange:
        """Return one exchange; the beginning of its uid will do.

        Raises:
            NothingMatchedError: None fits, or several do.
        """
        with store_errors(self.settings), self.engine.connect() as connection:
            return Reader(connection).exchange(uid)

    def exchange_by_id(self, exchange_id: int) -> Exchange:
        """Return the exchange with this internal key."""
        with store_errors(self.settings), self.engine.connect() as connection:
            return Reader(connection).exchange_by_id(exchange_id)

    def write(self, exchanges: Iterable[Exchange]) -> list[int]:
        """Write exchanges in one transaction, without what must not be stored, and return their internal keys."""
        try:
            with store_errors(self.settings), self.engine.begin() as connection:
                exclude_writers(connection)
                ids = []
                for item in exchanges:
                    clean, redaction = redact_exchange(self._redactor, item)
                    ids.append(self._writer.write(connection, clean, redaction=redaction).id)
                self._writer.settle(connection)
                return ids
        except BaseException:
            self._writer.forget()
            raise

    def without_secrets(self, text: str) -> str:
        """Return a text as it may be stored: without what the rules of the settings take out."""
        return self._redactor.text(text)[0]

    @cached_property
    def _redactor(self) -> Redactor:
        policy = Policy.load(self.settings.redact, self.settings.redact_rules)
        return Redactor(policy, load_secret(self.settings))

    def query(self, sql: str, *, limit: int | None = None, timeout_s: float = 30.0) -> QueryResult:
        """Run one SELECT of a person's own, read-only and limited in time.

        Args:
            sql: One statement.
            limit: Rows to give at most.
            timeout_s: Seconds after which the query is ended.

        Raises:
            ConfigError: The statement is wrong, would write, or took too long.
        """
        with store_errors(self.settings):
            # A connection of its own: the limits below must not stay on one that writes.
            connection = reader_engine(self.settings).connect()
        try:
            limit_to_reading(connection, timeout_s)
            one_statement_each(connection)
            cursor = connection.execution_options(no_parameters=True).exec_driver_sql(sql)
            if not cursor.returns_rows:
                raise ConfigError("that statement returns no rows", hint="only SELECT is possible here")
            return QueryResult(list(cursor.keys()), _rows(connection, cursor, limit, timeout_s))
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            _close(connection)
            raise _query_error(error, timeout_s) from error
        except BaseException:
            _close(connection)
            raise

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> "ToolLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rows(
    connection: sa.Connection, cursor: sa.CursorResult[Any], limit: int | None, timeout_s: float
) -> Iterator[tuple[Any, ...]]:
    try:
        for number, row in enumerate(cursor):
            if limit is not None and number >= limit:
                return
            yield tuple(row)
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise _query_error(error, timeout_s) from error
    finally:
        _close(connection)


def _close(connection: sa.Connection) -> None:
    connection.close()
    connection.engine.dispose()  # it was made for this one query


def _query_error(error: Exception, timeout_s: float) -> ConfigError:
    if took_too_long(error):
        return ConfigError(f"the query took longer than {timeout_s:g} s", hint="filter more, or raise --timeout")
    if would_write(error):
        return ConfigError("only SELECT is possible here", hint="`toollog db backup` makes a copy that you may change")
    return ConfigError(
        f"SQL: {message_of(error)}",
        hint='`toollog db query "SELECT name, sql FROM sqlite_master"` lists tables and views',
    )
