"""How each tool is called and what goes wrong, in figures: for the lists of the command line and of the pages.

The figures are those of ``v_tool_stats``. They come from the tallies, so that a log of any size answers at once; what a
tally does not tell apart (a conversation, an outcome, a split …) is counted from the calls themselves.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.few import among_keys, few_exchanges
from tarx_toollog.store.filters import Filters, build_ids, exchange_conditions
from tarx_toollog.store.schema import BUILD_NAME, exchange, model_build, tool_call, tool_result
from tarx_toollog.store.tallies import IS_GOOD, IS_LEAKED, MODEL, Period, Row, percentile, tallied
from tarx_toollog.store.where import heeding, read_where, where_on_call

_BY = ("tool", "model", "model_build_id")
_SUMS = {
    "calls": "n_calls",
    "bad_calls": "n_bad",
    "invalid_arguments": "n_invalid",
    "schema_failures": "n_schema",
    "not_offered": "n_not_offered",
    "incomplete": "n_incomplete",
    "leaked": "n_leaked",
    "results": "n_results",
    "error_results": "n_error_results",
}
"""Column of the view → that of the tally."""


def tool_stats(engine: sa.Engine, filters: Filters) -> list[Row]:
    """Return the rows of ``v_tool_stats`` over the calls that are meant, most called first."""
    with engine.connect() as connection:
        counted = _counted(connection, filters)
        builds = {row[0]: row[1] for row in connection.execute(sa.select(model_build.c.id, BUILD_NAME))}
    for row in counted:
        row["build"] = builds.get(row["model_build_id"])
    found = [_stats(row) for row in _merged(counted, ("tool", "model", "build"))]
    found.sort(key=lambda row: (-row["calls"], row["tool"], row["model"] or "", row["build"] or ""))
    return found[: filters.limit]


def tool_totals(connection: sa.Connection, filters: Filters) -> list[Row]:
    """Return the same with one row a tool, and with what a page adds up: ``n_failed``, ``n_unanswered``."""
    found = [
        _stats(row) | {"failed": row["n_failed"], "unanswered": row["n_unanswered"]}
        for row in _merged(_counted(connection, filters), ("tool",))
    ]
    found.sort(key=lambda row: (-row["calls"], row["tool"]))
    return found[: filters.limit]


def listed_tools(engine: sa.Engine, filters: Filters) -> list[Row]:
    """Return ``tool_totals`` with ``p50_ms``, ``p95_ms`` and ``p99_ms``; None where tallies do not know them."""
    with engine.connect() as connection:
        found = tool_totals(connection, filters)
        buckets = latency_buckets(connection, filters)
    return [row | percentiles(buckets.get(row["tool"], {})) for row in found]


def latency_buckets(connection: sa.Connection, filters: Filters) -> dict[str, dict[int, int]]:
    """Return how long the results of each tool took, as ``tallies.percentile`` takes it; nothing where it is not known.

    Tallies of latencies tell builds apart, and not models.
    """
    if filters.models or not is_tallied(filters):
        return {}
    where: dict[str, Collection[Any]] = {"what": ["tool"]}
    if filters.tools:
        where["name"] = filters.tools
    if filters.builds:
        where["model_build_id"] = build_keys(connection, filters)
    found: dict[str, dict[int, int]] = {}
    for row in tallied(connection, "latencies", ("name", "bucket"), period=period_of(filters), where=where):
        found.setdefault(row["name"], {})[row["bucket"]] = row["n"]
    return found


def percentiles(buckets: Mapping[int, int]) -> dict[str, float | None]:
    """Return the durations in milliseconds that a half, 95 % and 99 % of results do not exceed."""
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    return {name: rounded(percentile(buckets, share), 0) for name, share in shares.items()}


def period_of(filters: Filters) -> Period:
    """Return the period that is meant."""
    return Period(filters.since, filters.until)


def is_tallied(filters: Filters) -> bool:
    """Say whether tallies tell apart all that the filters do."""
    none = frozenset[str]()
    rest = replace(filters, since=None, until=None, tools=none, models=none, builds=none, limit=None)
    return rest == Filters()


def tally_values(connection: sa.Connection, filters: Filters) -> dict[str, Collection[Any]]:
    """Return the condition of ``tallied`` on calls that says what the filters say of tools, models and builds."""
    where: dict[str, Collection[Any]] = {}
    if filters.tools:
        where["tool"] = filters.tools
    if filters.models:
        where["model"] = filters.models
    if filters.builds:
        where["model_build_id"] = build_keys(connection, filters)
    return where


def build_keys(connection: sa.Connection, filters: Filters) -> list[int]:
    """Return the keys of the builds that are meant."""
    return list(connection.scalars(build_ids(filters)))


def call_conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on ``tool_call`` joined with ``exchange``, for calls of these tools and these models."""
    none = frozenset[str]()
    found = exchange_conditions(replace(filters, tools=none, models=none, where=None))
    if filters.where is not None:
        found.append(where_on_call(read_where(filters.where)))
    if filters.models:
        found.append(MODEL.in_(sorted(filters.models)))
    if filters.tools:
        found.append(tool_call.c.name.in_(sorted(filters.tools)))
    return found


