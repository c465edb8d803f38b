"""What an analyst asks about replay runs, each one SELECT on one view, on a log in which hostile texts stand."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replay_views import REPLAY_VIEWS
from tarx_toollog.store.replays import Replays, ScoreRow
from tests.support.web_pages import HOSTILE, make_log


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_log(tmp_path_factory.mktemp("views") / "t.db")


def ask(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def copy(database: Path, tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    path.write_bytes(database.read_bytes())
    return path


def test_every_trial_has_its_run_what_was_expected_and_what_came(database: Path) -> None:
    columns = "run, suite, model, tier, weight, step_no, attempt, status, is_right, is_right_strict, expected, called"
    rows = ask(
        database, f"SELECT {columns} FROM v_replay_trials WHERE run = 'good' ORDER BY scenario_uid, step_no LIMIT 3"
    )

    def row(step_no: int, names: str) -> tuple[Any, ...]:
        return ("good", "t", "tuned", "bronze", 1.0, step_no, 1, "ok", 1, 1, names, names)

    assert [row(1, "recall"), row(2, "remember"), row(3, "")] == rows
    assert [(45, 45, 45)] == ask(
        database, "SELECT COUNT(*), COUNT(exchange_uid), COUNT(DISTINCT exchange_uid) FROM v_replay_trials"
    )


def test_what_went_wrong_most_often(database: Path) -> None:
    sql = "SELECT code, COUNT(*) FROM v_replay_failures WHERE run = 'worse' GROUP BY code ORDER BY 2 DESC, 1"
    assert [("wrong_tool", 2), ("arg_extra", 1), ("missing_call", 1)] == ask(database, sql)


def test_a_failure_has_all_that_was_found(database: Path) -> None:
    ((expected, called, detail),) = ask(
        database, "SELECT expected, called, detail FROM v_replay_failures WHERE run = 'worse' AND code = 'arg_extra'"
    )
    assert ("recall", "recall") == (expected, called)
    assert {"/query", "/limit"} == {finding["path"] for finding in json.loads(detail)["findings"]}


def test_how_often_it_is_right_at_each_depth(database: Path) -> None:
    sql = "SELECT step_no, asked, judged, n_right, share FROM v_replay_depth WHERE run = 'worse' ORDER BY step_no"
    assert [(1, 5, 5, 3, 0.6), (2, 5, 5, 3, 0.6), (3, 5, 5, 5, 1.0)] == ask(database, sql)


def test_which_steps_only_one_of_two_runs_got_right(database: Path) -> None:
    sql = (
        "SELECT right_in, COUNT(*) FROM v_replay_compare WHERE first_run = '{}' AND second_run = '{}' "
        "GROUP BY right_in ORDER BY right_in"
    )
    assert [("both", 11), ("first", 4)] == ask(database, sql.format("good", "worse"))
    assert [("both", 11), ("second", 4)] == ask(database, sql.format("worse", "good"))
    assert [(0,)] == ask(database, "SELECT COUNT(*) FROM v_replay_compare WHERE first_run = second_run")
    assert [("called", "save", "remember")] == ask(
        database,
        "SELECT DISTINCT 'called', second_called, expected FROM v_replay_compare WHERE second_code = 'wrong_tool'"
        " AND first_run = 'good'",
    )


def test_the_views_count_as_the_report_does(database: Path) -> None:
    with ToolLog.open(database) as log:
        report = build_report(log, "worse")
    share = report.scorers["step"]
    sql = "SELECT SUM(is_right), COUNT(is_right) FROM v_replay_trials WHERE run = 'worse' AND attempt = 1"
    assert [(share.numerator, share.denominator)] == ask(database, sql)
    failures = {failure.code: failure.count for failure in report.failures}
    assert failures == dict(
        ask(database, "SELECT code, COUNT(*) FROM v_replay_failures WHERE run = 'worse' GROUP BY code")
    )


def test_what_was_not_judged_is_neither_right_nor_wrong(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("DELETE FROM score WHERE trial_id = (SELECT MIN(id) FROM trial)")
        connection.execute("UPDATE trial SET status = 'infra_error', exchange_id = NULL WHERE id = 1")
        connection.commit()
    columns = "is_right, is_right_strict, is_right_lenient, code, called, exchange_uid"
    assert [(None,) * 6] == ask(copy, f"SELECT {columns} FROM v_replay_trials WHERE trial_id = 1")
    assert [(5, 4, 4)] == ask(
        copy, "SELECT asked, judged, n_right FROM v_replay_depth WHERE run = 'good' AND step_no = 1"
    )
    assert [(14,)] == ask(
        copy, "SELECT COUNT(*) FROM v_replay_compare WHERE first_run = 'good' AND second_run = 'worse'"
    )


def test_later_attempts_count_in_no_share(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE trial SET attempt = 2 WHERE id = (SELECT MIN(id) FROM trial)")
        connection.commit()
    assert [(4,)] == ask(copy, "SELECT asked FROM v_replay_depth WHERE run = 'good' AND step_no = 1")


def test_the_verdict_on_a_turn_of_a_closed_loop_has_a_column_of_its_own(copy: Path) -> None:
    with ToolLog.open(copy, read_only=False) as log:
        found = {"code": "looped", "findings": [{"code": "looped", "value": HOSTILE}]}
        Replays(log).replace_scores({1: {"chain": ScoreRow(0.0, found)}, 2: {"chain": ScoreRow(None, found)}})
    assert [(None, 0, "looped"), (None, None, "looped")] == ask(
        copy, "SELECT is_right, is_chain_right, code FROM v_replay_trials WHERE trial_id < 3 ORDER BY trial_id"
    )
    assert [(1, "looped")] == ask(copy, "SELECT trial_id, code FROM v_replay_failures WHERE run = 'good'")


def test_a_definition_that_json_functions_refuse_costs_one_column_and_no_row(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE scenario SET definition = REPLACE(definition, '0.8', 'NaN')")
        connection.commit()
    assert [(45, 0)] == ask(copy, "SELECT COUNT(*), COUNT(expected) FROM v_replay_trials")


@pytest.mark.parametrize("view", REPLAY_VIEWS, ids=lambda view: str(view.name))
def test_a_view_has_the_same_columns_in_both_dialects(database: Path, view: Any) -> None:
    with closing(sqlite3.connect(database)) as connection:
        names = [column[0] for column in connection.execute(f"SELECT * FROM {view.name} LIMIT 1").description]
    assert list(view.columns) == names
    for dialect in ("sqlite", "postgresql"):
        text = view.create(dialect)
        assert text.startswith(f"CREATE VIEW {view.name} ({', '.join(view.columns)}) AS ")
        assert "$" not in text.replace("'$.", "")
        assert "%" not in text, "the driver of PostgreSQL takes it for a parameter"
