"""Counting the log by day, keeping what was counted, and adding it up: figures about a month without reading a month.

*Theory.* A question about totals ("which tools fail?") would read every call there is. So each day is counted once and
kept (``schema.tallies``). What a trigger has noted in ``tally_change`` has changed since; such a day, and the parts of
days at the ends of a period, are counted afresh each time, by the same statements. An answer is therefore always that
of the rows themselves: the tallies only make it quick.

``fold`` keeps the count of days that have changed. It may run in any process that may write, at any time.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from tarx_toollog.model import Outcome
from tarx_toollog.store.schema import (
    call_tally,
    exchange,
    exchange_tally,
    latency_tally,
    tally_change,
    tool_call,
    tool_result,
    toolset_tally,
    turn,
    turn_tally,
)
from tarx_toollog.store.types import UtcDateTime

Row = dict[str, Any]
Kind = Literal["calls", "exchanges", "turns", "latencies", "toolsets"]

RATIO = 1.15
"""Between the ends of a bucket of durations: a percentile is off by less than that."""
_BUCKETS = 96  # the last one begins at ten minutes
_FULL = 10  # tenths of the context
_ZERO: sa.ColumnElement[int] = sa.literal_column("0")
_ONE: sa.ColumnElement[int] = sa.literal_column("1")


class Period(NamedTuple):
    """From a moment on, and up to another, without it; None: no bound."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Tally:
    """How one kind is counted, kept and added up."""

    table: sa.Table
    counted: Callable[[], Sequence[sa.Select[Any]]]
    """Statements with the parameters ``since`` and ``until`` that give the columns of the table, day and key apart."""
    by: tuple[str, ...]
    """Columns that tell rows apart."""
    highest: tuple[str, ...] = ()
    """Columns of which the highest holds; of the others the sum."""
    lowest: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.table.columns if column.name not in ("id", "day"))

    def aggregate(self, name: str) -> sa.ColumnElement[Any]:
        column = self.table.c[name]
        if name in self.highest:
            return sa.func.max(column)
        return sa.func.min(column) if name in self.lowest else sa.func.sum(column)


def changed_days(connection: sa.Connection) -> list[str]:
    """Return the days that have changed since they were counted, in order."""
    return list(connection.scalars(sa.select(tally_change.c.day).distinct().order_by(tally_change.c.day)))


def fold(connection: sa.Connection, day: str) -> None:
    """Count a day and keep the count, inside the caller's transaction."""
    # First the notes: on PostgreSQL a row that another process commits from here on leaves a note that stays.
    connection.execute(sa.delete(tally_change).where(tally_change.c.day == day))
    since = datetime.combine(date.fromisoformat(day), time(), UTC)
    period = {"since": since, "until": since + timedelta(days=1)}
    for kind in _kinds().values():
        connection.execute(sa.delete(kind.table).where(kind.table.c.day == day))
        for query in kind.counted():
            named = query.add_columns(sa.literal(day, sa.String).label("day"))
            connection.execute(sa.insert(kind.table).from_select([*kind.columns, "day"], named), period)


def fold_changed(
    engine: sa.Engine, *, at_most: int | None = None, counted: Callable[[int, int], None] = lambda done, of: None
) -> int:
    """Keep the count of the days that have changed, each in a transaction of its own; return how many there were.

    Args:
        engine: May write.
        at_most: Days, the latest first; all when left out.
        counted: Called after each day with how many are done, and of how many.
    """
    with engine.connect() as connection:
        days = changed_days(connection)[::-1][:at_most]
    for done, day in enumerate(days, 1):
        with engine.begin() as connection:
            fold(connection, day)
        counted(done, len(days))
    return len(days)


