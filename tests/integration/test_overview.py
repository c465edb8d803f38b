"""What a part of the log adds up to: by the tallies and by the rows, and on the first page."""

import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tarx_toollog import ToolLog
from tarx_toollog.errors import ConfigError
from tarx_toollog.store import few
from tarx_toollog.store.answers import overview as module
from tarx_toollog.store.answers.overview import (
    Calls,
    Overview,
    Stretch,
    Turns,
    choices,
    overview,
    report_period,
    whole_days,
)
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.tallies import Period
from tests.support.analyst_log import START
from tests.support.postgres import database as postgres_database
from tests.support.postgres import postgres
from tests.support.tool_log import HOSTILE_TOOL, SCRIPT, write_tool_log
from tests.support.web_pages import served_pages


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("overview") / "t.db"
    write_tool_log(path)
    return path


@pytest.fixture
def log(database: Path) -> Iterator[ToolLog]:
    with ToolLog.open(database) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(database: Path) -> Iterator[httpx.Client]:
    with served_pages(database) as url, httpx.Client(base_url=url) as client:
        yield client


class Page(HTMLParser):
    """A page, read: its links with their words, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.words = ""
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        assert "style" not in given
        if tag == "a":
            self.links.append((given["href"], ""))

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.links and not self.links[-1][1]:
            self.links[-1] = self.links[-1][0], data.strip()


def read(client: httpx.Client, address: str, status: int = 200) -> Page:
    answer = client.get(address)
    assert status == answer.status_code, answer.text[-2000:]
    return Page(answer.text)


def from_rows(log: ToolLog, filters: Filters, monkeypatch: pytest.MonkeyPatch) -> Overview:
    """Return the same counted from the rows, as if no tally knew anything of the filters."""
    with monkeypatch.context() as patched:
        patched.setattr(module, "is_tallied", lambda _: False)
        return overview(log.engine, filters)


# ---- figures --------------------------------------------------------------------------------------------------------


def test_calls_are_counted_by_how_they_went_each_once(log: ToolLog) -> None:
    found = overview(log.engine, Filters(tools=frozenset({"tarx_recall"})))
    assert Calls(6, bad=2, invalid=1, leaked=1, error_results=1, failed=2, unanswered=1) == found.calls
    assert (3, 0) == (found.calls.ok, found.calls.only_errors)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(since=datetime(2026, 9, 28, 14, tzinfo=UTC), until=datetime(2026, 10, 5, 14, 14, tzinfo=UTC)),
        Filters(builds=frozenset({"tuned.gguf"})),
        Filters(builds=frozenset({"there is none"})),
        Filters(since=datetime(2030, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_rows_say_the_same_as_the_tallies(log: ToolLog, filters: Filters, monkeypatch: pytest.MonkeyPatch) -> None:
    by_tallies, by_rows = overview(log.engine, filters), from_rows(log, filters, monkeypatch)
    for field in fields(Overview):
        counted = getattr(by_tallies, field.name)
        if field.name in ("turns", "conversations") and filters.builds:
            # A turn may have answers of several builds: the tally knows the last one. Conversations have none.
            continue
        assert getattr(by_rows, field.name) == counted, field.name


def test_what_no_tally_tells_apart_is_not_said(log: ToolLog) -> None:
    by_tool = overview(log.engine, Filters(tools=frozenset({"weather"})))
    assert (None, None, None, None) == (by_tool.exchanges, by_tool.turns, by_tool.answers, by_tool.conversations)
    assert by_tool.tool_times is not None
    assert ["weather"] == list(by_tool.tool_times)
    by_model = overview(log.engine, Filters(models=frozenset(choices(log.engine).models)))
    assert (None, None) == (by_model.turns, by_model.tool_times)
    assert by_model.exchanges is not None


@pytest.mark.parametrize(
    ("filters", "calls", "exchanges"),
    [
        (Filters(outcomes=frozenset({"upstream_error"})), 0, 1),
        (Filters(conversation="talk-4"), 2, 3),
        (Filters(labels=frozenset({"quality"})), 0, 1),
        (Filters(where="tool = 'tarx_fly'"), 1, 1),
        (Filters(splits=frozenset({"eval"}), tools=frozenset({"tarx_recall"})), 1, 1),
    ],
)
def test_other_filters_are_counted_from_the_rows(log: ToolLog, filters: Filters, calls: int, exchanges: int) -> None:
    found = overview(log.engine, filters)
    assert found.exchanges is not None
    assert (calls, exchanges) == (found.calls.n, found.exchanges.n)


PARTS = (
    Filters(outcomes=frozenset({"upstream_error"})),
    Filters(outcomes=frozenset({"upstream_error", "completed"})),
    Filters(conversation="talk-4"),
    Filters(labels=frozenset({"quality"})),
    Filters(labels=frozenset({"quality", "expected"}), since=datetime(2026, 9, 21, tzinfo=UTC)),
    Filters(labels=frozenset({"quality"}), outcomes=frozenset({"completed"})),
    Filters(where="tool = 'tarx_fly'"),
    Filters(where="tool = 'weather'", models=frozenset({"m"})),
    Filters(splits=frozenset({"eval"}), tools=frozenset({"tarx_recall"})),
    Filters(builds=frozenset({"tuned.gguf"}), splits=frozenset({"train", "dev", "eval"})),
)


@pytest.mark.parametrize("filters", PARTS)
def test_what_is_counted_among_few_is_what_is_counted_among_all(
    log: ToolLog, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    among_few = overview(log.engine, filters)
    turns = [(turn.conversation_uid, turn.turn_no) for turn in log.trajectories(filters)]
    monkeypatch.setattr(few, "FEW", -1)  # nothing is few

    assert overview(log.engine, filters) == among_few
    assert [(turn.conversation_uid, turn.turn_no) for turn in log.trajectories(filters)] == turns


def test_the_parts_differ_from_each_other_and_from_nothing(log: ToolLog) -> None:
    found = [overview(log.engine, filters) for filters in PARTS]

    assert all(one.conversations for one in found)
    assert len(PARTS) - 3 <= len({repr((one.calls, one.turns, one.answers)) for one in found})


def test_what_would_take_long_is_refused_when_somebody_waits(log: ToolLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few, "FEW", 3)
    filters = Filters(splits=frozenset({"train"}))
    with pytest.raises(ConfigError, match="counted one by one"):
        overview(log.engine, filters, at_once=True)
    assert overview(log.engine, filters).calls.n > 0


def test_time_is_in_days_without_a_hole_and_coarser_where_they_would_be_too_many(log: ToolLog) -> None:
    days = overview(log.engine, Filters()).times
    assert (date(2026, 9, 21), date(2026, 10, 7), 16) == (days[0].first, days[-1].end, len(days))
    assert all(before.end == after.first for before, after in pairwise(days))
    for since, first in (
        ("2026-03-03", date(2026, 9, 28)),
        ("2024-01-15", date(2026, 10, 1)),
        ("2020-01-15", date(2026, 1, 1)),
    ):
        coarse = overview(log.engine, Filters.parse(since=since)).times
        assert date.fromisoformat(since) == coarse[0].first
        assert first in [stretch.first for stretch in coarse]
        assert sum(_n(days)) == sum(_n(coarse))


def _n(stretches: Any) -> list[int]:
    return [stretch.calls.n for stretch in stretches if isinstance(stretch, Stretch)]


def test_a_page_is_about_whole_days_and_a_report_about_hours_where_they_matter() -> None:
    at = datetime(2026, 9, 28, 14, tzinfo=UTC)
    midnight, next_day = datetime(2026, 9, 28, tzinfo=UTC), datetime(2026, 9, 29, tzinfo=UTC)
    assert Period(midnight, next_day) == whole_days(Filters(since=at, until=at))
    assert Period(midnight, midnight) == whole_days(Filters(since=midnight, until=midnight))
    assert Period(at, next_day) == report_period(Filters(since=at, until=next_day))
    assert Period(midnight, None) == report_period(Filters(since=at))


def test_turns_are_counted_by_their_calls(log: ToolLog) -> None:
    found = overview(log.engine, Filters(builds=frozenset({"tuned.gguf"})))
    assert found.turns is not None
    assert Turns(1, 1) == found.turns[3]


def test_health_is_that_of_the_whole_log(log: ToolLog) -> None:
    found = overview(log.engine, Filters(since=datetime(2030, 1, 1, tzinfo=UTC)))
    assert (0, {"journal": 3}, START) == (found.calls.n, found.health.lost, found.health.first_at)


def test_postgresql_counts_the_same(database: Path, log: ToolLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres() as server, postgres_database(server, "overview") as url:
        write_tool_log(url)
        with ToolLog.open(url) as there:
            for filters in (Filters(), Filters(tools=frozenset({"tarx_recall"}))):
                assert overview(log.engine, filters) == overview(there.engine, filters)
                assert from_rows(log, filters, monkeypatch) == from_rows(there, filters, monkeypatch)
            assert choices(log.engine) == choices(there.engine)


# ---- the page -------------------------------------------------------------------------------------------------------


def test_the_first_page_has_the_headline_and_every_chart(client: httpx.Client) -> None:
    page = read(client, "/")
    assert "Overview" in page.words
    words = re.sub(r"\s+", " ", page.words)
    assert "exchanges36 calls23 failing calls34.8 % 8 of 23 conversations14 exchanges lost3" in words
    assert 6 == page.tags.count("details")
    for title in ("Calls over time", "by tool", "by step of the turn", "part of the context", "by week"):
        assert title in page.words


def test_every_link_of_a_chart_leads_to_as_many_calls_as_it_says(client: httpx.Client) -> None:
    counted = [
        (link, words) for link, words in read(client, "/").links if link.startswith("/calls?kind=") or "&kind=" in link
    ]
    assert 10 < len(counted)
    for link, words in counted:
        if words.isdecimal():
            assert re.search(rf"\b{words} calls?, newest day first", read(client, link).words), link


def test_every_link_of_the_page_is_there(client: httpx.Client) -> None:
    links = {link for link, _ in read(client, "/").links if link.startswith("/")}
    for link in sorted(links):
        assert 200 == client.get(link).status_code, link


def test_filters_stand_in_every_link(client: httpx.Client) -> None:
    page = read(client, "/?since=2026-09-28T15:00&tool=tarx_recall&build=base.gguf")
    asked = [parse_qs(urlsplit(link).query) for link, _ in page.links if link.startswith("/calls")]
    assert asked
    for query in asked:
        assert ["base.gguf"] == query["build"]
        assert query["since"] >= ["2026-09-28"]
    assert "Exchanges are not counted by tool." in page.words


def test_a_name_out_of_the_log_stays_text(client: httpx.Client) -> None:
    answer = client.get("/")
    assert SCRIPT not in answer.text
    assert HOSTILE_TOOL[:10] in read(client, "/").words
    assert "\u202e" not in answer.text


def test_an_address_that_cannot_be_read_says_so(client: httpx.Client) -> None:
    assert "cannot read the time" in read(client, "/?since=yesterday", 400).words


def test_a_part_without_calls_says_so(client: httpx.Client) -> None:
    assert "No calls in this part of the log." in read(client, "/?since=2030-01-01").words


def test_an_empty_log_says_how_to_begin(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    with ToolLog.open(path, read_only=False):
        pass
    with served_pages(path) as url, httpx.Client(base_url=url) as client:
        assert "toollog serve" in read(client, "/").words
