"""The ready queries: each answers its question, and says how it is to be read."""

import re
from collections.abc import Iterator

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.answers.ready import GROUPS, ReadyQuery, find_ready, ready_queries
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import metadata
from tarx_toollog.store.views import VIEWS
from tests.support.analyst_log import CHAIN, write_analyst_log
from tests.support.ready_answers import ANSWERS, answer

QUERIES = ready_queries()
KNOWN = {view.name for view in VIEWS} | set(metadata.tables)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolLog]:
    path = tmp_path_factory.mktemp("ready") / "t.db"
    write_analyst_log(path)
    with ToolLog.open(path) as opened:
        yield opened


def named(query: ReadyQuery) -> str:
    return query.name


@pytest.mark.parametrize("query", QUERIES, ids=named)
def test_a_ready_query_answers_its_question(log: ToolLog, query: ReadyQuery) -> None:
    assert ANSWERS[query.name] == answer(log, query)
    assert ANSWERS[query.name]["rows"], "the log holds something for each question"


@pytest.mark.parametrize("query", QUERIES, ids=named)
def test_a_ready_query_says_how_it_is_read_and_asks_what_is_documented(query: ReadyQuery) -> None:
    assert query.title.endswith("?")
    assert query.reading.endswith(".")
    assert "limit" in {parameter.name for parameter in query.parameters}
    assert set() == set(re.findall(r"(?:FROM|JOIN) ([a-z_]+)", query.sql)) - KNOWN - {"call", "failed", "step", "timed"}


def test_there_are_queries_for_every_group_and_answers_for_no_others() -> None:
    assert set(GROUPS) == {query.group for query in QUERIES}
    assert set(ANSWERS) == {query.name for query in QUERIES}
    assert 25 <= len(QUERIES)


@pytest.mark.parametrize(
    ("name", "given", "first"),
    [
        ("failing_tools", {"tool": "tarx_save"}, ["tarx_save", 3]),
        ("failing_tools", {"limit": "1"}, ["tarx_recall", 6]),
        ("failing_tools", {"since": "2026-10-01"}, ["tarx_recall", 2]),
        ("chain_completion", {"signature": CHAIN}, [CHAIN, "answered", 3]),
        ("chain_signatures", {"signature": "tarx_remember"}, ["tarx_remember>tarx_remember", 2]),
        ("one_conversation", {"conversation": "talk-1", "limit": "1"}, [1, 1, "tarx_recall"]),
    ],
)
def test_a_parameter_restricts_what_is_asked(log: ToolLog, name: str, given: dict[str, str], first: list[str]) -> None:
    rows = answer(log, find_ready(name), **given)["rows"]

    assert first == rows[0][: len(first)]
    assert len(rows) < len(ANSWERS[name]["rows"]) or name == "one_conversation"


def test_the_moment_that_is_given_belongs_to_what_is_asked(log: ToolLog) -> None:
    last = ANSWERS["drift_by_build"]["rows"][1]

    rows = answer(log, find_ready("failing_tools"), since=last[2])["rows"]

    assert [["tarx_recall", 1]] == [row[:2] for row in rows]


def test_a_quote_in_a_value_stays_part_of_the_value(log: ToolLog) -> None:
    assert [] == answer(log, find_ready("failing_tools"), tool="x' OR 'a' = 'a")["rows"]


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        ("failing_tools", {"tol": "x"}, "no parameter 'tol'"),
        ("failing_tools", {"limit": "many"}, "limit must be a number"),
        ("failing_tools", {"limit": "0"}, "limit must be a number"),
        ("failing_tools", {"limit": "1; DROP TABLE turn"}, "limit must be a number"),
        ("failing_tools", {"since": "soon"}, "cannot read the time"),
        ("failing_tools", {"tool": "a\0b"}, "NUL"),
        ("one_request", {}, "needs a value for exchange"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_in_words(name: str, given: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        find_ready(name).filled(given)


def test_a_name_that_is_nearly_right_is_proposed() -> None:
    with pytest.raises(NothingMatchedError) as error:
        find_ready("failing_tool")

    assert "did you mean failing_tools?" in (error.value.hint or "")