def tallied(
    connection: sa.Connection,
    kind: Kind,
    by: Sequence[str],
    *,
    period: Period = Period(),  # noqa: B008 - a tuple
    where: Mapping[str, Collection[Any]] | None = None,
) -> list[Row]:
    """Return the counts of a period, one row for each combination of the columns ``by``, in their order.

    Args:
        connection: One transaction, so that kept and fresh counts are of the same moment.
        kind: What is counted.
        by: Columns of the tally that tell rows apart; ``day`` is one, too.
        period: From when to when.
        where: Column → the values that count.
    """
    tally = _kinds()[kind]
    wanted = {name: frozenset(values) for name, values in (where or {}).items()}
    merged: dict[tuple[Any, ...], Row] = {}
    measures = [name for name in tally.columns if name not in tally.by]
    for row in _parts(connection, tally, by, period, wanted):
        if all(name not in row or row[name] in values for name, values in wanted.items()):
            _merge(tally, measures, merged, row, by)
    return [merged[key] for key in sorted(merged, key=_sortable)]


def _parts(
    connection: sa.Connection, tally: _Tally, by: Sequence[str], period: Period, wanted: Mapping[str, frozenset[Any]]
) -> Iterator[Row]:
    """Yield rows from what is kept, and from what has to be counted now."""
    changed = changed_days(connection)
    first, end = _whole_days(period)
    day = tally.table.c.day
    kept = sa.select(
        *(tally.table.c[name] for name in by),
        *(tally.aggregate(name).label(name) for name in tally.columns if name not in tally.by),
    ).group_by(*(tally.table.c[name] for name in by))
    bounds = [] if first is None else [day >= first]
    bounds += [] if end is None else [day < end]
    is_kept = day.not_in(changed) if changed else sa.true()
    values = (tally.table.c[name].in_(found) for name, found in wanted.items())  # None is never meant
    for row in connection.execute(kept.where(*bounds, is_kept, *values)):
        yield row._asdict()
    for one, since, until in _fresh(changed, period, first, end):
        for query in tally.counted():
            for row in connection.execute(query, {"since": since, "until": until}):
                yield row._asdict() | {"day": one}


def _whole_days(period: Period) -> tuple[str | None, str | None]:
    """Return the first day that is in a period from its beginning, and the day before which the last one ends."""
    since, until = period
    first = None
    if since is not None:
        begins = since.astimezone(UTC)
        at_midnight = begins.time() == time()
        first = (begins.date() + timedelta(days=0 if at_midnight else 1)).isoformat()
    return first, None if until is None else until.astimezone(UTC).date().isoformat()


def _fresh(
    changed: Sequence[str], period: Period, first: str | None, end: str | None
) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield the periods, each within one day, that have to be counted now."""
    days = {day for day in changed if (first is None or day >= first) and (end is None or day < end)}
    ends = [moment.astimezone(UTC) for moment in period if moment is not None]
    days |= {moment.date().isoformat() for moment in ends if moment.time() != time()}
    for day in sorted(days):
        since = datetime.combine(date.fromisoformat(day), time(), UTC)
        until = since + timedelta(days=1)
        since = since if period.since is None else max(since, period.since)
        until = until if period.until is None else min(until, period.until)
        if since < until:
            yield day, since, until


def _merge(
    tally: _Tally, measures: Sequence[str], merged: dict[tuple[Any, ...], Row], row: Row, by: Sequence[str]
) -> None:
    key = tuple(row[name] for name in by)
    known = merged.get(key)
    if known is None:
        merged[key] = {name: row[name] for name in (*by, *measures)}
        return
    for name in measures:
        both = [value for value in (known[name], row[name]) if value is not None]
        pick: Callable[[Any], Any] = max if name in tally.highest else min if name in tally.lowest else sum
        known[name] = pick(both) if both else None


def _sortable(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((value is not None, value if value is not None else 0) for value in key)


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the duration in milliseconds that a share of durations does not exceed; None where there are none.

    Within a bucket durations are taken to lie evenly.

    Args:
        buckets: Durations by bucket, as ``latency_tally`` counts them.
        share: 0–1.

    Example:
        >>> round(percentile({0: 1, 50: 2, 60: 1}, 0.5))
        1007
    """
    total = sum(buckets.values())
    wanted, seen = share * total, 0
    for bucket in sorted(buckets):
        if seen + buckets[bucket] >= wanted and buckets[bucket]:
            begins = RATIO ** (bucket - 1) if bucket else 0.0
            return begins + (RATIO**bucket - begins) * (wanted - seen) / buckets[bucket]
        seen += buckets[bucket]
    return None


