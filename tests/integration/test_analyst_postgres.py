"""On a real PostgreSQL the views hold the same rows as on SQLite, and the ready queries give the same answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tarx_toollog.errors import ConfigError
from tarx_toollog.store.answers.ready import ReadyQuery, find_ready, ready_queries
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.view import View
from tarx_toollog.store.views import VIEWS
from tests.support.analyst_log import write_analyst_log
from tests.support.postgres import database, postgres
from tests.support.ready_answers import ANSWERS, Answer, answer, ask


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ToolLog, ToolLog]]:
    """Yield the same log on SQLite and on PostgreSQL."""
    path: Path = tmp_path_factory.mktemp("both") / "t.db"
    with postgres() as server, database(server, "analyst") as url:
        write_analyst_log(path)
        write_analyst_log(url)
        engine = sa.create_engine(url)
        with engine.begin() as connection:  # far from UTC: no figure may depend on where the server stands
            connection.exec_driver_sql("ALTER DATABASE analyst SET timezone TO 'Pacific/Auckland'")
        engine.dispose()
        with ToolLog.open(path) as on_sqlite, ToolLog.open(url) as on_postgres:
            yield on_sqlite, on_postgres


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.name))
def test_a_view_holds_the_same_on_both(logs: tuple[ToolLog, ToolLog], view: View) -> None:
    on_sqlite, on_postgres = (_all(log, view) for log in logs)

    assert list(view.columns) == on_sqlite["columns"]
    assert on_sqlite == on_postgres
    assert on_sqlite["rows"] or view.name.startswith("v_replay")


@pytest.mark.parametrize("query", ready_queries(), ids=lambda query: str(query.name))
def test_a_ready_query_answers_the_same_on_both(logs: tuple[ToolLog, ToolLog], query: ReadyQuery) -> None:
    assert ANSWERS[query.name] == answer(logs[1], query)


def test_a_moment_that_is_given_is_meant_in_utc(logs: tuple[ToolLog, ToolLog]) -> None:
    since = ANSWERS["drift_by_build"]["rows"][1][2]

    on_sqlite, on_postgres = (answer(log, find_ready("failing_tools"), since=since) for log in logs)

    assert [["tarx_recall", 1]] == [row[:2] for row in on_sqlite["rows"]]
    assert on_sqlite == on_postgres


def _all(log: ToolLog, view: View) -> Answer:
    found = ask(log, f"SELECT * FROM {view.name}")
    return found | {"rows": sorted(found["rows"], key=repr)}


@pytest.mark.parametrize("sql", ["COMMIT; DELETE FROM label", "SELECT 1; DELETE FROM label", "DELETE FROM label"])
def test_a_query_of_a_person_cannot_write_on_postgresql(logs: tuple[ToolLog, ToolLog], sql: str) -> None:
    before = list(logs[1].query("SELECT COUNT(*) FROM label").rows)
    with pytest.raises(ConfigError):
        list(logs[1].query(sql).rows)
    assert before == list(logs[1].query("SELECT COUNT(*) FROM label").rows)


def test_a_percent_sign_stands_for_itself_on_postgresql(logs: tuple[ToolLog, ToolLog]) -> None:
    sql = "SELECT COUNT(*) FROM v_tool_calls WHERE tool LIKE 'tarx%' AND 7 % 4 = 3"
    assert list(logs[0].query(sql).rows) == list(logs[1].query(sql).rows) != [(0,)]
