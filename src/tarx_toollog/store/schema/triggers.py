"""What the database itself does when rows change: it notes the days whose tallies do not hold any more.

*Theory.* Tallies are only worth having when they are never wrong. So the note is not left to those who write (there are
several, and there will be more), but is made by triggers, in the same transaction. On PostgreSQL several write at once:
each transaction makes a row of its own, so that none waits for another, and what is not committed yet is still noted
when it is.

Triggers are derived from this file, as views are from theirs: every upgrade makes them again.
"""

import sqlalchemy as sa

_OF_CALL = "SELECT {at} FROM exchange e WHERE e.id = {row}.exchange_id AND e.run_id IS NULL"
_OF_RESULT = (
    "SELECT {at} FROM tool_call c JOIN exchange e ON e.id = c.exchange_id "
    "WHERE c.id = {row}.tool_call_id AND e.run_id IS NULL"
)
DAYS = {
    "exchange": "SELECT {own} WHERE {row}.run_id IS NULL",
    "tool_call": _OF_CALL,
    "tool_result": _OF_RESULT,
    "turn": "SELECT {own}",
}
"""Table → the query for the day of one of its rows."""

_EVENTS = (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")), ("DELETE", ("OLD",)))


def sqlite_triggers() -> list[str]:
    """Return the statements for SQLite."""
    made = []
    for table, query in DAYS.items():
        for event, rows in _EVENTS:
            notes = " ".join(_sqlite_note(query, row) for row in rows)
            made.append(f"CREATE TRIGGER tally_{table}_{event.lower()} AFTER {event} ON {table} BEGIN {notes} END")
    return made


def _sqlite_note(query: str, row: str) -> str:
    days = query.format(row=row, own=f"substr({row}.started_at, 1, 10) AS day", at="substr(e.started_at, 1, 10) AS day")
    return (
        f"INSERT INTO tally_change (day, transaction_no) SELECT changed.day, 0 FROM ({days}) AS changed "  # noqa: S608
        "WHERE NOT EXISTS (SELECT 1 FROM tally_change AS known WHERE known.day = changed.day);"
    )


def postgresql_triggers() -> list[str]:
    """Return the statements for PostgreSQL."""
    made = []
    for table, query in DAYS.items():
        notes = "\n".join(
            f"IF TG_OP <> '{without}' THEN {_postgresql_note(query, row)} END IF;"
            for row, without in (("OLD", "INSERT"), ("NEW", "DELETE"))
        )
        made.append(
            f"CREATE OR REPLACE FUNCTION tally_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n{notes}\n"
            "RETURN NULL; END $$"
        )
        made.append(
            f"CREATE TRIGGER tally_{table} AFTER INSERT OR UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION tally_{table}()"
        )
    return made


def _postgresql_note(query: str, row: str) -> str:
    at = "to_char({}.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day"
    days = query.format(row=row, own=at.format(row), at=at.format("e"))
    return (
        f"INSERT INTO tally_change (day, transaction_no) SELECT day, txid_current() FROM ({days}) AS days "  # noqa: S608
        "ON CONFLICT DO NOTHING;"
    )


def create_triggers(connection: sa.Connection) -> None:
    """Make all triggers again; whatever was there under their names goes."""
    is_postgresql = connection.dialect.name == "postgresql"
    drop_triggers(connection)
    for statement in postgresql_triggers() if is_postgresql else sqlite_triggers():
        connection.exec_driver_sql(statement)


def drop_triggers(connection: sa.Connection) -> None:
    """Remove all triggers, so that tables can be made anew."""
    known = set(sa.inspect(connection).get_table_names())
    for table in DAYS.keys() & known:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS tally_{table} ON {table}")
        else:
            for event, _ in _EVENTS:
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS tally_{table}_{event.lower()}")
