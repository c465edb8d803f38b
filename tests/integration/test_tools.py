"""Tools in figures and lists: always those of the calls themselves, however they are come by."""

from collections.abc import Iterator
from typing import Any

import pytest

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.store.answers import calls as lists
from tarx_toollog.store.answers.argument_values import Spread
from tarx_toollog.store.answers.calls import KINDS, CallLine, Place, call_page
from tarx_toollog.store.answers.tool_details import ToolDetail, tool_detail
from tarx_toollog.store.answers.tool_failures import objection
from tarx_toollog.store.answers.tools import listed_tools, tool_stats
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.views import V_TOOL_STATS
from tests.support.postgres import database, postgres
from tests.support.tool_log import HOSTILE_TOOL, SCRIPT, write_tool_log

COLUMNS = tuple(V_TOOL_STATS.columns)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolLog]:
    path = tmp_path_factory.mktemp("tools") / "t.db"
    write_tool_log(path)
    with ToolLog.open(path) as opened:
        yield opened


FILTERS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "1 = 1"),
    "part of a day on": ({"since": "2026-09-28T15:30"}, "called_at >= '2026-09-28 15:30'"),
    "up to a part of a day": ({"until": "2026-09-28T15:30"}, "called_at < '2026-09-28 15:30'"),
    "tools": ({"tools": ["tarx_save", "weather"]}, "tool IN ('tarx_save', 'weather')"),
    "model": ({"models": ["m-q4"]}, "model = 'm-q4'"),
    "another model": ({"models": ["m"]}, "model = 'm'"),
    "build": ({"builds": ["base.gguf"]}, "build = 'base.gguf'"),
    "no such build": ({"builds": ["other"]}, "build = 'other'"),
    "outcome": ({"outcomes": ["completed"]}, "outcome = 'completed'"),
    "split": ({"splits": ["dev", "eval"]}, "split IN ('dev', 'eval')"),
    "conversation": ({"conversation": "talk-4"}, "conversation_uid = 'talk-4'"),
    "label": ({"labels": ["expected"]}, "exchange_uid = '00000000-0000-7000-8000-000004000000'"),
    "condition": ({"where": "result_is_error AND n_tools = 3"}, "result_is_error AND n_tools = 3"),
    "several": ({"splits": ["train"], "tools": ["tarx_recall"]}, "split = 'train' AND tool = 'tarx_recall'"),
}


def rows_of_the_view(log: ToolLog, condition: str) -> list[tuple[Any, ...]]:
    chosen = f"(SELECT * FROM v_tool_calls WHERE {condition}) AS chosen"
    found = log.query(V_TOOL_STATS.select.replace("FROM v_tool_calls", f"FROM {chosen}"))
    return sorted(map(_comparable, found.rows))


def _comparable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    *figures, first, last = row
    return (*(value if value is not None else "" for value in figures), str(first)[:19], str(last)[:19])


@pytest.mark.parametrize("name", FILTERS)
def test_figures_of_tools_are_those_of_the_view(log: ToolLog, name: str) -> None:
    given, condition = FILTERS[name]
    found = tool_stats(log.engine, Filters.parse(**given))

    expected = rows_of_the_view(log, condition)
    assert expected == sorted(_comparable(tuple(row[column] for column in COLUMNS)) for row in found)
    assert bool(expected) is (name not in ("another model", "no such build"))
    assert sorted((row["calls"] for row in found), reverse=True) == [row["calls"] for row in found]


def test_the_list_has_one_row_a_tool_with_how_long_results_take(log: ToolLog) -> None:
    found = {row["tool"]: row for row in listed_tools(log.engine, Filters())}

    remember, last = found["tarx_remember"], found["weather"]
    assert (5, 1, 1, 0) == tuple(remember[name] for name in ("calls", "failed", "bad_calls", "unanswered"))
    assert (7, 3, 2, 0) == tuple(last[name] for name in ("calls", "failed", "bad_calls", "unanswered"))
    assert 0 < found["weather"]["p50_ms"] <= found["weather"]["p95_ms"] <= found["weather"]["p99_ms"]
    by_split = {row["tool"]: row for row in listed_tools(log.engine, Filters.parse(splits=["train"]))}
    assert (None, None) == (by_split["weather"]["p50_ms"], by_split["weather"]["p99_ms"])
    by_model = listed_tools(log.engine, Filters.parse(models=["m-q4"]))
    assert {None} == {row["p50_ms"] for row in by_model}


