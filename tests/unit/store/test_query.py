"""A person's own SQL can read everything and change nothing."""

import time
from pathlib import Path

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.errors import ConfigError
from tests.support.builders import assistant, exchange, user


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        log.write([exchange([user("Hello")], assistant("Hi"))])
    return tmp_path / "t.db"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM exchange",
        "UPDATE exchange SET outcome = 'open'",
        "DROP VIEW v_exchanges",
        "CREATE TABLE x (y)",
        "ATTACH DATABASE '/tmp/other.db' AS other",
        "PRAGMA query_only = OFF",
        "SELECT load_extension('x')",
        "VACUUM",
    ],
)
def test_what_would_change_something_is_refused(path: Path, sql: str) -> None:
    with ToolLog.open(path) as log, pytest.raises(ConfigError):
        list(log.query(sql).rows)
    with ToolLog.open(path) as log:
        assert [(1,)] == list(log.query("SELECT COUNT(*) FROM exchange WHERE outcome = 'completed'").rows)


def test_a_query_that_takes_too_long_is_ended(path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
    start = time.monotonic()
    with ToolLog.open(path) as log, pytest.raises(ConfigError, match="longer than"):
        list(log.query(endless, timeout_s=0.3).rows)

    assert time.monotonic() - start < 5


def test_a_log_that_can_write_still_writes_after_a_query(path: Path) -> None:
    with ToolLog.open(path, read_only=False) as log:
        assert [(1,)] == list(log.query("SELECT COUNT(*) FROM exchange").rows)
        log.write([exchange([user("More")], assistant("Ok"))])
        assert [(2,)] == list(log.query("SELECT COUNT(*) FROM exchange").rows)


def test_a_view_that_looks_into_json_can_be_read(path: Path) -> None:
    with ToolLog.open(path) as log:
        asked = "SELECT role, content FROM v_request_messages"
        assert [("user", "Hello")] == list(log.query(asked).rows)


def test_a_limit_ends_the_rows(path: Path) -> None:
    with ToolLog.open(path) as log:
        assert [(1,), (2,)] == list(log.query("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", limit=2).rows)
