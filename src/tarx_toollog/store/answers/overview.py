"""What a part of the log adds up to: the figures of the first page and of ``toollog report``.

Counts come from the tallies, so that they are as quick for a million calls as for a thousand. A tally tells apart by
some columns only; what it cannot say by tool or model is None here, and never the figure of something else. For filters
of which no tally knows anything (an outcome, a label …) all is counted from the rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.answers.overview_rows import RowCounter
from tarx_toollog.store.answers.tools import is_tallied
from tarx_toollog.store.filters import Filters, build_ids
from tarx_toollog.store.schema import BUILD_NAME, conversation, exchange, gap, tool_result
from tarx_toollog.store.tallies import Kind, Period, Row, percentile, tallied
from tarx_toollog.store.where import heeding

MAX_BINS = 35
"""Stretches of time that one chart shows side by side: five weeks of days."""
FULL = 10
"""The tenth of the context in which a prompt fills all of it, or is too long."""
TIMED_TOOLS = 15
"""Tools of which is told how long they took: those called most."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Calls:
    """Counts of calls. A call may be wrong in several ways, so the kinds add up to more than ``bad``."""

    n: int = 0
    bad: int = 0
    """Wrong in themselves: one of the next five, or nearly JSON."""
    invalid: int = 0
    schema: int = 0
    not_offered: int = 0
    cut_off: int = 0
    leaked: int = 0
    error_results: int = 0
    failed: int = 0
    """Bad, or came back with an error."""
    unanswered: int = 0
    """Not bad, and without a result."""

    @property
    def only_errors(self) -> int:
        """Calls that were right and came back with an error."""
        return self.failed - self.bad

    @property
    def ok(self) -> int:
        """Calls that were right and did not come back with an error, with the result seen where there is one."""
        return self.n - self.failed - self.unanswered