def all_calls(log: ToolLog, filters: Filters, size: int, **chosen: Any) -> list[CallLine]:
    """Return the calls of all pages."""
    found: list[CallLine] = []
    after: Place | None = None
    while True:
        page = call_page(log.engine, filters, after=after, size=size, **chosen)
        assert len(page.rows) <= size
        assert page.after is None or page.after != after
        found += page.rows
        if page.after is None:
            return found
        after = Place.parse(str(page.after))


CONDITIONS = {
    "all": "1 = 1",
    "failed": "is_bad = 1 OR result_is_error",
    "bad": "is_bad = 1",
    "invalid": "argument_state = 'invalid'",
    "schema": "schema_state = 'fail'",
    "not_offered": "NOT offered",
    "incomplete": "NOT complete",
    "leaked": "origin = 'leaked_text'",
    "error": "result_is_error",
    "good_error": "is_bad = 0 AND result_is_error",
    "unanswered": "is_bad = 0 AND match_how IS NULL",
    "ok": "is_bad = 0 AND NOT result_is_error",
}


@pytest.fixture(params=["few", "by days", "by days, tired"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for calls in each of the ways in which they are looked for in logs of all sizes."""
    if request.param != "few":
        monkeypatch.setattr(lists, "_FEW", -1)
    if "tired" in request.param:
        monkeypatch.setattr(lists, "_LOOKED_AT", 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", KINDS)
def test_a_list_has_each_call_of_its_kind_once_in_pages_of_any_size(log: ToolLog, kind: str) -> None:
    expected = sorted(uid for (uid,) in log.query(f"SELECT call_uid FROM v_tool_calls WHERE {CONDITIONS[kind]}").rows)

    for size in (1, 3, 50):
        found = all_calls(log, Filters(), size, kind=kind)
        assert expected == sorted(line.uid for line in found)
        places = [(line.called_at.date(), line.id) for line in found]
        assert sorted(places, reverse=True) == places
    assert len(expected) == call_page(log.engine, Filters(), kind=kind).total
    assert expected


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", FILTERS)
def test_a_list_has_the_calls_that_are_meant(log: ToolLog, name: str) -> None:
    given, condition = FILTERS[name]
    expected = sorted(uid for (uid,) in log.query(f"SELECT call_uid FROM v_tool_calls WHERE {condition}").rows)

    assert expected == sorted(line.uid for line in all_calls(log, Filters.parse(**given), 2))


@pytest.mark.usefixtures("way")
def test_a_list_may_be_of_one_step_of_the_turns(log: ToolLog) -> None:
    found = all_calls(log, Filters(), 2, depth=2)
    assert {2} == {line.step_no for line in found}
    assert len(found) == call_page(log.engine, Filters(), depth=2).total == 6
    assert 0 == call_page(log.engine, Filters(), depth=99).total


def test_a_kind_that_is_every_call_once_adds_up(log: ToolLog) -> None:
    totals = {kind: call_page(log.engine, Filters(), kind=kind).total or 0 for kind in KINDS}
    assert totals["all"] == sum(totals[kind] for kind in ("ok", "bad", "good_error", "unanswered"))


def test_a_place_that_is_none_begins_at_the_newest() -> None:
    for text in ("", "12", "2026-13-01.4", "2026-05-31", "2026-05-31.", "x.y", "2026-05-31.⁴"):
        assert Place.parse(text) is None
    assert Place("2026-05-31", 12) == Place.parse("2026-05-31.12")


def test_a_tool_has_its_versions_with_what_changed_and_when_each_was_offered(log: ToolLog) -> None:
    found = tool_detail(log.engine, "weather", Filters())

    new, old = found.versions
    assert (2, (2, 1), (5, 7)) == (found.n_versions, (new.number, old.number), (new.n_exchanges, old.n_exchanges))
    assert ["2026-10-05", "2026-10-06"] == [str(moment)[:10] for moment in (new.first_at, new.last_at)]
    assert ["2026-09-21", "2026-09-28"] == [str(moment)[:10] for moment in (old.first_at, old.last_at)]
    assert (2, 5) == (new.calls, old.calls)
    assert ["/description", "/parameters/properties/day"] == [change.path for change in new.changes]
    assert ((), ["place", "day"]) == (tuple(old.changes), [one.name for one in new.parameters])


def test_a_tool_says_how_its_arguments_are_filled_and_why_calls_fail(log: ToolLog) -> None:
    found = tool_detail(log.engine, "weather", Filters())

    assert [("place", 5), (SCRIPT, 1), ("day", 1)] == [(use.name, use.given) for use in found.arguments]
    assert [('"Porto"', 3), ('"Faro"', 2)] == found.arguments[0].values
    assert Spread(4, 5, 5) == found.arguments[0].lengths
    reasons = [(reason.kind, reason.text, reason.n) for reason in found.failures.reasons]
    assert ("schema", "(root): 'place' is a required property", 1) in reasons
    assert [] != [reason for reason in reasons if reason[0] == "error" and SCRIPT in reason[1]]
    assert ("error", '{"error": "the service is busy"}', 1) in reasons
    assert (3, 1, 1) == (found.failures.n_read, found.failures.retried, found.failures.mended)
    assert 6 == found.n_read == -1 + sum(row["n_calls"] for row in found.days)


def test_a_failed_call_that_is_made_again_well_was_mended(log: ToolLog) -> None:
    found = tool_detail(log.engine, "tarx_remember", Filters()).failures
    assert (1, 1, 1) == (found.n_read, found.retried, found.mended)
    only_error = tool_detail(log.engine, "tarx_recall", Filters()).failures
    assert (0, 0) == (only_error.retried, only_error.mended)


def test_a_tool_that_was_never_offered_or_never_called_has_a_page_and_others_have_none(log: ToolLog) -> None:
    made_up = tool_detail(log.engine, HOSTILE_TOOL, Filters())
    assert ([], 0, "not_offered") == (list(made_up.versions), made_up.n_versions, made_up.failures.reasons[0].kind)
    quiet = tool_detail(log.engine, "weather", Filters.parse(until="2026-01-01"))
    assert (None, 0, 2) == (quiet.total, quiet.n_read, quiet.n_versions)
    with pytest.raises(NothingMatchedError, match="no tool 'nothing'"):
        tool_detail(log.engine, "nothing", Filters())


def test_objections_that_differ_in_the_value_alone_are_the_same() -> None:
    assert "/a: … is not one of ['x']" == objection("/a: 'y: is not z' is not one of ['x']")
    assert "(root): 'a' is a required property" == objection("(root): 'a' is a required property")
    assert "no colon" == objection("no colon")


def test_everything_is_the_same_on_postgresql(log: ToolLog) -> None:
    with postgres() as server, database(server, "tools") as url:
        write_tool_log(url)
        with ToolLog.open(url) as other:
            for given, _ in FILTERS.values():
                filters = Filters.parse(**given)
                assert tool_stats(log.engine, filters) == tool_stats(other.engine, filters)
            for kind in KINDS:
                assert _told(all_calls(log, Filters(), 3, kind=kind)) == _told(
                    all_calls(other, Filters(), 3, kind=kind)
                )
            for name in ("weather", "tarx_remember", HOSTILE_TOOL):
                found = [_without_chance(tool_detail(one.engine, name, Filters())) for one in (log, other)]
                assert found[0] == found[1]


def _told(found: list[CallLine]) -> list[tuple[Any, ...]]:
    return [(line.uid, line.arguments, line.result, line.faults, line.is_error) for line in found]


def _without_chance(found: ToolDetail) -> tuple[Any, ...]:
    reasons = [(reason.kind, reason.text, reason.n, reason.step_no) for reason in found.failures.reasons]
    return found.total, found.versions, found.arguments, reasons, found.days, found.latency
