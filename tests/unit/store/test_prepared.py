"""The writer's connection against SQLAlchemy's own: the same rows, values and types."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from tarx_toollog import Settings, ToolLog
from tarx_toollog.store.prepared import PreparedConnection
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime, among

metadata = sa.MetaData()
thing = sa.Table(
    "thing",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcDateTime),
    sa.Column("text", SafeText),
    sa.Column("json", JsonText),
    sa.Column("is_good", sa.Boolean),
    sa.Column("data", sa.LargeBinary),
    sa.Column("share", sa.Float),
)
AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
VALUES: list[dict[str, Any]] = [
    {"at": AT, "text": "a\0b\ud800", "json": ["x", {"y": None}], "is_good": True, "data": b"\0\xff", "share": 0.25},
    {"at": AT.replace(microsecond=0), "text": "", "json": {}, "is_good": False, "data": b"", "share": -1.5},
    dict.fromkeys(("at", "text", "json", "is_good", "data", "share")),
]
BY_IDS = sa.select(thing).where(thing.c.id.in_(sa.bindparam("ids", expanding=True))).order_by(thing.c.id)
BEFORE = sa.select(thing.c.id).where(
    thing.c.at <= sa.bindparam("moment", type_=UtcDateTime()),
    sa.or_(thing.c.at < sa.bindparam("moment", type_=UtcDateTime()), thing.c.text.not_in(("never", "ever"))),
)
LISTED = sa.select(thing.c.id).where(among(thing.c.id, sa.bindparam("listed")))
INSERT = sqlite.insert(thing).on_conflict_do_nothing().returning(thing.c.id)
PUT = sa.update(thing).where(thing.c.id == sa.bindparam("this"))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[sa.Connection]:
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as log:
        metadata.create_all(log.engine)
        with log.engine.begin() as connection:
            yield connection


@pytest.fixture
def prepared(plain: sa.Connection) -> PreparedConnection:
    return PreparedConnection(plain)


def test_values_of_every_type_are_written_and_read_as_sqlalchemy_does(
    plain: sa.Connection, prepared: PreparedConnection
) -> None:
    for values in VALUES:
        prepared.execute(INSERT, values)
        plain.execute(INSERT, values)

    rows = [tuple(row)[1:] for row in plain.execute(sa.select(thing).order_by(thing.c.id))]
    raw = plain.exec_driver_sql("SELECT at, text, json, is_good, data, share FROM thing ORDER BY id").all()
    mine = [tuple(row)[1:] for row in prepared.execute(sa.select(thing).order_by(thing.c.id))]

    assert rows[0::2] == rows[1::2] == mine[0::2] == mine[1::2]
    assert raw[0::2] == raw[1::2]
    assert mine[0] == (AT, *tuple(VALUES[0].values())[1:])
    assert mine[0][0].tzinfo is UTC
    assert [type(value) for value in mine[0]] == [type(value) for value in rows[0]]


def test_rows_have_names_and_a_single_value_can_be_taken(prepared: PreparedConnection) -> None:
    first = prepared.execute(INSERT, VALUES[0]).scalar_one()
    row = prepared.execute(BY_IDS, {"ids": [first]}).one()

    assert (row.id, row.text, row.is_good) == (first, "a\0b\ud800", True)
    assert prepared.execute(BY_IDS, {"ids": [99]}).first() is None
    assert prepared.execute(BY_IDS, {"ids": [99]}).scalar() is None
    with pytest.raises(ValueError, match="not enough values"):
        prepared.execute(BY_IDS, {"ids": [99]}).one()


@pytest.mark.parametrize("n", [0, 1, 3, 16, 17, 600])
def test_a_list_may_have_any_length(plain: sa.Connection, prepared: PreparedConnection, n: int) -> None:
    prepared.execute(sa.insert(thing), [VALUES[1]] * 20)
    ids = list(range(1, n + 1))

    assert prepared.execute(BY_IDS, {"ids": ids}).scalars() == plain.execute(BY_IDS, {"ids": ids}).scalars().all()
    assert len(prepared.execute(BY_IDS, {"ids": ids}).all()) == min(n, 20)


def test_constants_and_a_parameter_that_occurs_twice_keep_their_places(prepared: PreparedConnection) -> None:
    prepared.execute(sa.insert(thing), VALUES[:2])

    assert prepared.execute(BEFORE, {"moment": AT}).scalars() == [1, 2]
    assert prepared.execute(BEFORE, {"moment": AT - timedelta(days=1)}).scalars() == []
    assert prepared.execute(LISTED, {"listed": "[2, 7]"}).scalars() == [2]


def test_a_json_value_that_is_a_list_is_a_value(prepared: PreparedConnection) -> None:
    this = prepared.execute(INSERT, VALUES[1]).scalar_one()
    changed = prepared.execute(PUT, {"json": [1, 2], "this": this})

    assert changed.rowcount == 1
    assert prepared.execute(PUT, {"json": [1, 2], "this": 99}).rowcount == 0
    assert prepared.execute(BY_IDS, {"ids": [this]}).one().json == [1, 2]


def test_a_conflict_brings_no_row(prepared: PreparedConnection) -> None:
    assert prepared.execute(INSERT, {"id": 5, "text": "x"}).scalar() == 5
    assert prepared.execute(INSERT, {"id": 5, "text": "y"}).scalar() is None
    assert prepared.execute(BY_IDS, {"ids": [5]}).one().text == "x"


def test_what_is_written_is_undone_with_the_transaction_of_sqlalchemy(tmp_path: Path) -> None:
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as log:
        metadata.create_all(log.engine)
        with log.engine.connect() as connection, connection.begin() as transaction:
            PreparedConnection(connection).execute(INSERT, VALUES[0])
            transaction.rollback()

        with log.engine.connect() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(thing)).scalar() == 0
