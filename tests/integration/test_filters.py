"""What the filters mean, on SQLite and on a real PostgreSQL: of exchanges, of turns, of conversations and of calls."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.store import few
from tarx_toollog.store.answers import queries
from tarx_toollog.store.answers.status import status
from tarx_toollog.store.answers.tools import tool_stats
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.labels import Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.templates import served_templates
from tarx_toollog.store.where import heeding
from tests.support.analyst_log import write_analyst_log
from tests.support.builders import TOOLS, assistant, call, exchange, user
from tests.support.postgres import database, postgres

CASES: list[tuple[dict[str, Any], str]] = [
    ({"labels": ["quality"]}, "1.4"),
    ({"labels": ["quality=bad"]}, "1.4"),
    ({"labels": ["quality=-1"]}, "1.4"),
    ({"labels": ["quality=good"]}, ""),
    ({"labels": ["expected"]}, "4.0"),  # on a call of it
    ({"labels": ["expected=bad"]}, "4.0"),  # who says what would have been right says that it was wrong
    ({"labels": ["thumbs=good"]}, "4.0 4.1 4.2"),  # on the conversation
    ({"labels": ["topic=Pets"]}, "6.0"),
    ({"labels": ["topic=other"]}, ""),
    ({"labels": ["taken_back"]}, ""),
    ({"labels": ["quality", "topic"]}, "1.4 6.0"),
    ({"labels": ["expected"], "tools": ["tarx_recall"]}, ""),
    ({"where": "n_tools = 1"}, "7.0"),
    ({"where": "http_status = 503 OR answer LIKE 'Done%'"}, "4.2 9.0"),
    ({"where": "tool = 'tarx_fly'"}, "7.0"),
    ({"where": "tool = 'tarx_recall' AND argument_state = 'invalid'"}, "6.0"),
    ({"where": "signature = 'tarx_remember>tarx_remember'"}, "4.0 4.1 4.2"),  # of each exchange of such a turn
    ({"where": "chain_length = 0 AND status = 'failed'"}, "9.0"),
    ({"where": "exchange_uid IN (SELECT exchange_uid FROM v_tool_calls WHERE tool = 'tarx_fly')"}, "7.0"),
    ({"where": "TOOL = 'tarx_recall' AND \"argument_state\" = 'invalid'", "builds": ["base.gguf"]}, "6.0"),
    ({"where": "tool = 'it''s (-- no' OR tool = 'tarx_fly'"}, "7.0"),
    ({"builds": ["tuned.gguf"]}, "3.0 3.1 3.2 3.3 3.4 8.0 9.0"),
    ({"splits": ["dev"]}, "4.0 4.1 4.2"),
    ({"splits": ["eval"], "where": "n_tool_calls = 1"}, "5.0"),
    ({"outcomes": ["upstream_error"]}, "9.0"),
    ({"tools": ["tarx_save"], "since": "2026-09-28"}, "2.2 3.2"),
    ({"until": "2026-09-21T14:15"}, "1.0 1.1 1.2 1.3 1.4"),
    ({"since": "2026-10-05T14:14", "until": "2026-10-05T14:14:40"}, "8.0"),
    ({"conversation": "talk-7"}, "7.0"),
    ({"conversation": "TALK-7"}, "7.0"),
    ({"conversation": "talk7"}, ""),
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolLog]:
    """Yield a log with labels of every kind."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("filters") / "t.db"
        write_labelled_log(path)
        with ToolLog.open(path) as opened:
            yield opened
        return
    with postgres() as server, database(server, "filters") as url:
        write_labelled_log(url)
        with ToolLog.open(url) as opened:
            yield opened


def write_labelled_log(database: str | Path) -> None:
    write_analyst_log(database)
    with ToolLog.open(database, read_only=False) as log:
        labels = Labels(log)
        labels.add(NewLabel("conversation", "talk-4", "thumbs", 1.0, annotator="ann"))
        labels.add(NewLabel("exchange", uid("6.0"), "topic", value_text=" pets ", annotator="ann"))
        labels.withdraw(labels.add(NewLabel("exchange", uid("7.0"), "taken_back", 1.0, annotator="ann")), "ann")


def uid(name: str) -> str:
    talk, number = map(int, name.split("."))
    return f"00000000-0000-7000-8000-{talk:06d}{number:06d}"


def name_of(exchange_uid: str) -> str:
    return f"{int(exchange_uid[24:30])}.{int(exchange_uid[30:])}"


def listed(log: ToolLog, filters: Filters) -> list[str]:
    return sorted(name_of(row["exchange_uid"]) for row in queries.exchanges(log.engine, filters))


