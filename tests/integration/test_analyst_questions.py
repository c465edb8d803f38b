"""The first questions of an analyst, each one SELECT on one view, with nothing but SQLite."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import ToolLog
from tests.support.builders import TOOLS, assistant, call, exchange, result, user


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log of two conversations: one that fails at the server, and a chain whose last call goes wrong."""
    path = tmp_path_factory.mktemp("log") / "t.db"
    recall = call("tarx_recall", {"query": "city"}, "call-recall-1")
    remember = call("tarx_remember", {"key": "likes"}, "call-remember-1")
    answers = [assistant("", recall), assistant("", remember), assistant("Done.")]
    history = [user("Recall my city, then remember that I like it.")]
    with ToolLog.open(path, read_only=False) as log:
        log.write([exchange([user("Hi")], None, status=503, body={"error": {"message": "Loading model", "code": 503}})])
        for number, answer in enumerate(answers):
            log.write([exchange(history, answer, tools=TOOLS, at_s=60 + number * 2)])
            outcome = [{"facts": {"city": "Porto"}}, {"error": "value is missing"}, None][number]
            if outcome is not None:
                call_id = answer["tool_calls"][0]["id"]
                history = [*history, answer, result(call_id, outcome)]
    return path


def ask(database: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_calls_per_tool_with_error_share(database: Path) -> None:
    sql = "SELECT tool, calls, schema_failures, error_results, error_share FROM v_tool_stats ORDER BY tool"

    assert [("tarx_recall", 1, 0, 0, 0.0), ("tarx_remember", 1, 1, 1, 1.0)] == ask(database, sql)


def test_the_chain_of_the_last_conversation_with_arguments_and_results(database: Path) -> None:
    sql = (
        "SELECT step_no, tool, arguments, result FROM v_tool_calls "
        "ORDER BY conversation_uid DESC, turn_no, step_no, ordinal LIMIT 2"
    )

    assert [
        (1, "tarx_recall", '{"query": "city"}', '{"facts": {"city": "Porto"}}'),
        (2, "tarx_remember", '{"key": "likes"}', '{"error": "value is missing"}'),
    ] == ask(database, sql)


def test_exchanges_that_did_not_complete_and_why(database: Path) -> None:
    sql = "SELECT outcome, http_status, error_type, error_text FROM v_exchanges WHERE outcome <> 'completed'"

    assert [("upstream_error", 503, "503", "Loading model")] == ask(database, sql)


def test_the_chain_is_a_row_that_says_where_it_broke(database: Path) -> None:
    sql = "SELECT signature, chain_length, n_bad_calls, n_error_results, status, is_clean FROM v_chains"

    assert [("tarx_recall>tarx_remember", 2, 1, 1, "answered", 0)] == ask(database, sql)
