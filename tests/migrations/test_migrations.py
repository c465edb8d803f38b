"""Two roads lead to the schema, and both must arrive at the same place."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError, SchemaOutdatedError, SchemaTooNewError, StoreError
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.store import migrate
from tarx_toollog.store.engine import writer_engine
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.schema import SCHEMA_REVISION, SEARCH_TABLE, metadata
from tarx_toollog.store.splits import split_of_bucket
from tarx_toollog.store.suites import Suites
from tarx_toollog.store.templates import template_of
from tarx_toollog.store.verify import verify
from tests.support.builders import assistant, call, exchange, result, user

HERE = Path(__file__).parent


def shape(path: Path) -> dict[str, Any]:
    """Return everything about the tables of a database that a program could notice."""
    engine = sa.create_engine(f"sqlite:///{path}")
    inspector = sa.inspect(engine)
    found: dict[str, Any] = {}
    for table in inspector.get_table_names():
        found[table] = {
            # Sorted: a migration appends its columns, and nobody may depend on their order.
            "columns": sorted((c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)),
            "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted((i["name"] or "", i["column_names"]) for i in inspector.get_indexes(table)),
            "unique": sorted((u["name"] or "", u["column_names"]) for u in inspector.get_unique_constraints(table)),
            "foreign keys": sorted(
                (f["constrained_columns"], f["referred_table"]) for f in inspector.get_foreign_keys(table)
            ),
            "checks": sorted(str(c["name"]) for c in inspector.get_check_constraints(table)),
            "options": inspector.get_table_options(table),
        }
    found["views"] = sorted(inspector.get_view_names())
    with engine.connect() as connection:
        found["triggers"] = sorted(connection.scalars(sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger'")))
    engine.dispose()
    return found


def migrated(path: Path) -> Settings:
    """Make a database by the migrations alone."""
    settings = Settings(database=str(path))
    engine = writer_engine(settings)
    migrate._upgrade(engine)
    engine.dispose()
    return settings


def test_a_new_database_equals_a_migrated_one(tmp_path: Path) -> None:
    migrate.upgrade(Settings(database=str(tmp_path / "new.db")))
    migrated(tmp_path / "old.db")

    assert shape(tmp_path / "new.db") == shape(tmp_path / "old.db")


def test_the_migrations_make_what_the_code_declares(tmp_path: Path) -> None:
    engine = writer_engine(migrated(tmp_path / "t.db"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _is_declared})
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert [] == differences


def _is_declared(_item: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    return not (kind == "table" and str(name).startswith(SEARCH_TABLE))


def filled(path: Path, revision: str) -> Settings:
    """Make a store that an earlier revision has made and filled."""
    engine = writer_engine(settings := Settings(database=str(path)))
    migrate._upgrade(engine, revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((HERE / f"rows_{revision}.sql").read_text("utf-8"))
    return settings


def scenario_hash(definition: Mapping[str, Any]) -> bytes:
    return Scenario.from_json(definition).content_hash


@pytest.fixture
def first_release(tmp_path: Path) -> Settings:
    return filled(tmp_path / "t.db", "0001")


@pytest.fixture
def second_release(tmp_path: Path) -> Settings:
    return filled(tmp_path / "t.db", "0002")


def test_a_filled_store_of_the_first_revision_reads_on_as_before(first_release: Settings) -> None:
    assert "0001" == migrate.upgrade(first_release).revision

    with ToolLog.open(settings=first_release) as log:
        assert [] == verify(log.engine, scenario_hash).problems
        calls = log.query("SELECT tool, arguments_json, result, build FROM v_tool_calls ORDER BY called_at").rows
        assert [("tarx_recall", '{"query": "city"}', "Porto", None), ("strange", '{"x": 1}', None, None)] == list(calls)
        assert [(171, 52)] == list(log.query("SELECT size, n_tokens FROM tool_definition").rows)
        first, second = log.trajectories()
        assert ["tarx_recall", "strange"] == [first.signature, second.signature]
        request = log.exchange(second.steps[0].exchange_uid).request
        assert request is not None
        assert "And \ud800?" == request.messages[-1].text
    with ToolLog.open(settings=first_release, read_only=False) as log:
        report = replay(log, RunRequest("again", "v1", "recorded:", Overrides("m")))
        assert ("finished", 2) == (report.status, len(list(Replays(log).trials(report.id))))


def test_a_store_that_goes_on_growing_after_an_upgrade_links_to_what_was_there(first_release: Settings) -> None:
    with ToolLog.open(settings=first_release, read_only=False) as log:
        asked = [user("Where do I live? é")]
        made = assistant("", call("tarx_recall", {"query": "city"}, "call_a"))
        log.write(
            [exchange([*asked, made, result("call_a", "Porto"), assistant("In Porto."), user("Sure?")], None, at_s=9)]
        )
        assert [(1,)] == list(log.query("SELECT COUNT(*) FROM conversation").rows)


def test_a_filled_store_of_the_second_revision_reads_on_as_before(second_release: Settings) -> None:
    assert "0002" == migrate.upgrade(second_release).revision

    with ToolLog.open(settings=second_release) as log:
        assert [] == verify(log.engine, scenario_hash).problems
        calls = log.query("SELECT tool, result, build, exec_ms, split FROM v_tool_calls ORDER BY called_at").rows
        build = "base.gguf + v2.gguf × 0.5"
        assert [
            ("tarx_recall", "Porto", build, 12.5, "train"),
            ("tarx_remember", '{"error": "no"}', build, None, "eval"),
        ] == list(calls)
        assert ["train", "eval", "eval"] == [turn.split for turn in log.trajectories()]
        assert None is template_of(log.engine, build)
    with ToolLog.open(settings=second_release, read_only=False) as log:
        report = replay(log, RunRequest("again", "v1", "recorded:", Overrides("m")))
        assert ("finished", 2) == (report.status, len(list(Replays(log).trials(report.id))))


def test_a_filled_store_of_the_third_revision_reads_on_as_before(tmp_path: Path) -> None:
    third_release = filled(tmp_path / "t.db", "0003")
    migrate.upgrade(third_release)

    with ToolLog.open(settings=third_release, read_only=False) as log:
        assert [] == verify(log.engine, scenario_hash).problems
        before = build_report(log, "recorded")
        assert (1, 1) == (before.chains.numerator, before.chains.denominator)
        (row,) = Suites(log).scenarios("v1")
        assert (1.0, None, None) == (row.weight, row.stratum, row.cluster)
        ((digest,),) = log.query("SELECT hash FROM scenario").rows
        assert digest == Scenario.from_json(row.definition).content_hash
        with pytest.raises(ConfigError, match="holds other scenarios"):
            Suites(log).freeze("v1", [], {})
        assert "finished" == replay(log, RunRequest("again", "v1", "recorded:", Overrides("m"))).status


def test_every_conversation_of_an_older_store_gets_the_split_that_a_new_one_would_get(second_release: Settings) -> None:
    row = "INSERT INTO conversation SELECT 100 + ?, 'uid' || ?, source, ?, client_key, first_at, last_at, ?"
    with closing(sqlite3.connect(second_release.database)) as connection:
        for bucket in range(100):
            connection.execute(f"{row} FROM conversation WHERE id = 1", (bucket,) * 4)
        connection.commit()

    migrate.upgrade(second_release)

    with ToolLog.open(settings=second_release) as log:
        rows = log.query("SELECT split_bucket, split FROM conversation WHERE id >= 100 ORDER BY id").rows
        assert [(bucket, split_of_bucket(bucket)) for bucket in range(100)] == list(rows)


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_an_older_store_learns_which_exchange_brought_each_message(tmp_path: Path, revision: str) -> None:
    migrate.upgrade(older := filled(tmp_path / "t.db", revision))

    paths = """