@pytest.mark.parametrize(("given", "expected"), CASES, ids=lambda value: str(value))
def test_the_exchanges_that_are_meant_are_listed(log: ToolLog, given: dict[str, Any], expected: str) -> None:
    assert expected.split() == listed(log, Filters.parse(**given))


@pytest.mark.parametrize("given", [given for given, _ in CASES], ids=str)
def test_a_list_does_not_depend_on_how_it_finds_its_rows(
    log: ToolLog, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> list[Any]:
        filters = Filters.parse(**given)
        lists = [list(ask(log.engine, filters)) for ask in (queries.exchanges, queries.conversations)]
        counts = [queries.count_steps(log.engine, filters), queries.turns_by_split(log.engine, filters)]
        return [*lists, *counts, list(log.trajectories(filters))]

    of_few = asked()
    monkeypatch.setattr(few, "FEW", -1)  # whatever it is, it is many

    assert of_few == asked()


@pytest.mark.parametrize("given", [given for given, _ in CASES], ids=str)
def test_conversations_and_turns_are_those_of_the_exchanges(log: ToolLog, given: dict[str, Any]) -> None:
    filters = Filters.parse(**given)
    exchanges = list(queries.exchanges(log.engine, filters))
    conversations = {row["conversation_uid"] for row in queries.conversations(log.engine, filters)}
    turns = {(turn.conversation_uid, turn.turn_no) for turn in log.trajectories(filters)}

    assert {row["conversation_uid"] for row in exchanges} == conversations
    assert {(row["conversation_uid"], row["turn_no"]) for row in exchanges} == turns


def test_a_condition_on_calls_counts_those_calls_and_no_others_of_their_answer(tmp_path: Path) -> None:
    calls = (call("tarx_recall", {"query": "a"}, "c1"), call("tarx_remember", {"key": "a"}, "c2"))
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        log.write([exchange([user("Both.")], assistant("", *calls), tools=TOOLS)])
    with ToolLog.open(tmp_path / "t.db") as log:
        failing = tool_stats(log.engine, Filters.parse(where="schema_state = 'fail'"))

    assert [("tarx_remember", 1)] == [(row["tool"], row["calls"]) for row in failing]


def test_figures_by_split_and_the_templates_behind_take_a_condition(log: ToolLog) -> None:
    filters = Filters.parse(where="signature = 'tarx_remember>tarx_remember'")

    assert {"dev": 1} == queries.turns_by_split(log.engine, filters)
    assert 3 == queries.count_steps(log.engine, filters)
    assert served_templates(log.engine, filters).template is None


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("tool = tarx_fly", "tarx_fly"),
        ("tool == 'x' AND nonsense = 1", "nonsense"),
        ("tool = 'x' AND", "syntax error"),
        ("request_model = 'm' AND tool = 'x'", "request_model"),  # a column of the table, and of no view
    ],
)
def test_a_wrong_condition_is_said_with_the_columns_that_there_are(log: ToolLog, where: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        listed(log, Filters.parse(where=where))

    assert "--where" in caught.value.message
    assert said in caught.value.message
    assert "Columns of v_tool_calls: call_uid, exchange_uid" in str(caught.value.hint)


def test_a_condition_that_takes_too_long_is_ended(log: ToolLog) -> None:
    endless = "n_tools = (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n)"
    filters = Filters.parse(where=endless)
    too_long = pytest.raises(ConfigError, match=r"longer than 0\.2 s")
    with log.engine.connect() as connection, too_long, heeding(connection, endless, 0.2):
        few.few_exchanges(connection, filters)


def test_a_connection_that_asks_with_a_condition_can_only_read(log: ToolLog) -> None:
    with ToolLog.open(settings=log.settings, read_only=False) as writing:
        refused = pytest.raises(ConfigError, match="only read")
        with writing.engine.connect() as connection, refused, heeding(connection, "n_tools = 1"):
            connection.exec_driver_sql("DELETE FROM label")
        turns = list(writing.trajectories(Filters.parse(where="tool = 'tarx_fly'")))
        Labels(writing).add(NewLabel("exchange", uid("8.0"), "later", 1.0, annotator="ann"))  # and then writes again

    assert ["talk-7"] == [turn.conversation_uid for turn in turns]
    assert ["8.0"] == listed(log, Filters.parse(labels=["later"]))


def test_the_figures_of_status_are_those_of_the_view(log: ToolLog) -> None:
    with log.engine.connect() as connection:
        health = {row[0]: row[1] for row in connection.exec_driver_sql("SELECT * FROM v_health")}
    figures = status(log.engine)

    same = health.keys() & figures.keys()
    assert {"exchanges", "open", "interrupted", "not_completed", "tool_calls", "results_without_call", "gaps"} == same
    assert {name: health[name] for name in same} == {name: figures[name] for name in same}
    assert (9, 3) == (figures["conversations"], figures["gaps"])