@dataclass(frozen=True, slots=True)
class Tokens:
    """Prompt tokens of exchanges, and what they were spent on."""

    n_exchanges: int = 0
    input_tokens: int = 0
    tool_tokens: int = 0
    system_tokens: int = 0
    history_tokens: int = 0
    new_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Counts of the exchanges that the model itself answered."""

    n: int
    by_outcome: Mapping[str, int]
    by_fill: Mapping[int | None, int]
    """Tenths of the context that the prompt took, ``FULL``: all of it or more; None: not known."""
    truncated: int
    poisoned: int
    tokens: Tokens
    tokens_by_week: Mapping[date, Tokens]
    """By the Monday that the week begins with."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Counts of turns."""

    n: int = 0
    clean: int = 0
    """Answered without a bad call, an error or a call without a result."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something took, in milliseconds: the time that 50, 95 and 99 % did not exceed."""

    n: int
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """The calls of some days."""

    first: date
    end: date
    """The day after the last one."""
    calls: Calls


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the whole log can be trusted, whatever part of it the rest is about."""

    lost: Mapping[str, int]
    """Exchanges that capture could not keep, by the kind of the gap."""
    open: int
    """They run, or their process was just killed."""
    interrupted: int
    results_without_call: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """What a part of the log adds up to. None: no tally can say it under these filters."""

    period: Period
    calls: Calls
    times: Sequence[Stretch]
    tools: Mapping[str, Calls]
    """Most failures first."""
    depths: Mapping[int, Calls]
    """By the step within the turn, from 1."""
    exchanges: Exchanges | None
    turns: Mapping[int, Turns] | None
    """By the number of calls."""
    answers: Mapping[str, Durations] | None
    """``first_byte`` and ``total``: how long the model took."""
    tool_times: Mapping[str, Durations] | None
    """How long the ``TIMED_TOOLS`` took, as far as the log can see; most used first."""
    conversations: int | None
    """Those whose latest exchange is in the period."""
    health: Health


@dataclass(frozen=True, slots=True)
class Choices:
    """What the filters may be set to."""

    tools: Sequence[str]
    """Most called first."""
    models: Sequence[str]
    builds: Sequence[str]


def whole_days(filters: Filters) -> Period:
    """Return the period of filters, in whole days (UTC), as far as it has ends: only those are counted already."""
    since, until = filters.since, filters.until
    if since is not None:
        since = _midnight(since)
    if until is not None and _midnight(until) != until:
        until = _midnight(until) + _DAY
    return Period(since, until)


def report_period(filters: Filters) -> Period:
    """Return the period of filters as it is, or in whole days where it is so long that a part of one tells little."""
    since, until = filters.since, filters.until
    is_short = since is not None and (until or datetime.now(UTC)) - since <= 2 * _DAY
    return Period(since, until) if is_short else whole_days(filters)


def overview(engine: sa.Engine, filters: Filters, period: Period | None = None, *, at_once: bool = False) -> Overview:
    """Return the figures of a part of the log.

    Args:
        engine: May only read.
        filters: Which part; ``limit`` does not matter.
        period: Which times instead of those of the filters.
        at_once: Whether somebody waits: refuse what would take long.

    Raises:
        ConfigError: It would, or a condition of the filters is wrong.
    """
    period = Period(filters.since, filters.until) if period is None else period
    with engine.connect() as connection, heeding(connection, filters.where):
        filters = replace(filters, since=period.since, until=period.until)
        counter = _Counter(
            connection,
            filters,
            period,
            None if is_tallied(filters) else RowCounter(connection, filters, only_few=at_once),
        )
        by_depth = counter.calls("step_no")
        tools = counter.calls("tool")
        return Overview(
            period=period,
            calls=_total(tools.values()),
            times=_stretches({date.fromisoformat(day): calls for day, calls in counter.calls("day").items()}, period),
            tools=dict(sorted(tools.items(), key=lambda item: (-item[1].failed, -item[1].n, item[0]))),
            depths={depth: calls for depth, calls in by_depth.items() if depth is not None},
            exchanges=counter.exchanges(),
            turns=counter.turns(),
            answers=counter.answers(),
            tool_times=counter.tool_times(sorted(tools, key=lambda tool: -tools[tool].n)[:TIMED_TOOLS]),
            conversations=counter.conversations(),
            health=_health(connection),
        )


class _Counter:
    """Asks about one part of the log: the tallies, where they can tell, and else the rows."""

    def __init__(
        self, connection: sa.Connection, filters: Filters, period: Period, from_rows: RowCounter | None
    ) -> None:
        self._connection = connection
        self._filters = filters
        self._period = period
        self._from_rows = from_rows
        self._where: dict[str, Collection[Any]] = {}
        if filters.builds:
            self._where["model_build_id"] = connection.scalars(build_ids(filters)).all()

    def _rows(self, kind: Kind, by: Sequence[str], **where: Collection[Any]) -> list[Row]:
        if self._from_rows is not None:
            return self._from_rows.counted(kind, by)
        chosen = self._where | {name: values for name, values in where.items() if values}
        return tallied(self._connection, kind, by, period=self._period, where=chosen)

    def calls(self, by: str) -> dict[Any, Calls]:
        rows = self._rows("calls", (by,), tool=self._filters.tools, model=self._filters.models)
        return {row[by]: _calls(row) for row in rows}

    def exchanges(self) -> Exchanges | None:
        if self._filters.tools and self._from_rows is None:
            return None
        kinds = self._rows("exchanges", ("outcome", "fill"), model=self._filters.models)
        by_outcome: dict[str, int] = {}
        by_fill: dict[int | None, int] = {}
        for row in kinds:
            by_outcome[row["outcome"]] = by_outcome.get(row["outcome"], 0) + row["n_exchanges"]
            by_fill[row["fill"]] = by_fill.get(row["fill"], 0) + row["n_exchanges"]
        weeks: dict[date, list[Row]] = {}
        for row in self._rows("exchanges", ("day",), model=self._filters.models):
            weeks.setdefault(_monday(date.fromisoformat(row["day"])), []).append(row)
        return Exchanges(
            n=sum(by_outcome.values()),
            by_outcome=by_outcome,
            by_fill=by_fill,
            truncated=sum(row["n_truncated"] for row in kinds),
            poisoned=sum(row["n_poisoned"] for row in kinds),
            tokens=_tokens(kinds),
            tokens_by_week={monday: _tokens(rows) for monday, rows in weeks.items()},
        )

    def turns(self) -> dict[int, Turns] | None:
        if (self._filters.tools or self._filters.models) and self._from_rows is None:
            return None
        rows = self._rows("turns", ("chain_length",))
        return {row["chain_length"]: Turns(row["n_turns"], row["n_clean"]) for row in rows}

    def answers(self) -> dict[str, Durations] | None:
        if self._filters.tools and self._from_rows is None:
            return None
        return self._durations("what", ("first_byte", "total"), self._filters.models)

    def tool_times(self, tools: Sequence[str]) -> dict[str, Durations] | None:
        if self._filters.models and self._from_rows is None:
            return None
        found = self._durations("name", ("tool",), tools)
        return {tool: found[tool] for tool in tools if tool in found}

    def _durations(self, by: str, whats: Sequence[str], names: Collection[str]) -> dict[str, Durations]:
        found: dict[str, dict[int, int]] = {}
        for row in self._rows("latencies", (by, "bucket"), what=whats, name=names):
            found.setdefault(row[by], {})[row["bucket"]] = row["n"]
        return {key: _measured(buckets) for key, buckets in found.items()}

    def conversations(self) -> int | None:
        """Return how many had their latest exchange in the period."""
        if self._from_rows is not None:
            return self._from_rows.conversations()
        if self._filters.tools or self._filters.models or self._filters.builds:
            return None
        query = sa.select(sa.func.count()).select_from(conversation)
        if self._period.since is not None:
            query = query.where(conversation.c.last_at >= self._period.since)
        if self._period.until is not None:
            query = query.where(conversation.c.last_at < self._period.until)
        return self._connection.scalar(query) or 0


def _calls(row: Row) -> Calls:
    return Calls(
        n=row["n_calls"],
        bad=row["n_bad"],
        invalid=row["n_invalid"],
        schema=row["n_schema"],
        not_offered=row["n_not_offered"],
        cut_off=row["n_incomplete"],
        leaked=row["n_leaked"],
        error_results=row["n_error_results"],
        failed=row["n_failed"],
        unanswered=row["n_unanswered"],
    )


def _total(counts: Iterable[Calls]) -> Calls:
    known = list(counts)
    return Calls(*(sum(getattr(one, field.name) for one in known) for field in fields(Calls)))


def _tokens(rows: Iterable[Row]) -> Tokens:
    known = list(rows)
    names = [field.name for field in fields(Tokens)]
    return Tokens(*(sum(row[name] for row in known) for name in names))


def _measured(buckets: Mapping[int, int]) -> Durations:
    return Durations(sum(buckets.values()), *(percentile(buckets, share) for share in (0.5, 0.95, 0.99)))


def _stretches(days: Mapping[date, Calls], period: Period) -> list[Stretch]:
    """Return the period in days, or weeks, months or years where those would be too many; days without calls, too."""
    if not days:
        return []
    first, last = min(days), max(days)
    if period.since is not None:
        first = min(first, period.since.astimezone(UTC).date())
    starts = _starts(first, last)
    ends = [*starts[1:], last + _DAY]
    return [
        Stretch(start, end, _total(calls for day, calls in days.items() if start <= day < end))
        for start, end in zip(starts, ends, strict=True)
    ]


def _starts(first: date, last: date) -> list[date]:
    """Return the days on which the bins begin: each day, each Monday, the first of each month, or of each year."""
    days = [first + number * _DAY for number in range((last - first).days + 1)]
    bins = (
        days,
        [day for day in days if day == first or day.weekday() == 0],
        [day for day in days if day == first or day.day == 1],
    )
    years = [day for day in days if day == first or (day.month, day.day) == (1, 1)]
    return next((starts for starts in bins if len(starts) <= MAX_BINS), years)


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _health(connection: sa.Connection) -> Health:
    lost = sa.select(gap.c.kind, sa.func.sum(gap.c.n)).group_by(gap.c.kind).order_by(gap.c.kind)
    # The first condition is that of the index, and says nothing new.
    unfinished = (exchange.c.outcome != "completed", exchange.c.outcome.in_(("open", "interrupted")))
    by_outcome = sa.select(exchange.c.outcome, sa.func.count()).where(*unfinished).group_by(exchange.c.outcome)
    outcomes: dict[str, int] = {row[0]: row[1] for row in connection.execute(by_outcome)}
    unpaired = sa.select(sa.func.count()).select_from(tool_result).where(tool_result.c.tool_call_id.is_(None))
    live = sa.select(exchange.c.started_at).where(exchange.c.run_id.is_(None)).limit(1)
    return Health(
        lost={row[0]: row[1] for row in connection.execute(lost)},
        open=outcomes.get("open", 0),
        interrupted=outcomes.get("interrupted", 0),
        results_without_call=connection.scalar(unpaired) or 0,
        first_at=connection.scalar(live.order_by(exchange.c.started_at)),
        last_at=connection.scalar(live.order_by(exchange.c.started_at.desc())),
    )


def choices(engine: sa.Engine) -> Choices:
    """Return what the filters may be set to."""
    with engine.connect() as connection:
        calls = tallied(connection, "calls", ("tool",))
        models = {row["model"] for row in tallied(connection, "exchanges", ("model",))}
        return Choices(
            tools=[row["tool"] for row in sorted(calls, key=lambda row: (-row["n_calls"], row["tool"]))],
            models=sorted(model for model in models if model is not None),
            builds=list(connection.scalars(sa.select(BUILD_NAME).distinct().order_by(BUILD_NAME))),
        )
