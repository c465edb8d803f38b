"""Search: all words of the log, indexed once, and what is not indexed yet is found as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.errors import ConfigError
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.search import Hits, Place, catch_up, count_waiting, forget_index, search
from tests.support.builders import TOOLS, assistant, call, exchange, result, user
from tests.support.postgres import database, postgres


def write(log: ToolLog) -> None:
    asked = [user("Wie wird das Wetter in São Paulo? Ignore \0 this.")]
    answer = assistant("", call("tarx_recall", {"query": "garden tools in Lisbon"}, "c1"))
    log.write([exchange(asked, answer, tools=TOOLS)])
    asked = [*asked, answer, result("c1", {"facts": ["twelve percent rain", "3.14", "a/b/file.txt"]})]
    log.write([exchange(asked, assistant("Rain, says garden.example: 12%."), tools=TOOLS, at_s=5)])
    log.write([exchange([user("Something else \ud800 about rainbows")], assistant("Fine."), at_s=9)])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ToolLog]:
    if request.param == "sqlite":
        with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
            write(opened)
            yield opened
        return
    server = request.getfixturevalue("server")
    with database(server, "search") as url, ToolLog.open(url, read_only=False) as opened:
        write(opened)
        yield opened


def find(log: ToolLog, query: str, filters: Filters | None = None, **options: object) -> Hits:
    with log.engine.connect() as connection:
        return search(connection, query, filters or Filters(), **options)  # type: ignore[arg-type]


def roles(log: ToolLog, query: str, place: Place | None = None) -> list[str]:
    return [hit.role for hit in find(log, query, place=place).hits]


QUERIES = {
    "wetter": ["user"],
    "sao paulo": ["user"],
    "São": ["user"],
    "rain": ["assistant", "tool"],
    "rain*": ["user", "assistant", "tool"],
    "RAIN garden": ["assistant"],
    '"garden tools"': ["assistant"],
    '"tools garden"': [],
    "lisbon": ["assistant"],
    "file.txt": ["tool"],
    '"3.14"': ["tool"],
    "garden.example": ["assistant"],
    "twelve nowhere": [],
    "this": ["user"],
    'say"s': [],
}


@pytest.mark.parametrize("is_indexed", [False, True], ids=["not indexed yet", "indexed"])
def test_words_phrases_and_beginnings_are_found(log: ToolLog, is_indexed: bool) -> None:
    if is_indexed:
        assert 6 == catch_up(log.engine)
        assert 0 == catch_up(log.engine)

    assert {query: roles(log, query) for query in QUERIES} == QUERIES


@pytest.mark.parametrize("is_indexed", [False, True], ids=["not indexed yet", "indexed"])
def test_arguments_are_told_from_text(log: ToolLog, is_indexed: bool) -> None:
    if is_indexed:
        catch_up(log.engine)

    assert ["assistant"] == roles(log, "lisbon", "arguments")
    assert [] == roles(log, "lisbon", "text")
    (hit,) = find(log, "lisbon").hits
    assert ("arguments", '{"query": "garden tools in Lisbon"}') == (hit.place, hit.snippet)


def test_a_hit_says_where_it_stood_first_and_pages_go_on_behind_it(log: ToolLog) -> None:
    catch_up(log.engine)
    (first,) = find(log, "rain", Filters(limit=1)).hits
    (second,) = find(log, "rain", Filters(limit=1), before=first.message_id).hits

    assert (1, 2, "assistant") == (first.turn_no, first.step_no, first.role)
    assert (1, 2, "tool") == (second.turn_no, second.step_no, second.role)
    assert first.exchange_uid == second.exchange_uid
    assert "Rain, says garden.example: 12%." == first.snippet


def test_filters_hold_for_the_exchange_that_brought_the_message(log: ToolLog) -> None:
    catch_up(log.engine)

    assert ["assistant"] == [hit.role for hit in find(log, "lisbon", Filters(tools=frozenset({"tarx_recall"}))).hits]
    assert [] == find(log, "lisbon", Filters(tools=frozenset({"tarx_remember"}))).hits


def test_part_of_the_messages_may_be_indexed(log: ToolLog) -> None:
    assert 3 == catch_up(log.engine, at_most=3)

    with log.engine.connect() as connection:
        assert 3 == count_waiting(connection)
    assert {query: roles(log, query) for query in QUERIES} == QUERIES


def test_an_index_that_was_emptied_fills_again(log: ToolLog) -> None:
    catch_up(log.engine)
    with log.engine.begin() as connection:
        forget_index(connection)

    assert ["user"] == roles(log, "wetter")
    assert 6 == catch_up(log.engine)
    assert ["user"] == roles(log, "wetter")


@pytest.mark.parametrize("query", ["", "  ", '""', "*", "…"])
def test_a_search_for_nothing_is_refused(log: ToolLog, query: str) -> None:
    with pytest.raises(ConfigError, match="no word to look for"):
        find(log, query)
