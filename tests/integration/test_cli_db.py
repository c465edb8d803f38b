"""``toollog db``: the file itself, and questions in SQL."""

import json
import sqlite3
from pathlib import Path

import pytest

from tarx_toollog.store import maintenance, queries
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import SCHEMA_REVISION
from tests.unit.cli.samples import bad_chat, good_chat, rows, run, write_log


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a log of two chats; it is the one that the command line finds."""
    path = tmp_path / "log.db"
    write_log(path, good_chat(), bad_chat())
    monkeypatch.setenv("TOOLLOG_DATABASE", str(path))
    return path


def test_db_path_prints_the_path(database: Path) -> None:
    assert run("db", "path").stdout == f"{database}\n"


def test_db_upgrade_makes_a_new_database_and_leaves_a_current_one(database: Path) -> None:
    new = database.parent / "new.db"

    assert f"schema none -> {SCHEMA_REVISION}" in run("--database", str(new), "db", "upgrade").stderr
    assert "is up to date" in run("--database", str(new), "db", "upgrade").stderr
    assert new.stat().st_mode & 0o777 == 0o600


def test_db_check_of_a_sound_file_finds_nothing(database: Path) -> None:
    result = run("db", "check")

    assert (result.exit_code, result.stdout) == (0, "no damage found\n")


def test_db_check_finds_a_reference_to_a_row_that_is_gone(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE tool_call SET conversation_id = 999 WHERE id = 1")
    connection.close()

    result = run("db", "check", "--json")

    assert result.exit_code == 6
    assert json.loads(result.stdout)["problems"] == [
        "tool_call row 1 refers to a row of conversation that is not there"
    ]


def test_db_check_finds_bytes_that_were_written_over(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_tool_call_call_id'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 100)

    assert run("db", "check").exit_code == 6


def test_a_backup_is_whole_private_and_taken_while_another_writes(database: Path) -> None:
    target = database.parent / "copy.db"
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM tool_result")

    result = run("db", "backup", str(target))
    writer.close()

    assert result.exit_code == 0, result.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    with ToolLog.open(target) as copy, ToolLog.open(database) as log:
        assert queries.status(log.engine) == queries.status(copy.engine)
        assert maintenance.damage(copy.engine) == []
    assert [path for path in database.parent.iterdir() if "partial" in path.name] == []


def test_a_backup_never_replaces_a_file_unasked(database: Path) -> None:
    target = database.parent / "copy.db"
    target.write_text("mine")

    refused = run("db", "backup", str(target))
    assert (refused.exit_code, target.read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert run("db", "backup", str(target), "--force").exit_code == 0
    assert target.read_bytes().startswith(b"SQLite format 3\0")
    assert run("db", "backup", str(database.parent)).exit_code == 2


def test_a_query_gives_rows_in_every_form(database: Path) -> None:
    sql = "SELECT tool, calls FROM v_tool_stats ORDER BY tool"

    assert rows("db", "query", sql, "--limit", "1") == [{"tool": "tarx_fly", "calls": 1}]
    assert run("db", "query", sql).stdout == "tool\tcalls\ntarx_fly\t1\ntarx_recall\t1\ntarx_remember\t3\n"
    assert run("db", "query", "SELECT 1 AS a, 2 AS a", "--csv").stdout == "a,a_2\n1,2\n"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM exchange",
        "DROP VIEW v_health",
        "PRAGMA query_only = OFF",
        "ATTACH 'x.db' AS x",
        "VACUUM",
        "SELEC 1",
    ],
)
def test_a_query_cannot_write_and_says_so(database: Path, sql: str) -> None:
    before = database.read_bytes()

    result = run("db", "query", sql)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "\nhint: " in result.stderr
    assert before == database.read_bytes()


def test_a_query_without_rows_says_so(database: Path) -> None:
    result = run("db", "query", "SELECT tool FROM v_tool_stats WHERE calls > 99")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "tool\n", "no rows\n")


def test_a_query_without_end_is_ended(database: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"

    result = run("db", "query", endless, "--timeout", "0.1")

    assert result.exit_code == 2
    assert "took longer" in result.stderr