# ---- counting -------------------------------------------------------------------------------------------------------


def _sum(condition: Any) -> sa.ColumnElement[Any]:
    return sa.func.sum(sa.case((condition, _ONE), else_=_ZERO))


def _total(column: Any) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(sa.func.sum(column), _ZERO)


def _within(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    since, until = (sa.bindparam(name, type_=UtcDateTime) for name in ("since", "until"))
    return sa.and_(column >= since, column < until)


def _bucket(duration: sa.ColumnElement[Any], low: int = 0, high: int = _BUCKETS) -> sa.ColumnElement[Any]:
    """Return the bucket of a duration: a search that halves, since not every SQLite has logarithms."""
    if high == low:
        return sa.literal_column(str(low))
    middle = (low + high) // 2
    bound: sa.ColumnElement[float] = sa.literal_column(repr(RATIO**middle))
    return sa.case((duration < bound, _bucket(duration, low, middle)), else_=_bucket(duration, middle + 1, high))


MODEL = sa.func.coalesce(exchange.c.response_model, exchange.c.request_model)
IS_LEAKED = tool_call.c.origin == "leaked_text"
IS_GOOD = sa.and_(
    tool_call.c.argument_state.in_([sa.literal_column("'ok'"), sa.literal_column("'empty'")]),
    tool_call.c.schema_state != sa.literal_column("'fail'"),
    tool_call.c.offered,
    tool_call.c.complete,
    tool_call.c.origin != sa.literal_column("'leaked_text'"),
)
"""Whether a call is right in itself; matches ``is_bad`` of ``v_tool_calls``."""
_LIVE_CALLS = exchange.join(tool_call, tool_call.c.exchange_id == exchange.c.id).outerjoin(
    tool_result, tool_result.c.tool_call_id == tool_call.c.id
)
_IS_LIVE = sa.and_(exchange.c.run_id.is_(None), _within(exchange.c.started_at))
_ANSWERED_BY_MODEL = sa.and_(_IS_LIVE, exchange.c.n_inner == 0)


@cache
def _calls() -> Sequence[sa.Select[Any]]:
    by = (tool_call.c.name, MODEL, exchange.c.model_build_id, tool_call.c.step_no)
    is_error = sa.func.coalesce(tool_result.c.is_error, sa.false())
    is_unanswered = sa.and_(tool_result.c.id.is_(None), tool_call.c.origin != "server_side")
    columns = {
        "n_calls": sa.func.count(),
        "n_bad": _sum(~IS_GOOD),
        "n_invalid": _sum(tool_call.c.argument_state == "invalid"),
        "n_schema": _sum(tool_call.c.schema_state == "fail"),
        "n_not_offered": _sum(~tool_call.c.offered),
        "n_incomplete": _sum(~tool_call.c.complete),
        "n_leaked": _sum(IS_LEAKED),
        "n_results": sa.func.count(tool_result.c.id),
        "n_error_results": _sum(is_error),
        "n_failed": _sum(sa.or_(~IS_GOOD, is_error)),
        "n_unanswered": _sum(sa.and_(IS_GOOD, is_unanswered)),
        "n_latencies": sa.func.count(tool_result.c.latency_ms),
        "latency_ms": _total(tool_result.c.latency_ms),
        "max_latency_ms": sa.func.max(tool_result.c.latency_ms),
        "first_at": sa.func.min(exchange.c.started_at, type_=UtcDateTime),
        "last_at": sa.func.max(exchange.c.started_at, type_=UtcDateTime),
    }
    names = ("tool", "model", "model_build_id", "step_no")
    return (_grouped(names, by, columns, _LIVE_CALLS, _IS_LIVE),)


@cache
def _exchanges() -> Sequence[sa.Select[Any]]:
    fill = exchange.c.input_tokens * 10 // sa.func.nullif(exchange.c.ctx_limit, 0, type_=sa.Integer)
    fill = sa.case((fill >= _FULL, sa.literal_column(str(_FULL))), else_=fill)
    columns = {
        "n_exchanges": sa.func.count(),
        "n_truncated": _sum(exchange.c.truncation.in_(["reported", "suspected"])),
        "n_poisoned": _sum(exchange.c.poisoned),
        **{
            name: _total(exchange.c[name])
            for name in (
                "input_tokens",
                "output_tokens",
                "tool_tokens",
                "system_tokens",
                "history_tokens",
                "new_tokens",
            )
        },
    }
    by = (MODEL, exchange.c.model_build_id, exchange.c.outcome, fill)
    return (_grouped(("model", "model_build_id", "outcome", "fill"), by, columns, exchange, _ANSWERED_BY_MODEL),)


@cache
def _turns() -> Sequence[sa.Select[Any]]:
    wrong = turn.c.n_bad_calls + turn.c.n_leaked + turn.c.n_error_results + turn.c.n_unanswered
    columns = {
        "n_turns": sa.func.count(),
        "n_clean": _sum(sa.and_(turn.c.status == "answered", wrong == 0)),
        "n_with_calls": _sum(turn.c.chain_length + turn.c.n_leaked > 0),
    }
    source = turn.outerjoin(exchange, exchange.c.id == turn.c.last_exchange_id)
    by = (exchange.c.model_build_id, turn.c.chain_length, turn.c.status)
    return (_grouped(("model_build_id", "chain_length", "status"), by, columns, source, _within(turn.c.started_at)),)


@cache
def _latencies() -> Sequence[sa.Select[Any]]:
    names = ("what", "name", "model_build_id", "bucket")
    made = []
    of_answers = (("first_byte", exchange.c.first_byte_ms), ("total", exchange.c.total_ms))
    for what, name, source, duration, live in (
        ("tool", tool_call.c.name, _LIVE_CALLS, tool_result.c.latency_ms, _IS_LIVE),
        *((what, MODEL, exchange, column, _ANSWERED_BY_MODEL) for what, column in of_answers),
    ):
        told: sa.ColumnElement[str] = sa.literal_column(f"'{what}'")
        by = (told, name, exchange.c.model_build_id, _bucket(duration))
        condition = sa.and_(live, duration.is_not(None))
        if what != "tool":  # an answer that did not come took no time that means anything
            condition = sa.and_(condition, exchange.c.outcome == Outcome.COMPLETED)
        made.append(_grouped(names, by, {"n": sa.func.count()}, source, condition))
    return made


@cache
def _toolsets() -> Sequence[sa.Select[Any]]:
    columns = {
        "n_exchanges": sa.func.count(),
        "first_at": sa.func.min(exchange.c.started_at, type_=UtcDateTime),
        "last_at": sa.func.max(exchange.c.started_at, type_=UtcDateTime),
    }
    return (_grouped(("toolset_id",), (exchange.c.toolset_id,), columns, exchange, _IS_LIVE),)


def _grouped(
    names: Sequence[str],
    by: Sequence[sa.ColumnElement[Any]],
    columns: Mapping[str, sa.ColumnElement[Any]],
    source: sa.FromClause,
    condition: sa.ColumnElement[bool],
) -> sa.Select[Any]:
    told = [column.label(name) for name, column in zip(names, by, strict=True)]
    counted = [column.label(name) for name, column in columns.items()]
    places = ", ".join(str(place) for place in range(1, len(told) + 1))
    return sa.select(*told, *counted).select_from(source).where(condition).group_by(sa.text(places))


@cache
def _kinds() -> Mapping[Kind, _Tally]:
    return {
        "calls": _Tally(
            call_tally,
            _calls,
            ("tool", "model", "model_build_id", "step_no"),
            highest=("max_latency_ms", "last_at"),
            lowest=("first_at",),
        ),
        "exchanges": _Tally(exchange_tally, _exchanges, ("model", "model_build_id", "outcome", "fill")),
        "turns": _Tally(turn_tally, _turns, ("model_build_id", "chain_length", "status")),
        "latencies": _Tally(latency_tally, _latencies, ("what", "name", "model_build_id", "bucket")),
        "toolsets": _Tally(toolset_tally, _toolsets, ("toolset_id",), highest=("last_at",), lowest=("first_at",)),
    }
