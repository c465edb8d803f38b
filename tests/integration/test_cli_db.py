"""``toollog db``: the file itself, and questions in SQL."""

import json
import sqlite3
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from tarx_toollog.store import maintenance
from tarx_toollog.store.answers.status import status
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
        assert status(log.engine) == status(copy.engine)
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


def test_a_ready_query_is_asked_by_its_name(database: Path) -> None:
    assert rows("db", "query", "--ready", "failing_tools", "--param", "tool=tarx_recall")[0]["calls"] == 1
    assert [row["tool"] for row in rows("db", "query", "--ready", "failing_tools", "-n", "1")] == ["tarx_fly"]
    assert rows("db", "query", "--ready", "failing_tools", "--param", "since=2999-01-01") == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--ready", "failing_tool"), "did you mean failing_tools?"),
        (("--ready", "failing_tools", "--param", "since"), "is no pair"),
        (("--ready", "failing_tools", "--param", "colour=red"), "no parameter 'colour'"),
        (("--ready", "one_request"), "needs a value for exchange"),
        (("--ready", "failing_tools", "SELECT 1"), "give SQL, or the name"),
        (("SELECT 1", "--param", "since=7d"), "--param goes with --ready"),
        ((), "give SQL, or the name"),
        (("SELECT 1", "--parquet"), "add -o FILE"),
        (("SELECT 1", "--parquet", "--csv", "-o", "x.parquet"), "exclude each other"),
    ],
)
def test_a_question_that_cannot_be_asked_says_why(database: Path, arguments: tuple[str, ...], problem: str) -> None:
    result = run("db", "query", *arguments)

    assert result.exit_code in (2, 3), result.stderr
    assert problem in result.stderr
    assert not Path("x.parquet").exists()


def test_the_ready_queries_are_listed_and_shown(database: Path) -> None:
    listed = rows("db", "queries")

    assert {"name": "failing_tools", "group": "tools", "question": "Which tools fail, and how often?"} in listed
    shown = run("db", "queries", "failing_tools").stdout
    assert "--param since=1970-01-01" in shown
    assert "FROM v_tool_calls" in shown
    assert json.loads(run("db", "queries", "failing_tools", "--json").stdout)["parameters"][0]["name"] == "since"
    assert run("db", "queries", "nothing").exit_code == 3


def test_a_parquet_file_holds_the_rows_with_their_types(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "calls.parquet"
    sql = (
        "SELECT 1 AS n, 2.5 AS x, NULL AS blank, tool, 9223372036854775807 AS big, X'00FF' AS raw, "
        "CASE tool WHEN 'tarx_fly' THEN 'some' ELSE 3 END AS mixed FROM v_tool_calls ORDER BY tool LIMIT 2"
    )

    assert run("db", "query", sql, "--parquet", "-o", str(file)).exit_code == 0

    table = parquet.read_table(file)
    assert ["int64", "double", "string", "string", "int64", "binary", "string"] == [
        str(one.type) for one in table.schema
    ]
    first = {"n": 1, "x": 2.5, "blank": None, "tool": "tarx_fly", "big": 2**63 - 1, "raw": b"\0\xff", "mixed": "some"}
    assert [first, first | {"tool": "tarx_recall", "mixed": "3"}] == table.to_pylist()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_parquet_file_without_rows_has_the_columns(database: Path, tmp_path: Path) -> None:
    result = run("db", "query", "SELECT tool FROM v_tool_calls WHERE 0", "--parquet", "-o", str(tmp_path / "x.parquet"))

    assert "no rows\n" == result.stderr
    assert ["tool"] == parquet.read_table(tmp_path / "x.parquet").column_names


def test_without_pyarrow_parquet_says_what_to_install(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    result = run("db", "query", "SELECT 1", "--parquet", "-o", "x.parquet")

    assert result.exit_code == 2
    assert "pip install 'tarx-toollog[parquet]'" in result.stderr
    assert not Path("x.parquet").exists()


def test_metadata_for_datasette_is_written_and_says_how_it_is_used(database: Path, tmp_path: Path) -> None:
    out = tmp_path / "metadata.yaml"

    result = run("db", "datasette", str(out))

    assert f"datasette {database} --metadata {out}" in result.stderr
    assert '  "log":' in out.read_text("utf-8").splitlines()
    assert run("db", "datasette", str(tmp_path / "missing" / "x.yaml")).exit_code == 1


def test_metadata_for_datasette_never_replaces_a_file_unasked(database: Path, tmp_path: Path) -> None:
    out = tmp_path / "metadata.yaml"
    out.write_text("mine")

    refused = run("db", "datasette", str(out))

    assert (refused.exit_code, out.read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert run("db", "datasette", str(out), "--force").exit_code == 0
    assert out.read_text("utf-8").startswith("title: tarx-toollog")


def test_there_is_no_datasette_for_postgresql(tmp_path: Path) -> None:
    result = run("--database", "postgresql://nobody@127.0.0.1:1/log", "db", "datasette", str(tmp_path / "x.yaml"))

    assert (result.exit_code, "SQLite files only" in result.stderr) == (2, True)
