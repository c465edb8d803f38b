"""The first questions of an analyst, each one SELECT on one view, with nothing but SQLite."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import ToolLog
from tests.support.analyst_log import CHAIN, write_analyst_log
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


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log in which every question has an answer."""
    path = tmp_path_factory.mktemp("rich") / "t.db"
    write_analyst_log(path)
    return path


def test_turns_are_rows_with_calls_and_without(rich: Path) -> None:
    sql = (
        "SELECT turn_no, signature, n_steps, status, week, build, n_tools, user_text, answer FROM v_turns "
        "WHERE conversation_uid = 'talk-1' ORDER BY turn_no"
    )

    where = ("answered", "2026-W38", "base.gguf", 3)
    assert [
        (1, CHAIN, 4, *where, "Recall my city, remember the trams, save it (1).", "Saved."),
        (2, "", 1, *where, "Thanks!", "You are welcome."),
    ] == ask(rich, sql)


def test_steps_say_what_they_called_and_which_one_ends_the_turn(rich: Path) -> None:
    sql = (
        "SELECT step_no, calls, n_bad_calls, n_error_results, is_last, day FROM v_steps "
        "WHERE conversation_uid = 'talk-4' ORDER BY step_no"
    )

    assert [
        (1, "tarx_remember", 1, 1, 0, "2026-09-21"),
        (2, "tarx_remember", 0, 0, 0, "2026-09-21"),
        (3, None, 0, 0, 1, "2026-09-21"),
    ] == ask(rich, sql)


def test_two_calls_of_one_answer_stand_in_the_order_of_the_answer(tmp_path: Path) -> None:
    calls = [call(name, {"query": "x"}, f"call-{name}") for name in ("zeta", "alpha", "mid")]
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        log.write([exchange([user("Hi")], assistant("", *calls), tools=TOOLS)])

    assert [("zeta>alpha>mid", 3)] == ask(tmp_path / "t.db", "SELECT calls, n_bad_calls FROM v_steps")


def test_the_shares_of_the_context_are_those_of_the_prompt(rich: Path) -> None:
    sql = (
        "SELECT COUNT(*), MIN(ABS(tool_tokens + system_tokens + history_tokens + new_tokens - input_tokens)), "
        "MIN(fill_band), MAX(ABS(tool_share + system_share + history_share + new_share - 1)) < 0.001 "
        "FROM v_context_budget WHERE truncation = 'none'"
    )

    assert [(22, 0, "75-90", 1)] == ask(rich, sql)
    late = "SELECT context_fill, fill_band, free_tokens FROM v_context_budget WHERE truncation = 'suspected'"
    assert [(1.0938, "over 100", -12)] == ask(rich, late)


def test_how_hard_a_tool_is_to_call_beside_how_it_is_called(rich: Path) -> None:
    sql = (
        "SELECT n_parameters, n_required, n_enums, SUM(calls), SUM(bad_calls), SUM(schema_failures) "
        "FROM v_tool_complexity GROUP BY tool, n_parameters, n_required, n_enums ORDER BY tool"
    )

    assert [(1, 1, 0, 6, 2, 0), (2, 2, 0, 5, 1, 1), (2, 1, 1, 3, 0, 0)] == ask(rich, sql)


def test_a_call_without_a_result_says_whether_the_dialogue_went_on(tmp_path: Path) -> None:
    recall, fly = (call(name, {"query": "city"}, f"call-{name}") for name in ("tarx_recall", "tarx_fly"))
    first = [user("Where do I live?")]
    second = [*first, assistant("", recall), user("Never mind."), assistant("", fly)]
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        log.write([exchange(first, assistant("", recall), tools=TOOLS)])
        log.write([exchange(second[:3], assistant("", fly), tools=TOOLS, at_s=5)])
        log.write([exchange([user("Go on"), result("call-lost", "found")], assistant("Well."), at_s=90)])

    sql = "SELECT kind, tool, why, wire_id FROM v_unmatched ORDER BY seen_at"
    assert [
        ("call", "tarx_recall", "continued", "call-tarx_recall"),
        ("call", "tarx_fly", "left", "call-tarx_fly"),
        ("result", None, "no_call", "call-lost"),
    ] == ask(tmp_path / "t.db", sql)


def test_the_messages_of_one_request_are_found_without_reading_the_others(rich: Path) -> None:
    uid = "00000000-0000-7000-8000-000001000001"
    sql = f"SELECT {{}} FROM v_request_messages WHERE exchange_uid = '{uid}' ORDER BY position"

    assert [(0, "system", None), (1, "user", None), (2, "assistant", None), (3, "tool", "r1")] == ask(
        rich, sql.format("position, role, tool_call_id")
    )
    plan = [row[3] for row in ask(rich, "EXPLAIN QUERY PLAN " + sql.format("role"))]
    assert 2 == len([step for step in plan if step.startswith("SEARCH e USING INDEX")]), plan
    assert [] == [step for step in plan if step.startswith(("SCAN e", "SCAN n", "SCAN m"))], plan
