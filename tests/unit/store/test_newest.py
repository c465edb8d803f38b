"""Lists go newest first, each row once, and no page takes long however rare its rows are."""

import itertools
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tarx_toollog import ToolLog
from tarx_toollog.store.answers.conversation_pages import conversation_list
from tarx_toollog.store.answers.exchange_pages import exchange_list
from tarx_toollog.store.answers.newest import BUDGET_S, newest
from tarx_toollog.store.few import rare_conversations, rare_exchanges
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.schema import exchange
from tests.support.analyst_log import write_analyst_log


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Connection]:
    path = tmp_path_factory.mktemp("newest") / "t.db"
    write_analyst_log(path)
    with ToolLog.open(path) as log, log.engine.connect() as connection:
        yield connection


def all_keys(connection: sa.Connection) -> list[int]:
    return list(connection.scalars(sa.select(exchange.c.id).order_by(exchange.c.id.desc())))


def test_pages_have_each_row_once_newest_first(connection: sa.Connection) -> None:
    seen: list[int] = []
    before = None
    while True:
        page = newest(connection, exchange.c.id, [], rare=None, before=before, size=7)
        seen += page.keys
        if (before := page.before) is None:
            break
        assert (7, True) == (len(page.keys), page.is_full)
    assert all_keys(connection) == seen


@pytest.mark.parametrize("is_rare", [False, True])
def test_a_page_that_takes_long_ends_and_the_next_one_goes_on_from_there(
    connection: sa.Connection, is_rare: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarx_toollog.store.answers.newest._WINDOW", 3)
    keys = all_keys(connection)
    wanted = keys[-1]
    before, pages = None, 0
    while True:
        clock = itertools.count(0, BUDGET_S).__next__  # each look at it says that the time is up
        page = newest(
            connection,
            exchange.c.id,
            [exchange.c.id == wanted],
            rare=keys if is_rare else None,
            before=before,
            size=5,
            clock=clock,
        )
        pages += 1
        if page.before is None:
            break
        assert ([], False) == (page.keys, page.is_full)
        before = page.before
    assert [wanted] == page.keys
    assert len(keys) // 3 <= pages <= len(keys) // 3 + 2


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"tools": ["tarx_fly"]}, 1),
        ({"outcomes": ["upstream_error"]}, 1),
        ({"builds": ["tuned.gguf"]}, 7),
        ({"labels": ["expected"]}, 1),
        ({"conversation": "talk-1"}, 5),
        ({"since": "2026-10-05T14:14", "until": "2026-10-05T14:14:40"}, 1),
    ],
)
def test_filters_with_an_index_name_their_few_rows_at_once(
    connection: sa.Connection, filters: dict[str, list[str]], count: int
) -> None:
    meant = Filters.parse(**filters)  # type: ignore[arg-type]
    keys = rare_exchanges(connection, meant)
    assert keys is not None
    assert count == len(keys)
    assert sorted(keys) == sorted(line.id for line in exchange_list(connection, meant, None, 50).rows)
    assert rare_conversations(connection, meant) == {
        line.id for line in conversation_list(connection, meant, None, 50).rows
    }


def test_what_is_common_is_walked_to(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.store.few.FEW", 2)
    for common in (Filters.parse(tools=["tarx_recall"]), Filters.parse(models=["m"])):
        assert rare_exchanges(connection, common) is None
        assert rare_conversations(connection, common) is None


def test_a_short_period_begins_at_its_end_and_has_what_a_long_one_has(connection: sa.Connection) -> None:
    week = Filters.parse(since="2026-09-21", until="2026-09-28")
    whole = Filters.parse(since="2026-01-01", until="2026-09-28")
    rows = [line.uid for line in exchange_list(connection, week, None, 50).rows]
    assert len(rows) > 5
    assert rows == [line.uid for line in exchange_list(connection, whole, None, 50).rows]
    assert [] == exchange_list(connection, Filters.parse(since="2020-01-01", until="2020-01-02"), None, 50).rows


def test_a_list_of_conversations_has_their_counts_and_labels(connection: sa.Connection) -> None:
    rows = {line.uid: line for line in conversation_list(connection, Filters(), None, 50).rows}
    assert [f"talk-{n}" for n in range(9, 0, -1)] == list(rows)
    first = rows["talk-1"]
    assert (2, 5, 3, 0, 0) == (first.n_turns, first.n_steps, first.n_calls, first.n_bad_calls, first.n_error_results)
    assert first.user_text.startswith("Recall my city")
    assert ["quality"] == [label.name for label in first.labels]
    assert ["expected"] == [label.name for label in rows["talk-4"].labels]
    assert (1, 1) == (rows["talk-8"].n_calls, rows["talk-8"].n_bad_calls)


def test_a_condition_of_a_persons_own_narrows_both_lists(connection: sa.Connection) -> None:
    meant = Filters.parse(where="tool = 'tarx_fly'")
    assert ["talk-7"] == [line.uid for line in conversation_list(connection, meant, None, 50).rows]
    assert ["talk-7"] == [line.conversation_uid for line in exchange_list(connection, meant, None, 50).rows]
