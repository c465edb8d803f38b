"""Bring a database to the schema of this code, or say why that cannot be done.

A new database is made straight from the tables (importing Alembic costs 600 ms, which a server that has just
received its first chat should not pay); an older one is upgraded by Alembic; a newer one is left alone. A test
proves that both roads lead to the same schema.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tarx_toollog._version import __version__
from tarx_toollog.config import Settings
from tarx_toollog.errors import SchemaOutdatedError, SchemaTooNewError, StoreError
from tarx_toollog.store.engine import exclude_writers, look_around, store_errors, writer_engine
from tarx_toollog.store.schema import SCHEMA_REVISION, SEARCH, create_triggers, metadata, store_meta, tally_change
from tarx_toollog.store.views import VIEWS

_DIALECTS: dict[str, Callable[[], sa.Dialect]] = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What a database is, seen from this code."""

    revision: str | None
    """The revision in the database; None when it has no tables of ours."""
    head: str
    """The revision that this code writes."""

    @property
    def is_new(self) -> bool:
        """Whether the database is still empty."""
        return self.revision is None

    @property
    def is_current(self) -> bool:
        """Whether this code can read and write it."""
        return self.revision == self.head

    @property
    def is_newer(self) -> bool:
        """Whether a newer version of this package made it. Revisions are numbered, so text order decides."""
        return self.revision is not None and self.revision > self.head


def read_state(engine: sa.Engine) -> SchemaState:
    """Return the schema state of a database.

    Raises:
        StoreError: It holds tables that are not ours.
    """
    with engine.connect() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        if "alembic_version" in tables and "exchange" in tables:
            revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
            return SchemaState(revision, SCHEMA_REVISION)
    if tables:
        raise StoreError(
            "the database belongs to another program: it has tables, but none of ours",
            hint="choose another file with --database or TOOLLOG_DATABASE",
        )
    return SchemaState(None, SCHEMA_REVISION)


def prepare(engine: sa.Engine, settings: Settings) -> SchemaState:
    """Make the database ready for this code: create it, upgrade it, or leave it as it is.

    Returns:
        The state before, so that a caller can say what was done.

    Raises:
        SchemaTooNewError: A newer version of this package made it.
        StoreError: It belongs to another program, or is damaged.
    """
    with store_errors(settings):
        state = read_state(engine)
        if state.is_new:
            _create(engine)
        elif state.is_newer:
            raise too_new(state)
        elif not state.is_current:
            _upgrade(engine)
            look_around(engine)
        return state


def require_current(engine: sa.Engine, settings: Settings) -> None:
    """Refuse to read a database that this code does not understand.

    Raises:
        SchemaOutdatedError: It is older; the hint says how to upgrade it.
        SchemaTooNewError: It is newer.
    """
    with store_errors(settings):
        state = read_state(engine)
    if state.is_newer:
        raise too_new(state)
    if not state.is_current:
        raise SchemaOutdatedError(
            f"the database has schema {state.revision or 'none'}, this version reads {state.head}",
            hint="`toollog db upgrade` brings it up to date",
        )


def upgrade(settings: Settings) -> SchemaState:
    """Create or upgrade the database of ``settings`` and return the state before."""
    engine = writer_engine(settings)
    try:
        return prepare(engine, settings)
    finally:
        engine.dispose()


def too_new(state: SchemaState) -> SchemaTooNewError:
    """Return the error for a database that a newer version made."""
    return SchemaTooNewError(
        f"the database has schema {state.revision}, this version knows up to {state.head}",
        hint="update tarx-toollog",
    )


def migrations_dir() -> Path:
    """Return the folder of the migrations: inside the package in a wheel, at the top in a checkout."""
    installed = Path(__file__).parent.parent / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "migrations"


def create_views(connection: sa.Connection) -> None:
    """Make all views again; whatever was there under their names goes."""
    for view in reversed(VIEWS):
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view.name}")
    for view in VIEWS:
        connection.exec_driver_sql(view.create(connection.dialect.name))


def create_derived(connection: sa.Connection) -> None:
    """Make all views and triggers again."""
    create_views(connection)
    if sa.inspect(connection).has_table(tally_change.name):
        create_triggers(connection)


@cache
def _table_statements(dialect_name: str) -> tuple[str, ...]:
    """Return what makes all tables in an empty database; SQLAlchemy takes longer to write it than SQLite to do it."""
    dialect = _DIALECTS[dialect_name]()
    made: list[sa.schema.ExecutableDDLElement] = []
    for table in metadata.sorted_tables:
        made.append(sa.schema.CreateTable(table))
        made += [sa.schema.CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name))]
    return (*(str(element.compile(dialect=dialect)) for element in made), *SEARCH[dialect_name])


def _create(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        exclude_writers(connection)
        if sa.inspect(connection).has_table("alembic_version"):
            return  # another process was faster
        for statement in _table_statements(connection.dialect.name):
            connection.exec_driver_sql(statement)
        create_derived(connection)
        connection.exec_driver_sql(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": SCHEMA_REVISION})
        connection.execute(sa.insert(store_meta).values(key="created_by", value=f"tarx-toollog {__version__}"))


def _upgrade(engine: sa.Engine, to: str = "head") -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    config.attributes["engine"] = engine
    command.upgrade(config, to)
