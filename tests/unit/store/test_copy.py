"""Rows on their way from one database into another: the batches they come in, and the hash that stands for them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.config import Settings
from tarx_toollog.store import schema
from tarx_toollog.store.copying import copy, rows
from tarx_toollog.store.copying.rows import TableHash, batches, stored_type, tables
from tarx_toollog.store.engine import shown, writer_engine
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.migrate import upgrade
from tarx_toollog.store.secret import load_secret
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime

ROOT = Path(__file__).parents[3]
LATENCIES = st.tuples(
    st.integers(1, 9), st.sampled_from(["a", "b", "a\x00", "\ud800"]), st.none() | st.floats(0, 9), st.booleans()
)
TABLE = sa.Table(
    "t",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", SafeText),
    sa.Column("ms", sa.Float),
    sa.Column("is_error", sa.Boolean),
)


def hashed(found: list[tuple[Any, ...]], table: sa.Table = TABLE) -> TableHash:
    made = TableHash(table)
    made.add(found)
    return made


@given(st.lists(LATENCIES), st.lists(LATENCIES), st.randoms())
def test_a_hash_is_that_of_the_rows_whatever_their_order_and_batches(
    found: list[tuple[Any, ...]], others: list[tuple[Any, ...]], chance: Any
) -> None:
    mixed = [*found]
    chance.shuffle(mixed)
    in_parts = TableHash(TABLE)
    for row in mixed:
        in_parts.add([row])

    assert hashed(found) == in_parts
    is_same = sorted(map(repr, found)) == sorted(map(repr, others))
    assert is_same == (hashed(found) == hashed(others))


@pytest.mark.parametrize(
    "other", [(2, "a", 0.0, True), (1, "A", 0.0, True), (1, "a", None, True), (1, "a", 0.1, True), (1, "a", 0.0, 1)]
)
def test_rows_that_differ_in_one_value_have_another_hash(other: tuple[Any, ...]) -> None:
    row = (1, "a", 0.0, True)
    assert hashed([row]) != hashed([other])
    assert hashed([row]) != hashed([row, other])


def test_a_zero_has_no_sign() -> None:
    assert hashed([(1, "-0.0", -0.0, True)]) == hashed([(1, "-0.0", 0.0, True)])
    assert hashed([(1, "-0.0", 0.0, True)]) != hashed([(1, "0.0", 0.0, True)])


def test_a_body_that_differs_in_one_byte_has_another_hash() -> None:
    rows_of = [[(1, b"hash", 3, body)] for body in (b"abc", b"abd", b"")]
    assert 3 == len({hashed(found, schema.raw_body).hex for found in rows_of})


def test_text_is_copied_as_it_stands_and_all_else_by_its_value() -> None:
    kinds = {type(stored_type(column)) for table in tables() for column in table.columns}

    assert not kinds & {JsonText, SafeText}
    assert {UtcDateTime, sa.Boolean, sa.Float, sa.LargeBinary} <= kinds


def test_no_table_is_forgotten_and_each_comes_after_those_that_it_refers_to() -> None:
    order = [table.name for table in tables()]

    assert set(schema.metadata.tables) == set(order)
    for table in tables():
        others = {key.column.table.name for key in table.foreign_keys} - {table.name}
        assert all(order.index(name) < order.index(table.name) for name in others)


def test_rows_come_in_batches_of_a_limited_number_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BATCH_ROWS", 40)
    monkeypatch.setattr(rows, "BATCH_BYTES", 10_000)
    monkeypatch.setattr(rows, "_FETCH_BODIES", 10)
    settings = Settings(database=str(tmp_path / "t.db"))
    upgrade(settings)
    engine = writer_engine(settings)
    sizes = [10] * 100 + [3_000] * 30
    bodies = [{"hash": bytes([n]) * 17, "size": size, "data": b"x" * size} for n, size in enumerate(sizes)]
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.raw_body), bodies)
        found = list(batches(connection, schema.raw_body))
        assert [] == list(batches(connection, schema.run))
    engine.dispose()

    assert [40, 40, 30, 10, 10] == [len(batch) for batch in found]
    assert sizes == [row[2] for batch in found for row in batch]


def test_the_key_of_marks_is_compared_and_not_copied(tmp_path: Path) -> None:
    one, other = (Settings(database=str(tmp_path / name)) for name in ("one.db", "other.db"))
    assert copy.has_same_key(one, other)  # neither has recorded anything
    key = load_secret(one)
    assert not copy.has_same_key(one, other)
    assert copy.has_same_key(other, one)
    assert key == (one.journal_path / copy.KEY_NAME).read_bytes()
    assert copy.has_same_key(one, Settings(database="postgresql://h/d", journal_dir=one.journal_path))


def test_what_would_be_copied_is_told_without_making_anything(tmp_path: Path) -> None:
    one, other = (Settings(database=str(tmp_path / name)) for name in ("one.db", "other.db"))
    with ToolLog.open(settings=one, read_only=False):
        pass
    before = datetime.now(UTC)
    report = copy.look(one, other)

    assert {"store_meta": 1} == {name: n for name, n in report.rows.items() if n}
    assert before <= report.as_of <= datetime.now(UTC)
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("database", "name"),
    [
        ("postgresql+psycopg://me:geheim@h:5/d", "postgresql+psycopg://me:***@h:5/d"),
        ("log.db", "log.db"),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        ("://me:geheim@h", "h"),
    ],
)
def test_a_database_is_named_without_its_password(database: str, name: str) -> None:
    assert name == shown(Settings(database=database))


def test_the_page_holds_the_figures_of_the_kept_run() -> None:
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    kept = json.loads((ROOT / "bench/results/copy.json").read_text("utf-8"))
    for way, name in (("sqlite_to_postgresql", "SQLite → PostgreSQL"), ("postgresql_to_sqlite", "PostgreSQL → SQLite")):
        found = kept["copy"][way]
        cells = f"{found['verified_rows_per_s']:,} | {found['verified_mb_per_s']} | {found['index_s']} s |"
        assert f"| {name} | {cells}" in page
    stored = kept["stored_per_s"]
    assert f"| PostgreSQL | {stored['postgresql']}, {kept['stored_ratio']} of SQLite's |" in page
    assert f"| SQLite | {stored['sqlite']} |" in page
