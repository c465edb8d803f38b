"""Run the migrations on the engine that the caller hands over, or on the configured database.

Foreign keys are off while tables are rebuilt: SQLite deletes the children of a table that is dropped and made
again with them on. Views are dropped before and made again after, since they are derived from the code.
"""

from typing import Literal

import sqlalchemy as sa
from alembic import context

from tarx_toollog.config import Settings
from tarx_toollog.store.engine import writer_engine
from tarx_toollog.store.migrate import create_derived
from tarx_toollog.store.schema import SEARCH_TABLE, drop_triggers, metadata
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime
from tarx_toollog.store.views import VIEWS


def run() -> None:
    """Upgrade (or downgrade) inside one transaction."""
    engine: sa.Engine = context.config.attributes.get("engine") or writer_engine(Settings.load())
    with engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite:
            # Outside a transaction: inside one the pragma does nothing.
            raw = connection.connection.dbapi_connection
            assert raw is not None
            raw.execute("PRAGMA foreign_keys=OFF")
        try:
            _migrate(connection)
        finally:
            if is_sqlite:
                raw = connection.connection.dbapi_connection
                assert raw is not None
                raw.execute("PRAGMA foreign_keys=ON")


def _migrate(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        include_object=_is_a_table_of_ours,
        render_item=_plain_type,
    )
    with context.begin_transaction():
        drop_triggers(connection)
        for view in reversed(VIEWS):
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view.name}")
        context.run_migrations()
        if sa.inspect(connection).has_table("exchange"):
            create_derived(connection)
    connection.commit()


def _is_a_table_of_ours(_item: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    is_other = kind == "table" and name is not None and name.startswith(("alembic_version", SEARCH_TABLE))
    return not is_other


def _plain_type(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our column types as what they are in the database: a migration must not change with the code."""
    if kind == "type" and isinstance(item, SafeText | JsonText):
        return "sa.Text()"
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


run()