def rounded(value: float | None, digits: int) -> float | None:
    """Return a number as the databases round it: a half goes up."""
    if value is None:
        return None
    return float(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def _counted(connection: sa.Connection, filters: Filters) -> list[Row]:
    """Return the measures of the tally of calls by tool, model and key of the build."""
    if is_tallied(filters):
        where = tally_values(connection, filters)
        return tallied(connection, "calls", _BY, period=period_of(filters), where=where)
    with heeding(connection, filters.where):
        keys = few_exchanges(connection, filters)
        few = [] if keys is None else [among_keys(tool_call.c.exchange_id, keys)]
        return [row._asdict() for row in connection.execute(_count().where(*few, *call_conditions(filters)))]


def _count() -> sa.Select[Any]:
    """Return the query that counts calls themselves."""

    def total(condition: Any) -> sa.ColumnElement[Any]:
        return sa.func.sum(sa.case((condition, 1), else_=0))

    is_error = sa.func.coalesce(tool_result.c.is_error, sa.false())
    by = (tool_call.c.name.label("tool"), MODEL.label("model"), exchange.c.model_build_id)
    source = tool_call.join(exchange, exchange.c.id == tool_call.c.exchange_id).outerjoin(
        tool_result, tool_result.c.tool_call_id == tool_call.c.id
    )
    return (
        sa.select(
            *by,
            sa.func.count().label("n_calls"),
            total(~IS_GOOD).label("n_bad"),
            total(tool_call.c.argument_state == "invalid").label("n_invalid"),
            total(tool_call.c.schema_state == "fail").label("n_schema"),
            total(~tool_call.c.offered).label("n_not_offered"),
            total(~tool_call.c.complete).label("n_incomplete"),
            total(IS_LEAKED).label("n_leaked"),
            sa.func.count(tool_result.c.id).label("n_results"),
            total(is_error).label("n_error_results"),
            total(sa.or_(~IS_GOOD, is_error)).label("n_failed"),
            total(is_unanswered()).label("n_unanswered"),
            sa.func.count(tool_result.c.latency_ms).label("n_latencies"),
            sa.func.coalesce(sa.func.sum(tool_result.c.latency_ms), 0.0).label("latency_ms"),
            sa.func.max(tool_result.c.latency_ms).label("max_latency_ms"),
            sa.func.min(exchange.c.started_at).label("first_at"),
            sa.func.max(exchange.c.started_at).label("last_at"),
        )
        .select_from(source)
        .group_by(tool_call.c.name, MODEL, exchange.c.model_build_id)
    )


def is_unanswered() -> sa.ColumnElement[bool]:
    """Say that a call was right, and that nobody answered it."""
    return sa.and_(IS_GOOD, tool_result.c.id.is_(None), tool_call.c.origin != "server_side")


def _merged(rows: Iterable[Row], by: Collection[str]) -> list[Row]:
    """Add up the measures of rows that are alike in some columns."""
    merged: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        known = merged.setdefault(key, {name: row[name] for name in by})
        for name in row.keys() - set(_BY) - {"build"}:
            values = [value for value in (known.get(name), row[name]) if value is not None]
            pick: Any = min if name == "first_at" else max if name in ("last_at", "max_latency_ms") else sum
            known[name] = pick(values) if values else None
    return list(merged.values())


def _stats(row: Row) -> Row:
    """Return a row of the view."""
    mean = row["latency_ms"] / row["n_latencies"] if row["n_latencies"] else None
    return (
        {name: row[name] for name in ("tool", "model", "build") if name in row}
        | {name: row[measure] for name, measure in _SUMS.items()}
        | {
            "error_share": rounded(row["n_failed"] / row["n_calls"], 4),
            "mean_latency_ms": rounded(mean, 1),
            "max_latency_ms": rounded(row["max_latency_ms"], 1),
            "first_called_at": row["first_at"],
            "last_called_at": row["last_at"],
        }
    )
