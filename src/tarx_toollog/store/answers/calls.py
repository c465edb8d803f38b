"""Lists of tool calls: newest first, of one kind, in pages.

*Theory.* What people look for is rare among many calls: arguments that are no JSON, of one tool. To walk back through
a log of a million calls for it takes seconds. The tallies know on which days there are such calls, so that only these
days are looked at, one after the other, by an index. Where that takes long all the same, the page ends before it is
full, and the next one goes on from there.

Days are of the moment when the exchange began (UTC); within a day the latest that was stored comes first.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.store.answers.call_words import faults_of
from tarx_toollog.store.answers.overview import whole_days
from tarx_toollog.store.answers.tools import call_conditions, is_tallied, is_unanswered, period_of, tally_values
from tarx_toollog.store.few import among_keys, few_exchanges
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.schema import BUILD_NAME, call_uid, conversation, exchange, message, model_build
from tarx_toollog.store.schema import tool_call as tc
from tarx_toollog.store.schema import tool_result as tr
from tarx_toollog.store.tallies import IS_GOOD, IS_LEAKED, MODEL, Row, tallied
from tarx_toollog.store.where import heeding

_LOOKED_AT = 30_000
"""Calls that may be looked at for one page before it ends: a tenth of a second."""
_FEW = 5_000
"""Calls that a list may have to be found all together, whatever their days."""
_CUT = 200
"""Characters of arguments and results in a list."""
_IS_ERROR = tr.c.is_error.is_(sa.true())


@dataclass(frozen=True, slots=True)
class Kind:
    """Some calls, by how they went."""

    words: str
    condition: sa.ColumnElement[bool]
    """On a call that is joined with its exchange and its result."""
    count: Callable[[Row], int]
    """How many there are, from a row of the tally."""


KINDS: dict[str, Kind] = {
    "all": Kind("all calls", sa.true(), lambda row: row["n_calls"]),
    "failed": Kind("wrong, or with an error", ~IS_GOOD | _IS_ERROR, lambda row: row["n_failed"]),
    "bad": Kind("wrong in themselves", ~IS_GOOD, lambda row: row["n_bad"]),
    "invalid": Kind("arguments are no JSON", tc.c.argument_state == "invalid", lambda row: row["n_invalid"]),
    "schema": Kind("against the schema", tc.c.schema_state == "fail", lambda row: row["n_schema"]),
    "not_offered": Kind("not offered", ~tc.c.offered, lambda row: row["n_not_offered"]),
    "incomplete": Kind("cut off", ~tc.c.complete, lambda row: row["n_incomplete"]),
    "leaked": Kind("leaked into the text", IS_LEAKED, lambda row: row["n_leaked"]),
    "error": Kind("result is an error", _IS_ERROR, lambda row: row["n_error_results"]),
    "good_error": Kind(
        "right, but the result is an error", IS_GOOD & _IS_ERROR, lambda row: row["n_failed"] - row["n_bad"]
    ),
    "unanswered": Kind("right, but without a result", is_unanswered(), lambda row: row["n_unanswered"]),
    "ok": Kind(
        "right, with a good result",
        IS_GOOD & ~sa.func.coalesce(tr.c.is_error, sa.false()) & ~is_unanswered(),
        lambda row: row["n_calls"] - row["n_failed"] - row["n_unanswered"],
    ),
}
"""What a list of calls may be narrowed to. The kinds from ``invalid`` to ``leaked`` may overlap; ``bad``,
``good_error``, ``unanswered`` and ``ok`` are all calls, each once."""
FAULTS = ("invalid", "schema", "not_offered", "incomplete", "leaked")
"""What makes a call bad."""


class Place(NamedTuple):
    """Where a page of calls begins: behind this call."""

    day: str
    call_id: int

    @classmethod
    def parse(cls, text: str) -> "Place | None":
        """Read what ``str`` wrote; None when it is nothing of the kind.

        Example:
            >>> Place.parse("2026-05-31.12"), Place.parse("12")
            (Place(day='2026-05-31', call_id=12), None)
        """
        day, _, key = text.partition(".")
        try:
            return cls(date.fromisoformat(day).isoformat(), int(key[:18]))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.day}.{self.call_id}"


@dataclass(frozen=True, slots=True)
class CallLine:
    """One call in a list, with the beginning of its arguments and its result."""

    id: int
    uid: str
    exchange_uid: str
    conversation_uid: str | None
    turn_no: int | None
    step_no: int | None
    called_at: datetime
    tool: str
    model: str | None
    build: str | None
    arguments: str
    argument_state: str
    schema_state: str
    schema_errors: Any
    offered: bool
    complete: bool
    origin: str
    result: str | None
    is_error: bool | None
    latency_ms: float | None

    @property
    def faults(self) -> list[str]:
        """What is wrong with the call itself, in words."""
        return faults_of(self)


@dataclass(frozen=True, slots=True)
class CallPage:
    """Some calls of a list."""

    rows: Sequence[CallLine]
    after: Place | None
    """Where the next page begins; None: this is the last."""
    total: int | None
    """How many there are in all; None where only a look at each would tell."""

    @property
    def is_full(self) -> bool:
        """Whether the page ended because it was full, and not because looking took too long."""
        return self.after is None or self.after.call_id > 0


def call_page(
    engine: sa.Engine,
    filters: Filters,
    *,
    kind: str = "all",
    depth: int | None = None,
    after: Place | None = None,
    size: int = 50,
) -> CallPage:
    """Return some calls, newest first.

    Args:
        engine: May only read.
        filters: Which calls; ``limit`` does not matter.
        kind: One of ``KINDS``.
        depth: Step of the turn.
        after: Where the page before ended.
        size: Calls of a page.
    """
    with engine.connect() as connection:
        found = _places(connection, filters, kind, depth, after, size, {})
        lines = _lines(connection, [place.call_id for place in found.places])
    return CallPage(lines, found.after, found.total)


class Latest:
    """The latest calls of one part of the log, for who asks more than once about it.

    Args:
        connection: In one transaction.
        filters: Which calls.
    """

    def __init__(self, connection: sa.Connection, filters: Filters) -> None:
        self._connection = connection
        self._filters = filters
        self._bounds: _Bounds = {}

    def keys(self, size: int, kind: str = "all") -> list[int]:
        """Return the keys of the latest calls of a kind: so many, or fewer where they are rare."""
        found = _places(self._connection, self._filters, kind, None, None, size, self._bounds)
        return [place.call_id for place in found.places]


_Bounds = dict[str, tuple[int, int]]
"""Day → the lowest and the highest key of its calls; others may lie between."""


class _Found(NamedTuple):
    places: Sequence[Place]
    after: Place | None
    total: int | None


def _places(
    connection: sa.Connection,
    filters: Filters,
    kind: str,
    depth: int | None,
    after: Place | None,
    size: int,
    bounds: _Bounds,
) -> _Found:
    """Return where the calls of a page are; what is found out about days is kept in ``bounds``."""
    conditions = [KINDS[kind].condition, *call_conditions(filters)]
    if depth is not None:
        conditions.append(tc.c.step_no == depth)
    with heeding(connection, filters.where):
        if not is_tallied(filters):
            keys = few_exchanges(connection, filters)
            if keys is not None:
                return _all_of(connection, [among_keys(tc.c.exchange_id, keys), *conditions], after, size)
        where = tally_values(connection, filters) | ({} if depth is None else {"step_no": [depth]})
        # To count a part of a day takes longer than to look at calls of all of it.
        period = whole_days(filters)
        days: dict[str, dict[str, int]] = {}
        total = 0
        for row in tallied(connection, "calls", ("day", "tool"), period=period, where=where):
            if count := KINDS[kind].count(row):
                days.setdefault(row["day"], {})[row["tool"]] = row["n_calls"]
                total += count
        tools = {tool for calls in days.values() for tool in calls}
        if total <= _FEW and _are_near(connection, tools, depth):
            name = tc.c.name if depth is None else tc.c.name + ""  # the index of depths finds fewer
            return _all_of(connection, [name.in_(sorted(tools)), *conditions], after, size)
        found = _by_days(connection, days, conditions, after, size, bounds)
    return found._replace(total=total if is_tallied(filters) and period == period_of(filters) else None)


def _are_near(connection: sa.Connection, tools: Collection[str], depth: int | None) -> bool:
    """Say whether an index leads to them past few others: those of the tools, or those at a depth."""
    where: dict[str, Collection[Any]] = {"tool": tools} if depth is None else {"step_no": [depth]}
    n_calls: int = sum(row["n_calls"] for row in tallied(connection, "calls", ("tool",), where=where))
    return n_calls <= _LOOKED_AT


def _all_of(
    connection: sa.Connection, conditions: Sequence[sa.ColumnElement[bool]], after: Place | None, size: int
) -> _Found:
    """Look at all calls at once, where there are few."""
    query = sa.select(exchange.c.started_at, tc.c.id).select_from(_CALLS).where(*conditions)
    places = [Place(row.started_at.date().isoformat(), row.id) for row in connection.execute(query)]
    found = sorted((place for place in places if after is None or place < after), reverse=True)
    return _Found(found[:size], found[size - 1] if len(found) > size else None, len(places))


def _by_days(
    connection: sa.Connection,
    days: Mapping[str, Mapping[str, int]],
    conditions: Sequence[sa.ColumnElement[bool]],
    after: Place | None,
    size: int,
    bounds: _Bounds,
) -> _Found:
    """Look through days, the latest first, until a page is full or has taken long enough.

    Args:
        connection: To the database.
        days: Day → tool with such calls → all its calls of that day.
        conditions: What the calls must be like.
        after: Where the page before ended.
        size: Calls of a page.
        bounds: What is known of days.
    """
    found: list[Place] = []
    looked_at = 0
    last = None
    # A day whose end was reached counts as looked at, or a page that is tired would never get behind it.
    for day in sorted((day for day in days if after is None or (day, 0) < after), reverse=True):
        if last is not None and (len(found) > size or looked_at > _LOOKED_AT):
            return _Found(found[:size], found[size - 1] if len(found) > size else Place(last, 0), None)
        lowest, highest = bounds[day] = bounds.get(day) or _bounds_of(connection, day)
        if after is not None and after.day == day:
            highest = min(highest, after.call_id - 1)
        within = [tc.c.id.between(lowest, highest), _is_on(day), *conditions]
        ids = _on_day(connection, sorted(days[day]), within, size + 1 - len(found))
        found += [Place(day, key) for key in ids]
        looked_at += sum(days[day].values())
        last = day
    return _Found(found[:size], found[size - 1] if len(found) > size else None, None)


def _on_day(
    connection: sa.Connection, tools: Sequence[str], conditions: Sequence[sa.ColumnElement[bool]], limit: int
) -> list[int]:
    """Return the keys of calls of a day, the latest first."""
    # One tool is found by the index of names. For several it is quicker to go through the day from its end, which an
    # expression in the place of the column tells the planner.
    name = tc.c.name if len(tools) == 1 else tc.c.name + ""
    query = sa.select(tc.c.id).select_from(_CALLS).where(name.in_(tools), *conditions)
    return list(connection.scalars(query.order_by(tc.c.id.desc()).limit(limit)))


def _is_on(day: str) -> sa.ColumnElement[bool]:
    since = datetime.combine(date.fromisoformat(day), time(), UTC)
    return sa.and_(exchange.c.started_at >= since, exchange.c.started_at < since + timedelta(days=1))


def _bounds_of(connection: sa.Connection, day: str) -> tuple[int, int]:
    """Return the bounds of a day. Keys nearly follow time, so that they are narrow; two indexes tell them."""
    low, high = _range(connection, exchange.c.id, _is_on(day))
    return _range(connection, tc.c.id, tc.c.exchange_id.between(low, high))


def _range(connection: sa.Connection, column: sa.Column[int], condition: sa.ColumnElement[bool]) -> tuple[int, int]:
    found = connection.execute(sa.select(sa.func.min(column), sa.func.max(column)).where(condition)).one()
    return (1, 0) if None in found else (found[0], found[1])


_CALLS = tc.join(exchange, exchange.c.id == tc.c.exchange_id).outerjoin(tr, tr.c.tool_call_id == tc.c.id)


def _lines(connection: sa.Connection, ids: Sequence[int]) -> list[CallLine]:
    source = (
        _CALLS.outerjoin(conversation, conversation.c.id == tc.c.conversation_id)
        .outerjoin(model_build, model_build.c.id == exchange.c.model_build_id)
        .outerjoin(message, message.c.id == tr.c.message_id)
    )
    result = sa.func.coalesce(tr.c.text, message.c.text, message.c.content)
    columns = {
        "id": tc.c.id,
        "uid": call_uid(),
        "exchange_uid": exchange.c.uid,
        "conversation_uid": conversation.c.uid,
        "turn_no": tc.c.turn_no,
        "step_no": tc.c.step_no,
        "called_at": exchange.c.started_at,
        "tool": tc.c.name,
        "model": MODEL,
        "build": BUILD_NAME,
        "arguments": _beginning(tc.c.arguments),
        **{name: tc.c[name] for name in ("argument_state", "schema_state", "schema_errors")},
        **{name: tc.c[name] for name in ("offered", "complete", "origin")},
        "result": _beginning(result),
        "is_error": tr.c.is_error,
        "latency_ms": tr.c.latency_ms,
    }
    query = sa.select(*(column.label(name) for name, column in columns.items())).select_from(source)
    found = {row.id: CallLine(**row._asdict()) for row in connection.execute(query.where(tc.c.id.in_(ids)))}
    return [found[key] for key in ids]


def _beginning(text: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    return sa.func.substr(text, 1, _CUT, type_=text.type)
