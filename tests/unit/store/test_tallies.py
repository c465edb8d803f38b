"""Counts of days: whatever is kept, and whatever has changed since, an answer is that of the rows themselves."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog import ToolLog
from tarx_toollog.store.schema import TALLIES, exchange, tally_change, tool_call, tool_result, turn
from tarx_toollog.store.tallies import Period, changed_days, fold_changed, percentile, tallied
from tests.support.builders import TOOLS, assistant, call, result, user
from tests.support.builders import exchange as made_exchange
from tests.support.postgres import database, postgres

DAY_S = 86_400
START = datetime.fromtimestamp(1_790_000_000, UTC)
KINDS = {
    "calls": ("tool", "step_no"),
    "exchanges": ("day", "outcome", "fill"),
    "turns": ("day", "chain_length", "status"),
    "latencies": ("what", "name", "bucket"),
    "toolsets": ("day", "toolset_id"),
}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        write_days(opened)
        yield opened


def write_days(log: ToolLog, days: int = 4) -> None:
    """Write dialogues on several days: calls that are right, of tools that are not there, and with errors."""
    for day in range(days):
        for number in range(3):
            at_s = day * DAY_S + number * 3600.0
            asked = [user(f"question {day}/{number}")]
            name = ("tarx_recall", "tarx_remember", "strange")[number]
            arguments = {"query": "x"} if number == 0 else {"key": "k"}
            answer = assistant("", call(name, arguments, f"call_{day}_{number}"))
            log.write([made_exchange(asked, answer, tools=TOOLS, at_s=at_s)])
            text = "Porto" if number != 1 else {"error": "the store is locked"}
            asked = [*asked, answer, result(f"call_{day}_{number}", text)]
            log.write([made_exchange(asked, assistant("Done."), tools=TOOLS, at_s=at_s + 5)])


def all_counts(log: ToolLog, period: Period = Period()) -> dict[str, Any]:  # noqa: B008 - a tuple
    with log.engine.connect() as connection:
        return {kind: tallied(connection, kind, by, period=period) for kind, by in KINDS.items()}  # type: ignore[arg-type]


def fresh_counts(log: ToolLog, period: Period = Period()) -> dict[str, Any]:  # noqa: B008 - a tuple
    """Return the same when nothing is kept: every day has changed."""
    with log.engine.connect() as connection:
        for table in TALLIES:
            connection.execute(sa.delete(table))
        connection.execute(sa.delete(tally_change))
        days = connection.scalars(sa.select(sa.func.substr(sa.cast(exchange.c.started_at, sa.String), 1, 10)))
        rows = [{"day": day, "transaction_no": 0} for day in sorted(set(days))]
        connection.execute(sa.insert(tally_change), rows)
        found = {kind: tallied(connection, kind, by, period=period) for kind, by in KINDS.items()}  # type: ignore[arg-type]
        connection.rollback()
    return found


def test_what_is_kept_is_what_a_count_of_the_rows_gives(log: ToolLog) -> None:
    before = all_counts(log)
    assert 4 == fold_changed(log.engine)

    assert before == all_counts(log) == fresh_counts(log)
    with log.engine.connect() as connection:
        assert [] == changed_days(connection)
        by_tool = {row["tool"]: row for row in tallied(connection, "calls", ("tool",))}
    assert {"tarx_recall", "tarx_remember", "strange"} == set(by_tool)
    remember = by_tool["tarx_remember"]
    assert (4, 4, 4, 4, 4) == tuple(
        remember[name] for name in ("n_calls", "n_bad", "n_schema", "n_error_results", "n_failed")
    )
    assert (4, 0) == (by_tool["strange"]["n_not_offered"], by_tool["tarx_recall"]["n_bad"])


def test_counts_are_those_of_the_views(log: ToolLog) -> None:
    fold_changed(log.engine)
    with log.engine.connect() as connection:
        counted = {row["tool"]: row for row in tallied(connection, "calls", ("tool",))}
    query = "SELECT tool, calls, bad_calls, schema_failures, not_offered, results, error_results FROM v_tool_stats"
    for tool, *numbers in log.query(query).rows:
        names = ("n_calls", "n_bad", "n_schema", "n_not_offered", "n_results", "n_error_results")
        assert numbers == [counted[tool][name] for name in names]


CHANGES = {
    "a result becomes an error": sa.update(tool_result).where(tool_result.c.id == 1).values(is_error=True),
    "a result goes": sa.delete(tool_result).where(tool_result.c.id == 1),
    "a call moves to another step": sa.update(tool_call).where(tool_call.c.id == 1).values(step_no=7),
    "an exchange ends otherwise": sa.update(exchange).where(exchange.c.id == 1).values(outcome="timeout"),
    "an exchange offered nothing": sa.update(exchange).where(exchange.c.id == 1).values(toolset_id=None),
    "the context becomes known": sa.update(exchange).values(ctx_limit=10, input_tokens=4),
    "a turn goes": sa.delete(turn).where(turn.c.conversation_id == 1),
    "a turn moves to another day": sa.update(turn)
    .where(turn.c.conversation_id == 1)
    .values(started_at=START + timedelta(days=2)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_rows_is_in_the_next_answer(log: ToolLog, change: Any) -> None:
    fold_changed(log.engine)
    before = all_counts(log)
    with log.engine.begin() as connection:
        connection.execute(change)

    assert before != all_counts(log)
    assert fresh_counts(log) == all_counts(log)
    fold_changed(log.engine)
    assert fresh_counts(log) == all_counts(log)


def test_a_period_may_begin_and_end_within_days(log: ToolLog) -> None:
    fold_changed(log.engine)
    chance = random.Random(7)
    for _ in range(40):
        moments = sorted(START + timedelta(seconds=chance.uniform(-DAY_S, 5 * DAY_S)) for _ in range(2))
        period = Period(*moments)
        assert fresh_counts(log, period) == all_counts(log, period)
    whole = Period(datetime(2026, 9, 22, tzinfo=UTC), datetime(2026, 9, 24, tzinfo=UTC))
    assert 6 == sum(row["n_calls"] for row in all_counts(log, whole)["calls"])
    assert [] == all_counts(log, Period(whole.until, whole.since))["calls"]


def test_only_what_is_meant_is_counted(log: ToolLog) -> None:
    for is_kept in (False, True):
        if is_kept:
            fold_changed(log.engine)
        with log.engine.connect() as connection:
            (row,) = tallied(connection, "calls", (), where={"tool": ["strange", "none"]})
            assert 4 == row["n_calls"]
            assert [] == tallied(connection, "calls", ("tool",), where={"tool": ["none"]})


def test_replays_are_not_counted(log: ToolLog) -> None:
    fold_changed(log.engine)
    before = all_counts(log)
    with log.engine.begin() as connection:
        names = {column.name for column in exchange.columns} - {"id", "uid", "run_id"}
        copied = sa.select(sa.literal("of a run"), sa.literal(1), *(exchange.c[name] for name in sorted(names))).where(
            exchange.c.id == 1
        )
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        connection.execute(sa.insert(exchange).from_select(["uid", "run_id", *sorted(names)], copied))
        assert [] == changed_days(connection)
        assert before == {kind: tallied(connection, kind, by) for kind, by in KINDS.items()}  # type: ignore[arg-type]
        connection.rollback()


def test_a_percentile_is_off_by_less_than_the_width_of_a_bucket() -> None:
    chance = random.Random(3)
    durations = [chance.lognormvariate(6, 1.2) for _ in range(5000)]
    buckets: dict[int, int] = {}
    for duration in durations:
        bucket = next(number for number in range(200) if duration < 1.15**number)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    ordered = sorted(durations)
    for share in (0.1, 0.5, 0.95, 0.99):
        assert ordered[int(share * 5000)] == pytest.approx(percentile(buckets, share), rel=0.05)
    assert None is percentile({}, 0.5)


@pytest.mark.parametrize("duration", [0.0, 0.99, 1.0, 1.16, 850.0, 3600_000.0])
def test_a_duration_is_in_the_bucket_that_its_column_names(log: ToolLog, duration: float) -> None:
    with log.engine.begin() as connection:
        connection.execute(sa.update(tool_result).where(tool_result.c.id == 1).values(latency_ms=duration))
        connection.execute(sa.update(tool_result).where(tool_result.c.id > 1).values(latency_ms=None))
    with log.engine.connect() as connection:
        (row,) = (row for row in tallied(connection, "latencies", ("what", "bucket")) if row["what"] == "tool")
    assert 1 == row["n"]
    assert duration < 1.15 ** row["bucket"] or row["bucket"] == 96
    assert row["bucket"] == 0 or duration >= 1.15 ** (row["bucket"] - 1)


def test_postgresql_notes_and_counts_the_same(tmp_path: Path) -> None:
    with (
        postgres() as server,
        database(server, "tallies") as url,
        ToolLog.open(url, read_only=False) as there,
        ToolLog.open(tmp_path / "t.db", read_only=False) as here,
    ):
        write_days(there)
        write_days(here)
        assert all_counts(here) == all_counts(there)
        assert 4 == fold_changed(there.engine)
        assert all_counts(here) == all_counts(there)
        for change in CHANGES.values():
            for log in (here, there):
                with log.engine.begin() as connection:
                    connection.execute(change)
            assert all_counts(here) == all_counts(there)
        with there.engine.begin() as other, there.engine.begin() as connection:
            other.execute(sa.update(exchange).where(exchange.c.id == 3).values(outcome="timeout"))
            connection.execute(sa.delete(tally_change))
        with there.engine.connect() as connection:  # what was not committed while others counted is noted after
            assert 1 == len(changed_days(connection))