WITH RECURSIVE path (exchange_id, node_id) AS (
    SELECT id, system_node_id FROM exchange WHERE run_id IS NULL
    UNION SELECT id, input_node_id FROM exchange WHERE run_id IS NULL
    UNION SELECT id, output_node_id FROM exchange WHERE run_id IS NULL
    UNION SELECT exchange_id, parent_id FROM path JOIN node ON node.id = path.node_id
)
SELECT message_id, MIN(exchange_id) FROM path JOIN node ON node.id = path.node_id GROUP BY message_id"""
    with ToolLog.open(settings=older) as log:
        expected = list(log.query(paths).rows)
        assert expected
        kept = "SELECT id, first_exchange_id FROM message WHERE first_exchange_id IS NOT NULL ORDER BY id"
        assert expected == list(log.query(kept).rows)
        assert [(1,)] == list(log.query("SELECT COUNT(*) > 0 FROM tally_change").rows)


def test_the_code_writes_the_newest_revision() -> None:
    script = ScriptDirectory(str(migrate.migrations_dir()))

    assert [SCHEMA_REVISION] == script.get_heads()


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "t.db"))

    assert migrate.upgrade(settings).is_new
    assert migrate.upgrade(settings).is_current


def test_views_are_made_again_when_the_schema_is_upgraded(tmp_path: Path) -> None:
    settings = migrated(tmp_path / "t.db")
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("DROP VIEW v_tool_stats")
        connection.execute("DROP VIEW v_tool_calls")
        connection.execute("CREATE VIEW v_tool_calls AS SELECT 1 AS stale")
    connection.close()
    engine = writer_engine(settings)
    migrate._upgrade(engine)
    engine.dispose()

    with ToolLog.open(settings=settings) as log:
        assert "call_uid" in log.query("SELECT * FROM v_tool_calls").columns


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    settings = migrated(tmp_path / "t.db")
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    for read_only in (True, False):
        with pytest.raises(SchemaTooNewError, match="9999"):
            ToolLog.open(settings=settings, read_only=read_only)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("CREATE TABLE recipes (id INTEGER)")
    connection.close()

    with pytest.raises(StoreError, match="another program"):
        ToolLog.open(tmp_path / "t.db", read_only=False)


def test_an_empty_file_is_not_a_store_for_a_reader(tmp_path: Path) -> None:
    (tmp_path / "t.db").touch()

    with pytest.raises(SchemaOutdatedError):
        ToolLog.open(tmp_path / "t.db")


def test_a_missing_database_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        ToolLog.open(tmp_path / "none.db")

    assert "toollog serve" in caught.value.hint
    assert not (tmp_path / "none.db").exists()


def test_the_file_is_readable_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "private" / "t.db"
    with ToolLog.open(path, read_only=False) as log:
        log.write([exchange([user("Hello")], assistant("Hi"))])
        modes = {p.name: oct(p.stat().st_mode & 0o777) for p in path.parent.iterdir()}

    assert {"t.db": "0o600", "t.db-wal": "0o600", "t.db-shm": "0o600", "t.db.journal": "0o700"} == modes
    assert 0o700 == path.parent.stat().st_mode & 0o777
